"""What the nodes need from outside: models, sources, the time. Passed in, so that tests need no patching."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import TYPE_CHECKING

from graph.endpoint import Endpoint
from graph.lately import used_lately
from graph.model_call import Patience
from graph.models import load_model
from graph.search.engine import Engine
from graph.search.searcher import Budget, Searcher

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel
    from langchain_core.retrievers import BaseRetriever

    from graph.context import Role
    from graph.documents.library import Library
    from graph.documents.shelf import Shelf
    from graph.prices import Prices

# Of a model whose window nobody knows; small enough for most that are run at home today.
DEFAULT_WINDOW_TOKENS = 32_000
MOST_LINES = 1000


def _shipped_corpus() -> BaseRetriever:
    from graph.documents import open_documents

    return open_documents(None)


@dataclass(kw_only=True)
class Ports:
    """The graph's connections. `now` is Unix seconds.

    `model` loads a model by its name, `role_models` those of single roles that are reached in another way.
    `retriever` is the one search there is, made at the first one, unless `engines` names others. `library` keeps the
    documents that a run's context may name.
    `window_tokens` is how much every model takes, where that is not to be what its package says.
    """

    model: Callable[[str], BaseChatModel] = load_model
    role_models: Mapping[Role, Callable[[str], BaseChatModel]] = field(default_factory=dict)
    retriever: Callable[[], BaseRetriever] = _shipped_corpus
    engines: Callable[[], Sequence[Engine]] | None = None
    library: Library | None = None
    budget: Budget = field(default_factory=Budget)
    window_tokens: int | None = None
    prices: Prices | None = None
    patience: Patience = field(default_factory=Patience)
    now: Callable[[], float] = time.time
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    _lines: OrderedDict[tuple[str, str], ModelLine] = field(default_factory=OrderedDict, init=False)

    def line(self, role: Role, name: str) -> ModelLine:
        """The way to the model called `name` in `role`: one object for all runs that use it."""
        own = role if role in self.role_models else ""
        load = self.role_models.get(role, self.model)
        made = partial(ModelLine, name, load, self.window_tokens)
        return used_lately(self._lines, (own, name), made, most=MOST_LINES)

    @cached_property
    def searcher(self) -> Searcher:
        """All searches."""
        engines = [_only(self.retriever)] if self.engines is None else self.engines()
        return Searcher(engines, self.budget, self.sleep, _shelf(self.library, self.budget.results))

    def close(self) -> None:
        """Closes the retrievers that were opened and can be closed."""
        if "searcher" in self.__dict__:
            self.searcher.close()


@dataclass
class ModelLine:
    """A model as all runs of this process share it: its endpoint's pace, and how long a prompt it took."""

    name: str
    load: Callable[[str], BaseChatModel]
    window_tokens: int | None
    endpoint: Endpoint = field(default_factory=Endpoint)
    found_tokens: int | None = None

    def model(self) -> BaseChatModel:
        """The model, for the running event loop."""
        return self.load(self.name)

    def room(self, model: BaseChatModel, answer_tokens: int) -> int:
        """How many tokens a prompt may have beside an answer of about `answer_tokens`."""
        window = self.window_tokens or (model.profile or {}).get("max_input_tokens") or DEFAULT_WINDOW_TOKENS
        # Answers run over, and a reasoning model thinks within the same window.
        room = max(window - 2 * answer_tokens, window // 2)
        return room if self.found_tokens is None else min(room, self.found_tokens)


def _shelf(library: Library | None, results: int) -> Shelf | None:
    from graph.documents.shelf import Shelf

    return None if library is None else Shelf(library, results)


def _only(retriever: Callable[[], BaseRetriever]) -> Engine:
    return Engine("documents", lambda _: retriever(), wide=True, durable=False)
