"""Asks every engine for a phase, each within its time; what fails is tried again, then told."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from graph.documents.errors import DocumentsError
from graph.search.engine import Engine, Progress, Refreshing, SearchFailed, SearchUnusable, metered
from graph.search.results import Result, Searched, merged, result_of
from graph.usage import SEARCH, Spent, summed

if TYPE_CHECKING:
    from langchain_core.documents import Document
    from langchain_core.retrievers import BaseRetriever

    from graph.documents import Skipped
    from graph.documents.shelf import Shelf
    from graph.search.queries import Queries
    from graph.state import Usage

_log = logging.getLogger(__name__)

# The engine that searches the documents which a run names.
UPLOADS = "uploads"
FIRST_DELAY_SEC = 1.0
MAX_DELAY_SEC = 30.0


@dataclass(frozen=True)
class Budget:
    """What a phase may search: `queries` to each engine that is not wide, `results` kept, `timeout_sec` a try."""

    queries: int = 3
    results: int = 6
    timeout_sec: float = 30.0
    attempts: int = 3


@dataclass(frozen=True)
class Found:
    """What the searches of one phase came to."""

    results: list[Result]
    searched: list[Searched]
    skipped: list[str]

    @property
    def spent(self) -> list[Spent]:
        return summed(row for one in self.searched for row in one["spent"])

    @property
    def failures(self) -> list[str]:
        """A sentence for each engine that failed, and one for the pages that could not be read."""
        failed = {one["engine"]: one["error"] for one in self.searched if one["error"]}
        told = [f"The search by {engine} failed: {error}" for engine, error in failed.items()]
        unread = list(dict.fromkeys(page for one in self.searched for page in one["unread"]))
        pages = "Pages that could not be read, so that the search's own excerpt stands for them"
        return [*told, *([f"{pages}: {'; '.join(unread)}."] if unread else [])]


@dataclass
class Searcher:
    """All engines of a process. `sleep` waits between two tries; `shelf` has the documents that a run may name."""

    engines: Sequence[Engine]
    budget: Budget = field(default_factory=Budget)
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    shelf: Shelf | None = None
    _opened: dict[str, BaseRetriever] = field(default_factory=dict, init=False)
    _opening: asyncio.Lock = field(default_factory=asyncio.Lock, init=False)

    async def search(self, queries: Queries, phase: int, progress: Progress, documents: Sequence[str] = ()) -> Found:
        """What the engines find for a phase, and what stands in `documents`; never raises for an engine that fails.

        A document that is no longer there is told among the skipped ones. Raises what the library of documents does.
        """
        engines, missing = await self._engines(documents, progress)
        skipped = [*missing, *await self._refreshed(engines, progress)]
        asked = [(engine, query) for engine in engines for query in self._queries(engine, queries)]
        searched = await asyncio.gather(*(self._stored(engine, query, phase) for engine, query in asked))
        results = merged([one["results"] for one in searched], self.budget.results)
        return Found(results, list(searched), skipped)

    def close(self) -> None:
        """Closes the retrievers that can be closed."""
        for retriever in self._opened.values():
            close = getattr(retriever, "close", None)
            if callable(close):
                close()

    async def _engines(self, documents: Sequence[str], progress: Progress) -> tuple[Sequence[Engine], list[str]]:
        """What one phase asks: the run's own documents first, and not what stands in for having none."""
        if not documents:
            return self.engines, []
        if self.shelf is None:
            return self.engines, ["The documents that this run names are not kept here."]
        others = [engine for engine in self.engines if not engine.stand_in]
        try:
            retriever, missing = await self.shelf.opened(documents, progress)
        except DocumentsError as error:
            return [_failing(error), *others], []
        told = [_unread(one) for one in missing]
        if retriever is None:
            return others, told
        own = Engine(UPLOADS, lambda _: retriever, wide=True, durable=False, kept=False)
        return [own, *others], told

    def _queries(self, engine: Engine, queries: Queries) -> Sequence[str]:
        return [queries.wide] if engine.wide else queries.narrow[: self.budget.queries]

    async def _stored(self, engine: Engine, query: str, phase: int) -> Searched:
        """Of a durable engine, the answer is a write of its own beside the checkpoint: a crash does not ask again."""
        if not engine.durable:
            return await self._searched(engine, query, phase)
        from langgraph.func import task

        async def search(query: str) -> Searched:
            return await self._searched(engine, query, phase)

        return await task(search)(query)

    async def _searched(self, engine: Engine, query: str, phase: int) -> Searched:
        notes: list[tuple[str, Usage]] = []
        token = metered.set(notes)
        answer = Searched(engine=engine.name, query=query, results=[], spent=[], unread=[], error=None)
        try:
            documents = await self._tried(engine, query)
            answer["results"] = [r for r in (result_of(d, engine.name) for d in documents) if r is not None]
            answer["unread"] = [str(d.metadata["unread"]) for d in documents if d.metadata.get("unread")]
        except SearchFailed as error:
            answer["error"] = str(error)
        finally:
            metered.reset(token)
        answer["spent"] = summed(
            Spent(phase=phase, role=SEARCH, model=model, calls=1, **usage) for model, usage in notes
        )
        return answer

    async def _tried(self, engine: Engine, query: str) -> list[Document]:
        """The engine's answer, at the last of several tries. Raises `SearchFailed`."""
        attempt = 0
        while True:
            attempt += 1
            try:
                async with asyncio.timeout(self.budget.timeout_sec):
                    return await (await self._retriever(engine, _silent)).ainvoke(query)
            except Exception as error:
                failed = _failure(error, self.budget.timeout_sec)
                if not failed.transient or attempt >= self.budget.attempts:
                    raise failed from error
            delay = min(MAX_DELAY_SEC, FIRST_DELAY_SEC * 2.0 ** (attempt - 1)) * (0.5 + random.random() / 2)  # noqa: S311
            await self.sleep(max(delay, min(failed.retry_after_sec or 0.0, MAX_DELAY_SEC)))

    async def _retriever(self, engine: Engine, progress: Progress) -> BaseRetriever:
        if not engine.kept:
            return engine.open(progress)
        async with self._opening:
            if engine.name not in self._opened:
                self._opened[engine.name] = await asyncio.to_thread(engine.open, progress)
            return self._opened[engine.name]

    async def _refreshed(self, engines: Sequence[Engine], progress: Progress) -> list[str]:
        """Brings indices of files up to date, and tells which files cannot be read; an error shows at the search."""
        skipped: list[str] = []
        for engine in engines:
            if not engine.wide:
                continue
            try:
                retriever = await self._retriever(engine, progress)
                if isinstance(retriever, Refreshing):
                    await asyncio.to_thread(retriever.refresh, progress)
                    skipped += [_unread(one) for one in retriever.skipped]
            except Exception as error:  # noqa: BLE001 - the search that follows meets it again, and tells it
                _log.warning("index_not_refreshed: %s", type(error).__name__)
        return skipped


def _unread(one: Skipped) -> str:
    return f"{one.path} could not be read: {one.reason}."


def _failing(error: DocumentsError) -> Engine:
    def fail(_: Progress) -> BaseRetriever:
        raise error

    return Engine(UPLOADS, fail, wide=True, durable=False, kept=False)


def _silent(done: int, total: int) -> None:
    """Nobody watches."""


def _failure(error: Exception, timeout_sec: float) -> SearchFailed:
    if isinstance(error, SearchFailed):
        return error
    if isinstance(error, SearchUnusable | DocumentsError):
        return SearchFailed(str(error), transient=False)
    if isinstance(error, TimeoutError):
        return SearchFailed(f"no answer within {timeout_sec:g} s.", transient=True)
    # Its text may hold a part of a key, or a path.
    return SearchFailed(f"{type(error).__name__}.", transient=True)
