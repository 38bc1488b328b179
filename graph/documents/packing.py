"""Passages as bytes that can be stored, and back."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Iterator

from graph.documents.document import Passage
from graph.documents.errors import UnreadableError

MOST_PASSAGES = 40_000
# Some 3,500 pages: what a book of 10 MiB of plain text comes to fits, what unfolds out of a small file does not.
MOST_CHARS = 20_000_000
# A character takes 4 bytes, or 6 where JSON escapes it; titles and places come on top.
_MOST_BYTES = 8 * MOST_CHARS


def packed(passages: Iterable[Passage]) -> tuple[int, bytes]:
    """How many passages there are, and all of them: a line of JSON each, compressed.

    Raises:
        UnreadableError: there are too many of them, or none.
    """
    count = chars = 0
    pack, parts = zlib.compressobj(), []
    for passage in passages:
        fields = (passage.title, passage.place, passage.anchor, passage.text)
        count, chars = count + 1, chars + sum(map(len, fields))
        if count > MOST_PASSAGES or chars > MOST_CHARS:
            raise UnreadableError("it has more text than can be searched")
        parts.append(pack.compress(json.dumps(fields, ensure_ascii=False).encode() + b"\n"))
    if not count:
        raise UnreadableError("it has no text")
    return count, b"".join([*parts, pack.flush()])


def unpacked(content: bytes) -> Iterator[Passage]:
    """The passages in what `packed` made, one after the other, so that a long document holds nobody up."""
    for line in zlib.decompressobj().decompress(content, _MOST_BYTES).splitlines():
        yield Passage(*json.loads(line))
