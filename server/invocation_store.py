"""The invocations on disk: accepted, claimed, ended, listed. Each method is one transaction."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from server.database import Database
from server.invocation import Invocation
from server.status import Status

MAX_WAITING_ON_THREAD: Final = 10
MAX_QUEUED: Final = 10_000

_COLUMNS: Final = (
    "n, id, thread_id, status, message, topic, steering, multitask_strategy, config, metadata, created_at, started_at,"
    " ended_at, epoch, last_event_id, phases_completed, total_phases, input_tokens, output_tokens, error,"
    " superseded_by, prior_topic, turn"
)


class ThreadBusy(Exception):
    """A turn of the thread is under way, and the new one was to be rejected then."""


class QueueFull(Exception):
    """Too many turns wait: on this thread, or on the server."""


@dataclass(frozen=True)
class NewInvocation:
    """A turn as it was asked for. `id` may be the client's own name for it."""

    id: str
    thread_id: str
    message: str
    steering: str
    multitask_strategy: str
    config: dict[str, Any]
    metadata: dict[str, Any]
    total_phases: int
    created_at: float
    idempotency_key: str | None = None


@dataclass(frozen=True)
class Accepted:
    """What came of a `NewInvocation`.

    `waits`: others go first. `repeated`: an earlier request had made it already, and nothing was changed.
    """

    invocation: Invocation
    waits: bool = False
    repeated: bool = False


