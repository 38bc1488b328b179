"""Sections into passages of some 80 to 180 words, cut at paragraphs and headings wherever that is possible."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import chain

from graph.documents.cleaning import CJK
from graph.documents.document import Document, Passage, Section

SHORTEST = 80
ENOUGH = 120
LONGEST = 180
_WITH_ITS_TAIL = 220

# A run without spaces (base64, a table of digits) counts once for each 40 characters, so it can be cut as well.
_WORD = re.compile(rf"[{CJK}]|[^\s{CJK}]{{1,40}}")
_SENTENCE = re.compile(r"(?<=[.!?]) +|(?<=[。！？])|\n+")


def words(text: str) -> int:
    """Words of `text`; a Han, kana or Hangul character counts as one."""
    return sum(1 for _ in _WORD.finditer(text))


def passages(document: Document) -> Iterator[Passage]:
    """The passages of a document, in its order."""
    for section in _joined(document.sections):
        for text in _packed(section.blocks):
            yield Passage(document.title, section.place, section.anchor, text)


def _joined(sections: Sequence[Section]) -> Iterator[Section]:
    """Neighbours that are short for a passage become one section, under the heading of the first; pages never do."""
    gathered: Section | None = None
    for section in sections:
        if gathered is not None and _belongs(gathered, section):
            blocks = (*gathered.blocks, *section.headings[-1:], *section.blocks)
            gathered = replace(gathered, blocks=blocks)
            continue
        if gathered is not None:
            yield gathered
        gathered = section
    if gathered is not None:
        yield gathered


def _belongs(gathered: Section, section: Section) -> bool:
    """Both must be short: a section that fills a passage keeps its own heading and address."""
    return gathered.page is None and max(_size(gathered), _size(section)) < SHORTEST


def _size(section: Section) -> int:
    return sum(words(block) for block in section.blocks)


def _packed(blocks: Sequence[str]) -> list[str]:
    """Whole blocks put together up to about `ENOUGH` words; a short rest goes to the passage before it."""
    packs: list[list[str]] = []
    size = LONGEST
    for block in chain.from_iterable(map(_pieces, blocks)):
        length = words(block)
        if size >= ENOUGH or size + length > LONGEST:
            packs.append([])
            size = 0
        packs[-1].append(block)
        size += length
    if len(packs) > 1 and size < SHORTEST and size + sum(map(words, packs[-2])) <= _WITH_ITS_TAIL:
        packs[-2].extend(packs.pop())
    return ["\n\n".join(pack) for pack in packs]


def _pieces(block: str) -> list[str]:
    """`block` itself, or where it is too long, parts of about equal length that end with a sentence or a line."""
    total = words(block)
    if total <= LONGEST:
        return [block]
    aim = total / -(-total // LONGEST)
    between = "\n" if "\n" in block else " "
    parts: list[list[str]] = [[]]
    size = 0
    for sentence in chain.from_iterable(map(_cuts, _SENTENCE.split(block))):
        length = words(sentence)
        if parts[-1] and (size >= aim or size + length > LONGEST):
            parts.append([])
            size = 0
        parts[-1].append(sentence)
        size += length
    return [between.join(part) for part in parts]


def _cuts(sentence: str) -> Iterator[str]:
    """`sentence`, cut every `LONGEST` words where it is longer than that."""
    starts = [word.start() for word in _WORD.finditer(sentence)][::LONGEST]
    for start, end in zip(starts, [*starts[1:], len(sentence)], strict=False):  # none in a blank sentence
        yield sentence[start:end].strip()
