"""The pages that a web search names, read for the passages that fit its question best."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from langchain_core.documents import Document

from graph.documents.index import Index, Stamp
from graph.documents.passages import passages
from graph.documents.query import match_query
from graph.search.fetching import Fetcher, PageUnread

if TYPE_CHECKING:
    from graph.documents.document import Document as Page

PASSAGES_OF_A_PAGE: Final = 1
_NO_STAMP: Final = Stamp(0, 0, b"")


@dataclass(frozen=True)
class PageReader:
    """Reads the first `pages` of the pages that a search names; of the rest, the search's own words stand."""

    pages: int = 3
    fetcher: Fetcher = field(default_factory=Fetcher)

    async def read(self, found: Sequence[Document], query: str) -> list[Document]:
        """`found` with the passages of the pages that could be read in place of what the search said of them."""
        first, rest = found[: self.pages], found[self.pages :]
        read = await asyncio.gather(*(self._passages(document, query) for document in first))
        return [document for documents in read for document in documents] + list(rest)

    async def _passages(self, document: Document, query: str) -> list[Document]:
        url = str(document.metadata.get("url", ""))
        try:
            page = await self.fetcher.page(url)
        except PageUnread as error:
            return [_unread(document, f"{urlsplit(url).hostname or url[:80]} ({error})")]
        chosen = await asyncio.to_thread(_best, page, query)
        title = str(document.metadata.get("title") or page.title)
        known = {"title": title, "url": url}
        return [Document(text, metadata=known | {"place": place}) for place, text in chosen] or [document]


def _unread(document: Document, reason: str) -> Document:
    return Document(document.page_content, metadata={**document.metadata, "unread": reason})


def _best(page: Page, query: str) -> list[tuple[str, str]]:
    """The place and the text of the passages of `page` that fit `query` best; its first one where none does."""
    whole = list(passages(page))
    index = Index(":memory:", Path())
    try:
        index.put("page", _NO_STAMP, whole)
        match = match_query(query)
        hits = index.search(match, PASSAGES_OF_A_PAGE, PASSAGES_OF_A_PAGE) if match else []
    finally:
        index.close()
    chosen = [hit.passage for hit in hits] or whole[:1]
    return [(passage.place, passage.text) for passage in chosen]
