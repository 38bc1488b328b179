"""Removes events that are past their time, and threads that are to be forgotten; a little at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Final

import structlog

from server.accept import ThreadBusy
from server.database import Database, StorageFailed
from server.owners import public
from server.sql import Connection
from server.status import Status

if TYPE_CHECKING:
    from server.event_log import EventLog

_log = structlog.get_logger(__name__)

# One batch holds the writer for a few milliseconds.
BATCH_ROWS: Final = 1000
LONGEST_REST_SEC: Final = 60.0


class Retention:
    """Cleans up behind turns that ended `ttl_sec` ago. Runs beside the dispatcher."""

    def __init__(self, database: Database, log: EventLog, *, ttl_sec: float) -> None:
        self._database = database
        self._event_log = log
        self._ttl = ttl_sec
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begins to clean up, now and every minute, or more often where events are kept for less."""
        self._task = asyncio.create_task(self._run(), name="retention")

    async def stop(self) -> None:
        """Stops at once; what is left is removed by the next process."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def sweep(self) -> int:
        """Removes all events that are past their time; of how many turns."""
        swept = 0
        while (turn := await self._database.write(self._expire_one, name="retention")) is not None:
            n, invocation_id = turn
            self._event_log.forget(invocation_id)
            await self._remove_events(n)
            swept += 1
        return swept

    async def check_idle(self, thread_id: str) -> Sequence[tuple[int, str]]:
        """Number and name of all turns of a thread on which none waits or runs. Raises `ThreadBusy`."""
        return await self._database.write(partial(_idle_turns, thread_id=thread_id))

    async def erase_rows(self, thread_id: str) -> None:
        """Erases all records, events and reports of a thread. Raises `ThreadBusy`."""
        for n, invocation_id in await self.check_idle(thread_id):
            await self._database.write(partial(_mark, n=n, removed=1))
            self._event_log.drop(invocation_id)
            await self._remove_events(n)
        await self._database.write(lambda connection: _forget_thread(connection, thread_id), thread=thread_id)
        await self._database.give_space_back()

    async def _run(self) -> None:
        while True:
            try:
                # Events of a turn that was being cleaned up when the last process ended.
                for n in await self._database.read(_half_removed):
                    await self._remove_events(n)
                if await self.sweep():
                    await self._database.give_space_back()
            except StorageFailed as error:
                _log.error("retention_failed", reason=str(error))
            await asyncio.sleep(min(LONGEST_REST_SEC, max(0.1, self._ttl / 10)))

    def _expire_one(self, connection: Connection) -> tuple[int, str] | None:
        row = connection.execute(
            "SELECT n, id FROM invocations WHERE events_removed = 0 AND ended_at < ? ORDER BY ended_at LIMIT 1",
            (self._event_log.now() - self._ttl,),
        ).fetchone()
        if row is None:
            return None
        _mark(connection, n=row["n"], removed=1)
        return row["n"], row["id"]

    async def _remove_events(self, n: int) -> None:
        query = "DELETE FROM events WHERE n = ? AND seq IN (SELECT seq FROM events WHERE n = ? ORDER BY seq LIMIT ?)"
        while await self._database.write(
            lambda connection: connection.execute(query, (n, n, BATCH_ROWS)).rowcount, name="retention"
        ):
            pass
        await self._database.write(partial(_mark, n=n, removed=2))


def _mark(connection: Connection, *, n: int, removed: int) -> None:
    connection.execute("UPDATE invocations SET events_removed = ? WHERE n = ?", (removed, n))


def _half_removed(connection: Connection) -> list[int]:
    return [row[0] for row in connection.execute("SELECT n FROM invocations WHERE events_removed = 1")]


def _idle_turns(connection: Connection, *, thread_id: str) -> list[tuple[int, str]]:
    query = "SELECT n, id, status FROM invocations WHERE thread_id = ?"
    turns = connection.execute(query, (thread_id,)).fetchall()
    if any(not Status(turn["status"]).ended for turn in turns):
        raise ThreadBusy(f"Thread {public(thread_id)} has a turn under way.")
    return [(turn["n"], turn["id"]) for turn in turns]


def _forget_thread(connection: Connection, thread_id: str) -> None:
    _idle_turns(connection, thread_id=thread_id)
    mine = "n IN (SELECT n FROM invocations WHERE thread_id = ?)"
    connection.execute(f"DELETE FROM events WHERE {mine}", (thread_id,))  # noqa: S608
    connection.execute(f"DELETE FROM reports WHERE {mine}", (thread_id,))  # noqa: S608
    connection.execute(f"DELETE FROM spent WHERE {mine}", (thread_id,))  # noqa: S608
    connection.execute("DELETE FROM invocations WHERE thread_id = ?", (thread_id,))
