"""The user's documents as a LangChain retriever."""

from __future__ import annotations

import asyncio
import re
import sqlite3
import threading
import time
from pathlib import Path

from langchain_core.callbacks import AsyncCallbackManagerForRetrieverRun, CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from pydantic import Field, PrivateAttr

from graph.documents.document import Skipped
from graph.documents.errors import DocumentsError
from graph.documents.folder import checked
from graph.documents.index import Hit, Index
from graph.documents.query import match_query
from graph.documents.update import Progress, built, update, warn_of

CORPUS = Path(__file__).resolve().parent.parent / "corpus"
_OF_ONE_FILE = 2
# The folder is looked through at most this often.
FRESH_SEC = 20.0
_NOT_IN_ADDRESS = re.compile(r"[^\w/.~=-]")


def _unseen(done: int, total: int) -> None:
    """Nobody watches."""


class PassagesRetriever(BaseRetriever):
    """Finds the `k` passages that fit a question best, at most two of one file while others fit as well.

    Each result has its text in `page_content`, and in `metadata`: `title` (of the document, with its headings or
    page), `url` (path of the file, with `#slug` or `#page=N`) and `place` (heading path, `page N`, or empty for the
    opening).

    Raises:
        DocumentsError: the index cannot be searched, as it was closed or damaged.
    """

    k: int = Field(default=6, ge=1)
    index: Index = Field(exclude=True, repr=False)

    def _get_relevant_documents(self, query: str, *, run_manager: CallbackManagerForRetrieverRun) -> list[Document]:
        return self._found(query)

    async def _aget_relevant_documents(
        self, query: str, *, run_manager: AsyncCallbackManagerForRetrieverRun
    ) -> list[Document]:
        return await asyncio.to_thread(self._found, query)

    def _found(self, query: str) -> list[Document]:
        match = match_query(query)
        try:
            hits = self.index.search(match, self.k, _OF_ONE_FILE) if match else []
        except sqlite3.Error as error:
            raise DocumentsError(f"The index of the documents cannot be searched: {error}.") from error
        return [_result(hit) for hit in hits]


class DocumentsRetriever(PassagesRetriever):
    """Finds passages in the files of a folder; made by `open_documents`. Their paths are relative to the folder."""

    document_count: int = 0
    skipped: tuple[Skipped, ...] = ()
    root: Path = CORPUS
    _fresh_until: float = PrivateAttr(default=0.0)
    _refreshing: threading.Lock = PrivateAttr(default_factory=threading.Lock)

    def refresh(self, progress: Progress = _unseen) -> None:
        """Reads what is new or changed in the folder, unless that was done in the last seconds; blocks.

        Raises:
            DocumentsError: the folder can be read no longer.
        """
        with self._refreshing:
            if time.monotonic() < self._fresh_until:
                return
            try:
                skipped = update(self.index, checked(self.root), progress)
            except sqlite3.Error as error:
                raise DocumentsError(f"The index of the documents cannot be updated: {error}.") from error
            warn_of(one for one in skipped if one not in self.skipped)
            self.skipped, self.document_count = skipped, _count(self.index)
            self._fresh_until = time.monotonic() + FRESH_SEC

    def close(self) -> None:
        """Closes the index; afterwards nothing can be searched."""
        self.index.close()


def open_documents(
    folder: Path | None, index: Path | None = None, *, k: int = 6, progress: Progress = _unseen
) -> DocumentsRetriever:
    """Reads `folder` (None: the corpus that ships) and answers its retriever; blocks, so call it in a thread.

    `index` is the file that keeps the index between runs, None for memory. With it only changed files are read.
    `progress` hears of each file, from this thread.

    Raises:
        DocumentsError: the folder is missing, not a folder, or may not be read.
    """
    root = checked(CORPUS if folder is None else folder)
    opened, skipped = built(root, index, progress)
    warn_of(skipped)
    retriever = DocumentsRetriever(index=opened, root=root, k=k, document_count=_count(opened), skipped=skipped)
    retriever._fresh_until = time.monotonic() + FRESH_SEC
    return retriever


def _count(index: Index) -> int:
    return sum(1 for stamp in index.known().values() if stamp.skipped is None)


def _result(hit: Hit) -> Document:
    passage = hit.passage
    url = _escaped(hit.path) + (f"#{_escaped(passage.anchor)}" if passage.anchor else "")
    return Document(passage.text, metadata={"title": passage.full_title, "url": url, "place": passage.place})


def _escaped(part: str) -> str:
    """Only what would break a link in Markdown or HTML is escaped, so that other scripts stay readable."""
    return _NOT_IN_ADDRESS.sub(lambda one: "".join(f"%{byte:02X}" for byte in one[0].encode()), part)
