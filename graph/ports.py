"""What the nodes need from outside: models, sources, the time. Passed in, so that tests need no patching."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from graph.endpoint import Endpoint
from graph.model_call import Patience
from graph.models import load_model

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel
    from langchain_core.retrievers import BaseRetriever


def _shipped_corpus() -> BaseRetriever:
    from graph.documents import open_documents

    return open_documents(None)


@dataclass(kw_only=True)
class Ports:
    """The graph's connections. `retriever` is made at the first search; `now` is Unix seconds."""

    model: Callable[[str], BaseChatModel] = load_model
    retriever: Callable[[], BaseRetriever] = _shipped_corpus
    patience: Patience = field(default_factory=Patience)
    now: Callable[[], float] = time.time
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    _retriever: BaseRetriever | None = field(default=None, init=False)
    _opening: asyncio.Lock = field(default_factory=asyncio.Lock, init=False)
    _endpoints: dict[str, Endpoint] = field(default_factory=dict, init=False)

    def endpoint(self, model: str) -> Endpoint:
        """The endpoint that serves `model`, the same object for every run."""
        return self._endpoints.setdefault(model, Endpoint())

    def close(self) -> None:
        """Closes the retriever, where it was opened and can be closed."""
        close = getattr(self._retriever, "close", None)
        if callable(close):
            close()

    async def sources(self) -> BaseRetriever:
        """The retriever, opened off the loop's thread at the first call."""
        async with self._opening:
            if self._retriever is None:
                self._retriever = await asyncio.to_thread(self.retriever)
            return self._retriever
