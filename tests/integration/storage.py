"""The server's storage over a real database, for the tests beside this module."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from server.accept import NewInvocation
from server.database import Database
from server.event_log import EventLog
from server.invocation import Invocation
from server.invocation_store import InvocationStore
from server.postgres.connection import parameters_of
from server.postgres.database import PostgresDatabase
from server.sealing import PLAIN, Sealing
from server.sql import Connection
from server.sqlite import SqliteDatabase
from tests.fakes import FakeClock

CONFIG = {
    "model": "offline",
    "num_phases": 2,
    "phase_titles": [],
    "calls_per_phase": 2,
    "target_output_tokens": 100,
    "intra_phase_cooldown_sec": 0.0,
    "inter_phase_cooldown_sec": 0.0,
    "run_timeout_sec": None,
    "token_budget": None,
}


@dataclass(frozen=True)
class Storage:
    """One process's view of the file."""

    database: Database
    log: EventLog
    store: InvocationStore
    clock: FakeClock

    async def accepted(self, name: str, thread: str | None = None, *, limit: int = 100, **more: Any) -> Invocation:
        """A turn that waits, on a thread of its own unless one is named."""
        return (await self.store.accept(new(name, thread or f"of-{name}", **more), limit=limit)).invocation

    async def claimed(self, name: str, thread: str | None = None) -> Invocation:
        """A turn that runs; nothing else may wait."""
        await self.accepted(name, thread)
        invocation = await self.store.claim(self.clock.now())
        assert invocation is not None
        assert invocation.id == name
        return invocation

    async def claimed_alone(self, name: str) -> Invocation:
        """A turn that runs, whatever else waits, beside other hosts."""
        invocation = await self.accepted(name)
        claimed = await self.store.claim_on_thread(invocation.thread_id, self.clock.now(), lambda connection: True)
        assert claimed is not None
        return claimed

    async def found(self, name: str) -> Invocation:
        invocation = await self.store.get(name)
        assert invocation is not None
        return invocation

    async def events(self, invocation: Invocation, position: int = 0) -> list[dict[str, Any]]:
        """The events on disk behind `position`."""
        return [parsed(frame) for frame in await self.log.frames(invocation, position)]


def parsed(frame: bytes) -> dict[str, Any]:
    """The event of a frame, whose number is also its sequence_number."""
    number, data = frame.removesuffix(b"\n\n").split(b"\n")
    event: dict[str, Any] = orjson.loads(data.removeprefix(b"data: "))
    assert number == b"id: %d" % event["sequence_number"]
    return event


def new(name: str, thread: str, **more: Any) -> NewInvocation:
    values: dict[str, Any] = {
        "message": f"About {name}",
        "steering": "new_topic",
        "multitask_strategy": "enqueue",
        "given": {},
        "defaults": CONFIG,
        "metadata": {},
        "total_phases": 2,
        "created_at": 1_000.0,
    }
    return NewInvocation(id=name, thread_id=thread, **values | more)


@asynccontextmanager
async def opened(
    folder: Path, url: str | None = None, *, recover: bool = True, sealing: Sealing = PLAIN
) -> AsyncIterator[Storage]:
    """Opens the database of `url`, or the file in `folder`, as a server does at its start.

    `recover`: puts back into the queue what was running. `sealing` is that of the file.
    """
    clock = FakeClock()
    database = SqliteDatabase(folder / "server.sqlite", sealing) if url is None else shared(url)
    log = EventLog(database, now=clock.now, uptime=lambda: 1.5)
    store = InvocationStore(database, log)
    if recover:
        store.requeue_unfinished()
    database.start()
    try:
        yield Storage(database, log, store, clock)
    finally:
        database.close()


def shared(url: str) -> Database:
    """The PostgreSQL database of `url`."""
    return PostgresDatabase(parameters_of(url, lease_sec=10))


@contextmanager
def held(database: Database) -> Iterator[None]:
    """Keeps the writer busy with one write while the context is open, so that what is submitted meanwhile waits."""
    busy, free = threading.Event(), threading.Event()

    def work(_: Connection) -> None:
        busy.set()
        free.wait(5)

    database.submit(work, lambda result, error: None)
    busy.wait(5)
    try:
        yield
    finally:
        free.set()


async def traced(database: Database) -> list[str]:
    """The statements that the SQLite writer executes from now on."""
    statements: list[str] = []

    def work(connection: Connection) -> None:
        assert isinstance(connection, sqlite3.Connection)
        connection.set_trace_callback(statements.append)

    await database.write(work)
    statements.clear()
    return statements