class InvocationStore:
    """Invocations in the server's database. Raises `StorageFailed` where the disk does."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def requeue_unfinished(self) -> int:
        """Puts every turn back into the queue that the last process left running; how many turns wait now.

        The one way of recovery, to be called before the database is started: a claim then goes on with it.
        """
        return self._database.write_now(_requeue_all)

    async def accept(self, new: NewInvocation, *, limit: int) -> Accepted:
        """Stores a new turn; `limit` turns run at once. Raises `ThreadBusy`, `QueueFull`."""
        return await self._database.write(lambda connection: _accept(connection, new, limit))

    async def claim(self, now: float) -> Invocation | None:
        """The oldest waiting turn whose thread is free, now `running` under a new epoch; None where none can run."""
        return await self._database.write(lambda connection: _claim(connection, now))

    async def requeue(self, invocation: Invocation) -> None:
        """Gives a claimed turn back, unless a later claim has it."""
        await self._database.write(
            lambda connection: connection.execute(
                "UPDATE invocations SET status = 'queued' WHERE n = ? AND epoch = ? AND status = 'running'",
                (invocation.n, invocation.epoch),
            )
        )

    async def get(self, invocation_id: str) -> Invocation | None:
        """The invocation of that id."""
        return await self._database.read(lambda connection: _find(connection, "id = ?", invocation_id))

    async def page(
        self, *, thread_id: str | None = None, status: str | None = None, before: int | None = None, limit: int = 50
    ) -> Sequence[Invocation]:
        """Up to `limit` invocations, newest first, that came before number `before`."""
        terms, values = ["1"], list[Any]()
        for term, value in (("thread_id = ?", thread_id), ("status = ?", status), ("n < ?", before)):
            if value is not None:
                terms.append(term)
                values.append(value)
        query = f"SELECT {_COLUMNS} FROM invocations WHERE {' AND '.join(terms)} ORDER BY n DESC LIMIT ?"  # noqa: S608
        return await self._database.read(
            lambda connection: [_row(row) for row in connection.execute(query, [*values, limit])]
        )

    async def report(self, invocation: Invocation) -> str | None:
        """The report that an ended turn left, as Markdown."""

        def read(connection: sqlite3.Connection) -> str | None:
            row = connection.execute("SELECT markdown FROM reports WHERE n = ?", (invocation.n,)).fetchone()
            return None if row is None else str(row[0])

        return await self._database.read(read)

    async def probe(self) -> None:
        """Makes sure that a write reaches the disk. Raises `StorageFailed`."""
        work: Callable[[sqlite3.Connection], None] = lambda connection: None  # noqa: E731
        await self._database.write(work)


def _requeue_all(connection: sqlite3.Connection) -> int:
    connection.execute("UPDATE invocations SET status = 'queued' WHERE status = 'running'")
    return int(connection.execute("SELECT count(*) FROM invocations WHERE status = 'queued'").fetchone()[0])


def _accept(connection: sqlite3.Connection, new: NewInvocation, limit: int) -> Accepted:
    earlier = _find(connection, "id = ?", new.id)
    if earlier is None and new.idempotency_key is not None:
        earlier = _find(connection, "idempotency_key = ?", new.idempotency_key)
    if earlier is not None:
        return Accepted(earlier, waits=earlier.status is Status.QUEUED, repeated=True)
    waits = _check_room(connection, new, limit)
    last = connection.execute(
        "SELECT topic, turn FROM invocations WHERE thread_id = ? ORDER BY n DESC LIMIT 1", (new.thread_id,)
    ).fetchone()
    same_topic = last is not None and new.steering != "new_topic"
    values = {
        "id": new.id,
        "idempotency_key": new.idempotency_key,
        "thread_id": new.thread_id,
        "turn": 1 if last is None else last["turn"] + 1,
        "status": Status.QUEUED,
        "message": new.message,
        "topic": last["topic"] if same_topic else new.message,
        "prior_topic": None if last is None else last["topic"],
        "steering": new.steering if last is not None else "new_topic",
        "multitask_strategy": new.multitask_strategy,
        "config": json.dumps(new.config),
        "metadata": json.dumps(new.metadata),
        "created_at": new.created_at,
        "total_phases": new.total_phases,
    }
    names = ", ".join(values)
    places = ", ".join(f":{name}" for name in values)
    connection.execute(f"INSERT INTO invocations ({names}) VALUES ({places})", values)  # noqa: S608
    stored = _find(connection, "id = ?", new.id)
    assert stored is not None
    return Accepted(stored, waits=waits)


def _check_room(connection: sqlite3.Connection, new: NewInvocation, limit: int) -> bool:
    """Whether the new turn has to wait for others."""
    states = [
        row["status"]
        for row in connection.execute(
            "SELECT status FROM invocations WHERE thread_id = ? AND status IN ('queued', 'running')", (new.thread_id,)
        )
    ]
    if states and new.multitask_strategy == "reject":
        raise ThreadBusy(f"Thread {new.thread_id} has a turn under way.")
    if states.count("queued") >= MAX_WAITING_ON_THREAD:
        raise QueueFull(f"{MAX_WAITING_ON_THREAD} turns wait on thread {new.thread_id} already.")
    count = "SELECT status, count(*) FROM invocations WHERE status IN ('queued', 'running') GROUP BY status"
    unfinished = {row[0]: int(row[1]) for row in connection.execute(count)}
    if unfinished.get("queued", 0) >= MAX_QUEUED:
        raise QueueFull(f"{MAX_QUEUED} turns wait on this server already.")
    return bool(states) or sum(unfinished.values()) >= limit


def _claim(connection: sqlite3.Connection, now: float) -> Invocation | None:
    row = connection.execute(
        """
        SELECT n FROM invocations AS mine WHERE status = 'queued' AND NOT EXISTS (
            SELECT 1 FROM invocations AS other WHERE other.thread_id = mine.thread_id
            AND (other.status = 'running' OR (other.status = 'queued' AND other.n < mine.n))
        ) ORDER BY n LIMIT 1
        """
    ).fetchone()
    if row is None:
        return None
    connection.execute(
        "UPDATE invocations SET status = 'running', epoch = epoch + 1, started_at = coalesce(started_at, ?) WHERE n = ?",
        (now, row["n"]),
    )
    return _find(connection, "n = ?", row["n"])


def _find(connection: sqlite3.Connection, where: str, value: object) -> Invocation | None:
    query = f"SELECT {_COLUMNS} FROM invocations WHERE {where}"  # noqa: S608
    row = connection.execute(query, (value,)).fetchone()
    return None if row is None else _row(row)


def _row(row: sqlite3.Row) -> Invocation:
    values = dict(row)
    values["status"] = Status(values["status"])
    for name in ("config", "metadata", "error"):
        if values[name] is not None:
            values[name] = json.loads(values[name])
    return Invocation(**values)
