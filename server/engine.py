"""The compiled graph over its checkpointer, loaded beside a server that answers already: it is slow to import."""

from __future__ import annotations

import asyncio
import gc
import importlib
import sqlite3
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final

import structlog

from graph.faults import reach
from graph.prices import read_prices
from server.claims import looking_at
from server.database import StorageFailed

if TYPE_CHECKING:
    from pathlib import Path

    from langchain_core.runnables import RunnableConfig
    from langgraph.graph.state import CompiledStateGraph
    from langgraph.types import StateSnapshot

    from graph.checkpoints import CheckpointSaver
    from graph.context import Context
    from graph.ports import Ports
    from graph.state import Input, Output, State
    from server.postgres.checkpoints import PostgresCheckpoints
    from server.settings import Settings

    Saver = CheckpointSaver | PostgresCheckpoints
    Graph = CompiledStateGraph[State, Context, Input, Output]

_log = structlog.get_logger(__name__)

# Of the three generations. LangChain keeps a call's pieces until it ends: they are then seldom looked at twice.
GC_THRESHOLDS: Final = (50_000, 20, 20)


class Engine:
    """One graph and one checkpointer for all turns.

    `checkpoints` opens the saver; `modules` are what it needs imported, in a thread of its own. Without a
    `document_index` the documents are read anew at each start.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        checkpoints: Callable[[], Awaitable[Saver]],
        modules: tuple[str, ...],
        document_index: Path | None,
        ports: Ports | None = None,
    ) -> None:
        self._settings = settings
        self._checkpoints = checkpoints
        self._modules = modules
        self._document_index = document_index
        self._saver: Saver | None = None
        self._given = ports
        self._ports: Ports | None = None
        self._loading: asyncio.Task[Graph] | None = None
        self.prices = read_prices(settings.prices_file) if settings.prices_file else None

    def start(self) -> None:
        """Begins to load."""
        self._loading = asyncio.create_task(self._load(), name="engine")

    async def graph(self) -> Graph:
        """The graph, as soon as it is loaded. Raises `StorageFailed` where the checkpoints cannot be opened."""
        assert self._loading is not None
        if self._loading.done() and self._loading.exception() is not None:
            self.start()
        return await asyncio.shield(self._loading)

    async def close(self) -> None:
        """Closes the checkpoint file."""
        if self._loading is not None:
            self._loading.cancel()
            await asyncio.wait([self._loading])
        if self._saver is not None:
            await self._saver.conn.close()
        if self._ports is not None:
            self._ports.close()

    async def snapshot(self, thread_id: str) -> StateSnapshot:
        """The thread's newest state. Raises `StorageFailed`."""
        graph = await self.graph()
        try:
            with looking_at(thread_id):
                return await graph.aget_state({"configurable": {"thread_id": thread_id}})
        except sqlite3.Error as error:
            raise StorageFailed(f"The checkpoints could not be read ({error}).") from error

    async def history(self, thread_id: str, *, before: str | None, limit: int) -> list[StateSnapshot]:
        """The thread's checkpoints, newest first, older than checkpoint `before`. Raises `StorageFailed`."""
        graph = await self.graph()
        older: RunnableConfig | None = {"configurable": {"checkpoint_id": before}} if before else None
        config: RunnableConfig = {"configurable": {"thread_id": thread_id}}
        try:
            with looking_at(thread_id):
                return [snapshot async for snapshot in graph.aget_state_history(config, before=older, limit=limit)]
        except sqlite3.Error as error:
            raise StorageFailed(f"The checkpoints could not be read ({error}).") from error

    async def roll_back(self, thread_id: str, run_id: str) -> None:
        """Puts the thread back to where run `run_id` began, if that run was the last on it. Raises `sqlite3.Error`."""
        graph = await self.graph()
        assert self._saver is not None
        reach("rollback.before")
        base = await self._saver.aget_tuple({"configurable": {"thread_id": thread_id, "checkpoint_ns": ""}})
        if base is None or base.metadata.get("run_id") != run_id:
            return
        while base is not None and base.metadata.get("run_id") == run_id:
            base = await self._saver.aget_tuple(base.parent_config) if base.parent_config else None
        if base is None:
            await self._saver.adelete_thread(thread_id)
        else:
            await graph.aupdate_state(base.config, None, as_node="__copy__")
        reach("rollback.after")

    async def erase(self, thread_id: str) -> None:
        """Erases the thread's checkpoints. Raises `StorageFailed`."""
        await self.graph()
        assert self._saver is not None
        try:
            await self._saver.adelete_thread(thread_id)
        except sqlite3.Error as error:
            raise StorageFailed(f"The checkpoints could not be erased ({error}).") from error

    async def _load(self) -> Graph:
        await asyncio.to_thread(_imported_for_good, self._modules, self._settings.research_model)
        from graph.graph import build_graph

        try:
            saver = self._saver = await self._checkpoints()
        except sqlite3.Error as error:
            raise StorageFailed(f"The checkpoints could not be opened ({error}).") from error
        self._ports = self._given or self._new_ports()
        graph = build_graph(saver, ports=self._ports)
        _log.info("engine_ready")
        return graph

    def _new_ports(self) -> Ports:
        from graph.model_call import Patience
        from graph.ports import Ports
        from graph.search.searcher import Budget
        from graph.search.setup import engines_of

        settings = self._settings
        return Ports(
            engines=lambda: engines_of(settings.searches(self._document_index)),
            budget=Budget(
                queries=settings.searches_per_phase,
                results=settings.sources_per_phase,
                timeout_sec=settings.search_timeout_sec,
            ),
            role_models=settings.role_loaders(),
            window_tokens=settings.model_window_tokens,
            prices=self.prices,
            patience=Patience(attempts=settings.model_attempts, idle_timeout_sec=settings.model_idle_timeout_sec),
        )


def _imported_for_good(modules: tuple[str, ...], model: str) -> None:
    """Imports what the graph needs, and takes all that exists then out of the garbage collector's sight.

    A full collection stopped the loop for 200 ms every two seconds of a busy server, most of it to look at modules.
    """
    gc.disable()
    try:
        _import_all(modules, model)
        gc.freeze()
        gc.set_threshold(*GC_THRESHOLDS)
    finally:
        gc.enable()


def _import_all(modules: tuple[str, ...], model: str) -> None:
    for module in ("graph.graph", *modules, "graph.turn", "graph.documents"):
        importlib.import_module(module)
    if model.startswith("openai:"):
        importlib.import_module("langchain_openai")
