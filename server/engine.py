"""The compiled graph over its checkpointer, loaded beside a server that answers already: it is slow to import."""

from __future__ import annotations

import asyncio
import importlib
import sqlite3
from typing import TYPE_CHECKING, Any

import structlog

from server.database import StorageFailed

if TYPE_CHECKING:
    import aiosqlite
    from langgraph.graph.state import CompiledStateGraph
    from langgraph.types import StateSnapshot

    from graph.context import Context
    from graph.state import Input, Output, State
    from server.data_folder import DataFolder
    from server.settings import Settings

    Graph = CompiledStateGraph[State, Context, Input, Output]

_log = structlog.get_logger(__name__)


class Engine:
    """One graph and one checkpointer for all turns: several connections would lock each other out."""

    def __init__(self, settings: Settings, folder: DataFolder) -> None:
        self._settings = settings
        self._folder = folder
        self._connection: aiosqlite.Connection | None = None
        self._loading: asyncio.Task[Graph] | None = None

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
        if self._connection is not None:
            await self._connection.close()

    async def snapshot(self, thread_id: str) -> StateSnapshot:
        """The thread's newest state. Raises `StorageFailed`."""
        graph = await self.graph()
        try:
            return await graph.aget_state({"configurable": {"thread_id": thread_id}})
        except sqlite3.Error as error:
            raise StorageFailed(f"The checkpoints could not be read ({error}).") from error

    async def _load(self) -> Graph:
        await asyncio.to_thread(_import_all, self._settings.research_model)
        import aiosqlite
        from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver

        from graph.graph import build_graph

        try:
            self._connection = await aiosqlite.connect(self._folder.checkpoint_database)
            await self._connection.execute("PRAGMA synchronous = FULL")
            saver = AsyncSqliteSaver(self._connection)
            await saver.setup()
        except sqlite3.Error as error:
            raise StorageFailed(f"The checkpoints could not be opened ({error}).") from error
        graph = build_graph(saver, ports=self._ports())
        _log.info("engine_ready")
        return graph

    def _ports(self) -> Any:
        from graph.documents import open_documents
        from graph.model_call import Patience
        from graph.ports import Ports

        settings, index = self._settings, self._folder.document_index
        return Ports(
            retriever=lambda: open_documents(settings.documents_dir, index),
            patience=Patience(attempts=settings.model_attempts, idle_timeout_sec=settings.model_idle_timeout_sec),
        )


def _import_all(model: str) -> None:
    for module in ("graph.graph", "langgraph.checkpoint.sqlite.aio", "graph.turn", "graph.documents"):
        importlib.import_module(module)
    if model.startswith("openai:"):
        importlib.import_module("langchain_openai")
