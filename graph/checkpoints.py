"""LangGraph's SQLite saver as this project needs it: writes synced, failed ones undone, freed space given back."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Collection, Coroutine, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar

import aiosqlite
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import ChannelVersions, Checkpoint, CheckpointMetadata
from langgraph.checkpoint.serde.types import ERROR
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver

from graph.faults import reach
from graph.strict_serde import SealedSerializer, StrictSerializer

if TYPE_CHECKING:
    from langgraph.checkpoint.serde.base import CipherProtocol

T = TypeVar("T")

BUSY_MS: Final = 5000
# To truncate the log, writers are held up until nobody reads it: not for long, as a backup reads for its whole time.
TRUNCATE_MS: Final = 50
TRUNCATE_RESTS_SEC: Final = (0.1, 0.3, 1.0)


class CheckpointSaver(AsyncSqliteSaver):
    """One connection for all threads, since several lock each other out. Raises `sqlite3.Error` if the disk fails.

    With a `cipher` the values are encrypted; ids, counts and the names of channels are not.
    """

    def __init__(self, connection: aiosqlite.Connection, cipher: CipherProtocol | None = None) -> None:
        super().__init__(connection, serde=StrictSerializer() if cipher is None else SealedSerializer(cipher))
        self._writing = asyncio.Lock()

    def with_allowlist(self, extra_allowlist: Collection[tuple[str, ...]]) -> Self:
        """Itself: the list of what is read is fixed."""
        return self

    async def _write(self, work: Coroutine[Any, Any, T]) -> T:
        """Does one write as a whole, also where the run that wants it is cancelled meanwhile."""
        writing = asyncio.create_task(self._undone_if_failed(work))
        try:
            return await asyncio.shield(writing)
        except asyncio.CancelledError:
            # Broken off between its insert and its commit, it would be seen here and be on no disk.
            await asyncio.wait([writing])
            raise

    async def _undone_if_failed(self, work: Coroutine[Any, Any, T]) -> T:
        # A commit that failed leaves its transaction open, and the next writer's commit would take it along.
        async with self._writing:
            try:
                return await work
            except sqlite3.Error:
                await self.conn.rollback()
                raise

    async def aput(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        """Saves a checkpoint; returns when it is on disk."""
        reach("checkpoint.before")
        saved = await self._write(super().aput(config, checkpoint, metadata, new_versions))
        reach("checkpoint.after")
        return saved

    async def aput_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        """Saves what a task returned, before the checkpoint that it leads to; returns when it is on disk."""
        if is_cancelled(writes):
            return
        reach("result.before")
        await self._write(super().aput_writes(config, writes, task_id, task_path))
        reach("result.after")

    async def adelete_thread(self, thread_id: str) -> None:
        """Erases a thread; its space goes back to the file system."""
        await self._write(self._erase(super().adelete_thread(thread_id)))
        for rest in TRUNCATE_RESTS_SEC:
            if await self._write(self._log_truncated()):
                return
            await asyncio.sleep(rest)

    async def _erase(self, deleting: Coroutine[Any, Any, None]) -> None:
        await deleting
        # A cursor that is open on this connection makes SQLite refuse both: readers hold this lock.
        async with self.lock:
            # As a script: Python 3.11 steps a statement without columns once, and this one frees a page at each step.
            await self.conn.executescript("PRAGMA incremental_vacuum")
            await self.conn.commit()

    async def _log_truncated(self) -> bool:
        async with self.lock:
            await self.conn.execute(f"PRAGMA busy_timeout = {TRUNCATE_MS}")
            try:
                async with self.conn.execute("PRAGMA wal_checkpoint(TRUNCATE)") as cursor:
                    row = await cursor.fetchone()
                return row is not None and row[0] == 0
            finally:
                await self.conn.execute(f"PRAGMA busy_timeout = {BUSY_MS}")


def is_cancelled(writes: Sequence[tuple[str, Any]]) -> bool:
    """Whether these are of a task that was cancelled, and must not be saved.

    They may lack the route to the next node: a resumed run would take the step for done, and end there.
    """
    return any(channel == ERROR and isinstance(value, asyncio.CancelledError) for channel, value in writes)


async def open_checkpoints(path: Path, cipher: CipherProtocol | None = None) -> CheckpointSaver:
    """The saver over the file at `path`; close its `conn`. Raises `sqlite3.Error`."""
    connection = await aiosqlite.connect(path)
    try:
        # Takes effect in a new file alone, and before its first table.
        await connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
        await connection.execute("PRAGMA journal_mode = WAL")
        await connection.execute("PRAGMA secure_delete = ON")
        # FULL: a commit returns when it is on disk (sqlite.org/pragma.html#pragma_synchronous).
        await connection.execute("PRAGMA synchronous = FULL")
        saver = CheckpointSaver(connection, cipher)
        await saver.setup()
    except BaseException:
        await connection.close()
        raise
    return saver
