"""Web search by a SearXNG of one's own (docs.searxng.org/dev/search_api.html)."""

from __future__ import annotations

from typing import Any, Final

import httpx2
from langchain_core.callbacks import AsyncCallbackManagerForRetrieverRun, CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from pydantic import Field

from graph.failure import parse_retry_after
from graph.search.engine import SearchFailed
from graph.search.pages import PageReader

MAX_ANSWER_BYTES: Final = 5_000_000


class SearxngRetriever(BaseRetriever):
    """Finds up to `k` pages by the instance at `url`, and reads the first of them."""

    url: str
    k: int = Field(default=6, ge=1)
    pages: PageReader = Field(default_factory=PageReader, exclude=True)
    timeout_sec: float = 30.0

    def _get_relevant_documents(self, query: str, *, run_manager: CallbackManagerForRetrieverRun) -> list[Document]:
        raise NotImplementedError("ask it by ainvoke")

    async def _aget_relevant_documents(
        self, query: str, *, run_manager: AsyncCallbackManagerForRetrieverRun
    ) -> list[Document]:
        found = [document for item in await self._results(query) if (document := _document(item))]
        return await self.pages.read(found[: self.k], query)

    async def _results(self, query: str) -> list[dict[str, Any]]:
        # The address is the operator's own, and most often a private one: it is not fetched like a page.
        async with httpx2.AsyncClient(timeout=self.timeout_sec, trust_env=False) as client:
            try:
                answer = await client.get(f"{self.url.rstrip('/')}/search", params={"q": query, "format": "json"})
            except httpx2.HTTPError as error:
                raise SearchFailed(f"SearXNG did not answer ({type(error).__name__}).", transient=True) from error
        if answer.status_code != 200:
            raise _refused(answer)
        try:
            results = answer.json()["results"]
        except (ValueError, KeyError, TypeError) as error:
            raise SearchFailed("SearXNG did not answer with results as JSON.", transient=False) from error
        return [item for item in results if isinstance(item, dict)] if isinstance(results, list) else []


def _refused(answer: httpx2.Response) -> SearchFailed:
    import time

    status = answer.status_code
    if status == 403:
        hint = "SearXNG refused (403): allow the format json in its settings.yml (search.formats)."
        return SearchFailed(hint, transient=False)
    after = answer.headers.get("retry-after")
    wait = parse_retry_after(after, now=time.time()) if after else None
    return SearchFailed(f"SearXNG answered {status}.", transient=status == 429 or status >= 500, retry_after_sec=wait)


def _document(item: dict[str, Any]) -> Document | None:
    url, text = str(item.get("url") or ""), str(item.get("content") or "")
    if not url.startswith(("http://", "https://")):
        return None
    title = str(item.get("title") or url)
    return Document(text or title, metadata={"title": title, "url": url})
