"""LangGraph's PostgreSQL saver, fenced: a checkpoint is written under its turn's claim, in one transaction with it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final, Self

import psycopg
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import ChannelVersions, Checkpoint, CheckpointMetadata
from langgraph.checkpoint.postgres import PostgresSaver
from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from langgraph.checkpoint.serde.types import ERROR
from psycopg import AsyncConnection, AsyncCursor
from psycopg.rows import DictRow, dict_row
from psycopg_pool import AsyncConnectionPool

from graph.faults import reach
from graph.strict_serde import SealedSerializer, StrictSerializer
from server.claims import present_claim
from server.database import StorageFailed
from server.event_rows import Superseded
from server.postgres.connection import DURABLE, lock_key, reason
from server.postgres.schema import schema_lock

if TYPE_CHECKING:
    from langgraph.checkpoint.serde.base import CipherProtocol

CONNECTIONS: Final = 8
WAIT_SEC: Final = 5.0
# Raised by research_hold_claim.
NOT_PRESENT: Final = "RA001"

Pool = AsyncConnectionPool[AsyncConnection[DictRow]]


class PostgresCheckpoints(AsyncPostgresSaver):
    """A few connections for all threads. Raises `StorageFailed`, and `Superseded` where a later claim has the turn.

    With a `cipher` the values are encrypted; ids, numbers and the names of channels are not. Neither is a channel that
    is a bare string: LangGraph writes it into the row's JSON. The graph has one, `steering`, one of three words.
    """

    def __init__(self, pool: Pool, cipher: CipherProtocol | None = None) -> None:
        super().__init__(pool, serde=StrictSerializer() if cipher is None else SealedSerializer(cipher))
        self._connections = pool

    def with_allowlist(self, extra_allowlist: Collection[tuple[str, ...]]) -> Self:
        """Itself: the list of what is read is fixed."""
        return self

    async def aput(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        """Saves a checkpoint; returns when it is on disk."""
        assert present_claim(), "only turns write checkpoints"
        reach("checkpoint.before")
        saved = await super().aput(config, checkpoint, metadata, new_versions)
        reach("checkpoint.after")
        return saved

    async def aput_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        """Saves what a task returned, unless it was cancelled: as the SQLite saver does."""
        if any(channel == ERROR and isinstance(value, asyncio.CancelledError) for channel, value in writes):
            return
        assert present_claim(), "only turns write results"
        reach("result.before")
        await super().aput_writes(config, writes, task_id, task_path)
        reach("result.after")

    @asynccontextmanager
    async def _cursor(self, *, pipeline: bool = False) -> AsyncIterator[AsyncCursor[DictRow]]:
        # Without the lock of the base class: each use has a connection of its own. It asks for a pipeline to write.
        try:
            async with self._connections.connection() as connection:
                if pipeline:
                    async with connection.pipeline(), connection.transaction(), _cursor_of(connection) as cursor:
                        await _hold_claim(cursor)
                        yield cursor
                else:
                    async with _cursor_of(connection) as cursor:
                        yield cursor
        except psycopg.Error as error:
            if error.sqlstate == NOT_PRESENT:
                raise Superseded(reason(error)) from error
            raise StorageFailed(f"The checkpoints could not be used ({reason(error)}).") from error


async def open_checkpoints(parameters: str, cipher: CipherProtocol | None = None) -> PostgresCheckpoints:
    """The saver over the shared database, its tables up to date. Raises `StorageFailed`."""
    try:
        await asyncio.to_thread(_set_up, parameters)
    except psycopg.Error as error:
        raise StorageFailed(f"The checkpoints could not be opened ({reason(error)}).") from error
    pool = _pool(parameters)
    await pool.open()
    return PostgresCheckpoints(pool, cipher)


def _set_up(parameters: str) -> None:
    with (
        psycopg.connect(parameters, autocommit=True) as connection,
        schema_lock(connection),
        PostgresSaver.from_conn_string(parameters) as saver,
    ):
        saver.setup()


def _pool(parameters: str) -> Pool:
    return AsyncConnectionPool(
        parameters,
        connection_class=AsyncConnection[DictRow],
        kwargs={"autocommit": True, "prepare_threshold": 0, "row_factory": dict_row},
        min_size=1,
        max_size=CONNECTIONS,
        timeout=WAIT_SEC,
        reconnect_timeout=1,
        configure=_configure,
        check=AsyncConnectionPool.check_connection,
        open=False,
    )


async def _configure(connection: AsyncConnection[DictRow]) -> None:
    await connection.execute(DURABLE)


def _cursor_of(connection: AsyncConnection[DictRow]) -> AsyncCursor[DictRow]:
    return connection.cursor(binary=True, row_factory=dict_row)


async def _hold_claim(cursor: AsyncCursor[DictRow]) -> None:
    """Of a turn: an erasure is nobody's claim, and is made while no turn runs."""
    if (claim := present_claim()) is not None:
        await cursor.execute(
            "SELECT research_hold_claim(%s, %s, %s)", (lock_key(claim.thread_id), claim.n, claim.epoch)
        )
