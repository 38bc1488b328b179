"""Indices of the documents that runs name, each of one choice: what others keep has no part in its ranking."""

from __future__ import annotations

import asyncio
import sqlite3
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from pathlib import Path

from graph.documents.document import Passage, Skipped
from graph.documents.errors import DocumentsError
from graph.documents.index import Index, Stamp
from graph.documents.library import Kept, Library
from graph.documents.retriever import PassagesRetriever
from graph.documents.update import Progress

# Choices whose index is kept; one that is asked for again is built anew.
_MOST = 32
# SQLite's names for a database in memory, and for one in a file of its own that goes when it is closed.
_MEMORY, _TEMPORARY = ":memory:", ""


class Shelf:
    """Opens the documents of a library to search, `k` passages at a time."""

    def __init__(self, library: Library, k: int) -> None:
        self._library = library
        self._k = k
        self._open: OrderedDict[tuple[Kept, ...], PassagesRetriever] = OrderedDict()

    async def opened(self, ids: Sequence[str], progress: Progress) -> tuple[PassagesRetriever | None, list[Skipped]]:
        """What searches those of the documents that are there, and the rest; `progress` hears of each one read.

        Raises `DocumentsError` where the index cannot be made, and what the library raises.
        """
        found, missing = await self._library.find(ids)
        if not found:
            return None, missing
        choice = tuple(found)
        retriever = self._open.pop(choice, None) or await self._built(choice, progress)
        self._open[choice] = retriever
        if len(self._open) > _MOST:
            # Not closed: another run may search it now. It closes itself when nobody has it any more.
            self._open.popitem(last=False)
        return retriever, missing

    async def _built(self, choice: tuple[Kept, ...], progress: Progress) -> PassagesRetriever:
        try:
            place = _MEMORY if self._library.in_memory else _TEMPORARY
            index = await asyncio.to_thread(Index, place, Path())
            for done, kept in enumerate(choice):
                progress(done, len(choice))
                passages = await self._library.passages(kept.id)
                await asyncio.to_thread(_put, index, kept.path, passages)
        except sqlite3.Error as error:
            raise DocumentsError(f"The documents of this run cannot be indexed: {error}.") from error
        progress(len(choice), len(choice))
        return PassagesRetriever(index=index, k=self._k)


def _put(index: Index, path: str, passages: Iterable[Passage]) -> None:
    index.put(path, Stamp(size=0, mtime_ns=0, digest=b""), passages)
