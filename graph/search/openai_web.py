"""Web search by OpenAI's own tool, through the Responses API (platform.openai.com/docs/guides/tools-web-search)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from langchain_core.callbacks import AsyncCallbackManagerForRetrieverRun, CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from pydantic import Field, SecretStr

from graph.digest import clip
from graph.failure import failure_of
from graph.search.engine import SearchFailed, meter
from graph.search.pages import PageReader

if TYPE_CHECKING:
    from openai.types.responses import Response

MAX_SUMMARY_CHARS: Final = 1_200
ASK: Final = (
    "Search the web for the question below and report what the most relevant pages say: for each page two or three "
    "sentences with its facts and figures, each cited. Report only; no introduction, no conclusion.\n\nQuestion: "
)


class OpenAIWebRetriever(BaseRetriever):
    """Finds up to `k` pages that a model of the provider cites, and reads the first of them.

    What the model says of a page that cannot be read is marked `summary`: it proves no quotation.
    """

    model: str
    api_key: SecretStr
    base_url: str
    k: int = Field(default=6, ge=1)
    pages: PageReader = Field(default_factory=PageReader, exclude=True)

    def _get_relevant_documents(self, query: str, *, run_manager: CallbackManagerForRetrieverRun) -> list[Document]:
        raise NotImplementedError("ask it by ainvoke")

    async def _aget_relevant_documents(
        self, query: str, *, run_manager: AsyncCallbackManagerForRetrieverRun
    ) -> list[Document]:
        answer = await self._answer(query)
        if answer.usage is not None:
            used = {"input_tokens": answer.usage.input_tokens, "output_tokens": answer.usage.output_tokens}
            meter(f"openai:{self.model}", used)  # type: ignore[arg-type]  # Usage is such a dict
        return await self.pages.read(list(_cited(answer))[: self.k], query)

    async def _answer(self, query: str) -> Response:
        from openai import AsyncOpenAI, DefaultAsyncHttpxClient, OpenAIError

        client = AsyncOpenAI(
            api_key=self.api_key.get_secret_value(),
            base_url=self.base_url,
            http_client=DefaultAsyncHttpxClient(),
            max_retries=0,
        )
        async with client:
            try:
                return await client.responses.create(
                    model=self.model,
                    input=ASK + query,
                    tools=[{"type": "web_search"}],
                    include=["web_search_call.action.sources"],
                    store=False,
                )
            except OpenAIError as error:
                failure = failure_of(error)
                raise SearchFailed(
                    failure.message, transient=failure.transient, retry_after_sec=failure.retry_after_sec
                ) from error


def _cited(answer: Response) -> Iterator[Document]:
    """A document for each page that the answer cites, with what it says of it."""
    said: dict[str, list[str]] = {}
    titles: dict[str, str] = {}
    for text, url, title, start in _citations(answer):
        if url.startswith(("http://", "https://")):
            said.setdefault(url, []).append(_sentence_before(text, start))
            titles.setdefault(url, title)
    for url, sentences in said.items():
        words = clip(" ".join(dict.fromkeys(filter(None, sentences))), MAX_SUMMARY_CHARS)
        yield Document(words or titles[url], metadata={"title": titles[url], "url": url, "summary": True})


def _citations(answer: Response) -> Iterator[tuple[str, str, str, int]]:
    for item in answer.output or []:
        if item.type != "message":
            continue
        for part in item.content:
            if part.type == "output_text":
                for note in part.annotations:
                    if note.type == "url_citation":
                        yield part.text, note.url, note.title or note.url, note.start_index


def _sentence_before(text: str, start: int) -> str:
    """The paragraph or list item up to a citation, without the citations before it."""
    line = text[:start].rpartition("\n")[2]
    return line.lstrip("-*• ").rstrip(" (").strip()
