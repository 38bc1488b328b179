"""What other hosts write, shown here: their events to our readers, their wishes to our turns.

Each commit is followed by one notice with the threads it wrote. A notice only wakes: what there is to show is read from
the tables, and looked for every second besides, since a host may die between its commit and its notice.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import psycopg
import structlog

from server.database import StorageFailed
from server.event_rows import EventsRemoved, Written, frames_behind
from server.invocation import Wish
from server.live_stream import RING_FRAMES
from server.postgres.connection import lock_key, reason
from server.postgres.database import CHANNEL
from server.sealing import StoredValueRefused
from server.sql import Connection
from server.status import Status

if TYPE_CHECKING:
    from server.event_log import EventLog
    from server.postgres.database import PostgresDatabase
    from server.running import Running

_log = structlog.get_logger(__name__)

LOOK_SEC: Final = 1.0
RECONNECT_SEC: Final = 0.2


class Relay:
    """Follows the streams that are read, and the turns that run, in this process."""

    def __init__(self, parameters: str, database: PostgresDatabase, log: EventLog, running: Running) -> None:
        self._parameters = parameters
        self._database = database
        self._event_log = log
        self._running = running
        self._keys: dict[str, int] = {}
        self._changed: set[int] = set()
        self._woken = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begins to listen."""
        self._tasks = [asyncio.create_task(self._listen()), asyncio.create_task(self._look_on())]

    async def stop(self) -> None:
        """Listens no more."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def _listen(self) -> None:
        while True:
            try:
                connection = await psycopg.AsyncConnection.connect(self._parameters, autocommit=True)
                async with connection:
                    await connection.execute(f"LISTEN {CHANNEL}".encode())
                    async for notice in connection.notifies():
                        self._take(notice.payload)
            except psycopg.Error as error:
                _log.warning("not_listening", reason=reason(error))
            await asyncio.sleep(RECONNECT_SEC)

    def _take(self, payload: str) -> None:
        host, *keys = payload.split()
        if host != self._database.host:
            self._changed.update(int(key, 16) for key in keys)
            self._woken.set()

    async def _look_on(self) -> None:
        while True:
            try:
                async with asyncio.timeout(LOOK_SEC):
                    await self._woken.wait()
                changed: set[int] | None = self._changed
            except TimeoutError:
                changed = None
            self._changed = set()
            self._woken.clear()
            try:
                await self._look(changed)
            except StorageFailed as error:
                _log.warning("not_relayed", reason=str(error))

    async def _look(self, changed: set[int] | None) -> None:
        """Takes in how the streams stand that are followed here; of those on `changed` threads alone, where given."""
        followed = self._event_log.streams
        self._keys = {name: key for name, key in self._keys.items() if name in followed}
        names = [name for name in followed if changed is None or self._keys.get(name) in (None, *changed)]
        if not names:
            return
        found = {row["id"]: row for row in await self._database.read(partial(_states, names=names))}
        for name in names:
            if (row := found.get(name)) is None:
                self._event_log.drop(name)
            else:
                self._keys[name] = lock_key(row["thread_id"])
                await self._take_in(name, row)

    async def _take_in(self, name: str, row: Any) -> None:
        self._running.taken_over(name, row["epoch"])
        self._running.want(name, Wish(row["wish"]))
        while (live := self._event_log.streams.get(name)) is not None and live.last < row["last_event_id"]:
            written, position = Written([], row["last_event_id"]), live.last
            # Readers that come to a stream nobody followed, or that is far ahead, read the table themselves.
            if position and row["last_event_id"] - position <= RING_FRAMES:
                # Meanwhile this host may show the same: numbers count from where the reading began.
                frames = await self._database.read(partial(_frames, n=row["n"], name=name, position=position))
                written = Written(frames, position + len(frames)) if frames else written
            live.show(written)
        if live is not None and (status := Status(row["status"])).ended and live.status is None:
            live.show(Written([], row["last_event_id"], status))
        if row["events_removed"]:
            self._event_log.forget(name)


def _states(connection: Connection, *, names: Sequence[str]) -> list[Any]:
    query = (
        "SELECT id, n, thread_id, epoch, wish, status, last_event_id, events_removed FROM invocations WHERE id = ANY(?)"
    )
    return connection.execute(query, (list(names),)).fetchall()


def _frames(connection: Connection, *, n: int, name: str, position: int) -> list[bytes]:
    try:
        return frames_behind(connection, n, name, position)
    except (EventsRemoved, StoredValueRefused):
        # Readers go to the table, and meet it there.
        return []
