"""Web search by Tavily, through langchain-tavily (an extra: `tavily`)."""

from __future__ import annotations

import re
from typing import Any, Final

from langchain_core.callbacks import AsyncCallbackManagerForRetrieverRun, CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from pydantic import Field, SecretStr

from graph.search.engine import SearchFailed

# Its client tells the status of an answer at the beginning of an error's text alone.
_STATUS: Final = re.compile(r"Error (\d{3})\b")


class TavilyRetriever(BaseRetriever):
    """Finds up to `k` pages, with the parts of them that Tavily thinks fit."""

    api_key: SecretStr
    k: int = Field(default=6, ge=1, le=20)
    base_url: str | None = None

    def _get_relevant_documents(self, query: str, *, run_manager: CallbackManagerForRetrieverRun) -> list[Document]:
        raise NotImplementedError("ask it by ainvoke")

    async def _aget_relevant_documents(
        self, query: str, *, run_manager: AsyncCallbackManagerForRetrieverRun
    ) -> list[Document]:
        results = (await self._answer(query)).get("results")
        found = [item for item in results if isinstance(item, dict)] if isinstance(results, list) else []
        return [
            Document(str(item["content"]), metadata={"title": str(item.get("title") or ""), "url": str(item["url"])})
            for item in found
            if item.get("url") and item.get("content")
        ]

    async def _answer(self, query: str) -> dict[str, Any]:
        from langchain_core.tools import ToolException
        from langchain_tavily import TavilySearch

        options = {"tavily_api_key": self.api_key.get_secret_value()}
        if self.base_url:
            options["api_base_url"] = self.base_url
        tool = TavilySearch(max_results=self.k, search_depth="advanced", **options)
        try:
            answer = await tool.ainvoke({"query": query})
        except ToolException:
            return {}  # it found nothing
        if not isinstance(answer, dict):
            raise SearchFailed("Tavily did not answer with results.", transient=False)
        if (error := answer.get("error")) is not None:
            raise _failed(error)
        return answer


def _failed(error: object) -> SearchFailed:
    found = _STATUS.match(str(error))
    if found is None:
        return SearchFailed(f"Tavily did not answer ({type(error).__name__}).", transient=True)
    status = int(found[1])
    if status == 401:
        return SearchFailed("Tavily refused the key (401): check TAVILY_API_KEY.", transient=False)
    # 432 and 433: the plan's, or the key's own limit is used up (docs.tavily.com).
    return SearchFailed(f"Tavily answered {status}.", transient=status == 429 or status >= 500)
