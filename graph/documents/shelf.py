"""Indices of the documents that runs name, each of one choice: what others keep has no part in its ranking."""

from __future__ import annotations

import asyncio
import sqlite3
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from graph.documents.document import Passage, Skipped
from graph.documents.errors import DocumentsError
from graph.documents.index import Index, Stamp
from graph.documents.library import Kept, Library
from graph.documents.retriever import PassagesRetriever
from graph.documents.update import Progress

# Choices whose index is kept, and the text of all of them; one that is asked for again is built anew.
_MOST = 32
_MOST_CHARS = 200_000_000
# SQLite's names for a database in memory, and for one in a file of its own that goes when it is closed.
_MEMORY, _TEMPORARY = ":memory:", ""


class Shelf:
    """Opens the documents of a library to search, `k` passages at a time."""

    def __init__(self, library: Library, k: int) -> None:
        self._library = library
        self._k = k
        self._open: OrderedDict[tuple[Kept, ...], _Opened] = OrderedDict()

    async def opened(self, ids: Sequence[str], progress: Progress) -> tuple[PassagesRetriever | None, list[Skipped]]:
        """What searches those of the documents that are there, and the rest; `progress` hears of each one read.

        Raises `DocumentsError` where the index cannot be made, and what the library raises.
        """
        found, missing = await self._library.find(ids)
        if not found:
            return None, missing
        choice = tuple(sorted(found, key=lambda kept: kept.id))
        opened = self._open.pop(choice, None) or await self._built(choice, progress)
        self._open[choice] = opened
        while len(self._open) > 1 and not self._fits:
            # Not closed: another run may search it now. It closes itself when nobody has it any more.
            self._open.popitem(last=False)
        return opened.retriever, missing

    @property
    def _fits(self) -> bool:
        return len(self._open) <= _MOST and sum(opened.chars for opened in self._open.values()) <= _MOST_CHARS

    async def _built(self, choice: tuple[Kept, ...], progress: Progress) -> _Opened:
        chars = 0
        try:
            place = _MEMORY if self._library.in_memory else _TEMPORARY
            index = await asyncio.to_thread(Index, place, Path())
            for done, kept in enumerate(choice):
                progress(done, len(choice))
                passages = await self._library.passages(kept.id)
                chars += await asyncio.to_thread(_put, index, kept.path, passages)
        except sqlite3.Error as error:
            raise DocumentsError(f"The documents of this run cannot be indexed: {error}.") from error
        progress(len(choice), len(choice))
        return _Opened(PassagesRetriever(index=index, k=self._k), chars)


@dataclass(frozen=True)
class _Opened:
    retriever: PassagesRetriever
    chars: int


def _put(index: Index, path: str, passages: Iterable[Passage]) -> int:
    """How many characters of text it put there."""
    taken = list(passages)
    index.put(path, Stamp(size=0, mtime_ns=0, digest=b""), taken)
    return sum(len(passage.text) for passage in taken)
