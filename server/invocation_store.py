"""The invocations on disk: accepted, claimed, wanted, listed. Each method is one transaction."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator, Sequence
from typing import Any

from server.accept import Accepted, NewInvocation, ThreadBusy, accept, accept_resumption, cancel
from server.claim import claim
from server.database import Database
from server.event_log import EventLog
from server.event_rows import Written
from server.invocation import Invocation, Wish, find, select


class InvocationStore:
    """Invocations in the server's database. Every method raises `StorageFailed` where the disk does."""

    def __init__(self, database: Database, log: EventLog) -> None:
        self._database = database
        self._log = log
        self._erasing: set[str] = set()

    def requeue_unfinished(self) -> int:
        """Puts every turn back into the queue that the last process left running; how many there were.

        The one way of recovery, to be called before the database is started: a claim then goes on with it.
        """
        return self._database.write_now(
            lambda connection: (
                connection.execute("UPDATE invocations SET status = 'queued' WHERE status = 'running'").rowcount
            )
        )

    @contextlib.contextmanager
    def erasing(self, thread_id: str) -> Iterator[None]:
        """While it is open, no turn is accepted on the thread."""
        if thread_id in self._erasing:
            raise ThreadBusy(f"Thread {thread_id} is being erased.")
        self._erasing.add(thread_id)
        try:
            yield
        finally:
            self._erasing.discard(thread_id)

    async def accept(self, new: NewInvocation, *, limit: int) -> Accepted:
        """Stores a new turn; `limit` turns run at once. Raises `ThreadBusy`, `QueueFull`."""
        if new.thread_id in self._erasing:
            raise ThreadBusy(f"Thread {new.thread_id} is being erased.")

        def work(connection: sqlite3.Connection) -> tuple[Accepted, dict[str, Written]]:
            accepted = accept(connection, new, limit=limit, stamp=self._log.stamped)
            return accepted, accepted.written

        return await self._log.transact(work, name="accept")

    async def accept_resumption(self, stopped: Invocation, new: NewInvocation, *, limit: int) -> Accepted:
        """Stores the turn that goes on where `stopped` did. Raises `ThreadBusy`, `NotResumable`, `QueueFull`."""
        if stopped.thread_id in self._erasing:
            raise ThreadBusy(f"Thread {stopped.thread_id} is being erased.")
        return await self._database.write(
            lambda connection: accept_resumption(connection, stopped.id, new, limit=limit), name="accept"
        )

    async def cancel(self, invocation: Invocation, wish: Wish) -> Invocation:
        """Ends a turn that waits, or leaves the wish with one under way; the record as it is then."""
        at = self._log.now()
        return await self._log.transact(
            lambda connection: cancel(connection, invocation.id, wish, at=at, stamp=self._log.stamped), name="cancel"
        )

    async def claim(self, now: float) -> Invocation | None:
        """The turn whose time it is, now `running` under a new epoch; None where none can run."""
        return await self._log.transact(lambda connection: claim(connection, now, self._log.stamped), name="claim")

    async def rolled_back_before(self, invocation: Invocation) -> str | None:
        """The id of the turn before this one on its thread, where that is to leave no trace in the thread's state."""
        before = await self._database.read(
            lambda connection: find(
                connection,
                "WHERE thread_id = ? AND turn = ? AND started_at IS NOT NULL ORDER BY n DESC",
                invocation.thread_id,
                invocation.turn - 1,
            )
        )
        return before.id if before is not None and before.put_back else None

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
        return await self._database.read(lambda connection: find(connection, "WHERE id = ?", invocation_id))

    async def page(
        self, *, thread_id: str | None = None, status: str | None = None, before: int | None = None, limit: int = 50
    ) -> Sequence[Invocation]:
        """Up to `limit` invocations, newest first, that came before number `before`."""
        terms, values = ["TRUE"], list[Any]()
        for term, value in (("thread_id = ?", thread_id), ("status = ?", status), ("n < ?", before)):
            if value is not None:
                terms.append(term)
                values.append(value)
        rest = f"WHERE {' AND '.join(terms)} ORDER BY n DESC LIMIT ?"
        return await self._database.read(lambda connection: select(connection, rest, *values, limit))

    async def probe(self) -> None:
        """Makes sure that a write reaches the disk."""
        await self._database.write(lambda connection: connection.execute("UPDATE probe SET passed = passed + 1"))
