"""The invocations on disk: accepted, claimed, wanted, listed. Each method is one transaction."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Any

from server.accept import Accepted, NewInvocation, accept, accept_resumption, cancel
from server.claim import claim, claim_on_thread
from server.database import Database
from server.erasure import check_not_erased, mark_erased, unmark_erased
from server.event_log import EventLog
from server.event_rows import Written
from server.invocation import Invocation, Page, Wish, find, select_page
from server.sql import Connection
from server.thread_rows import ThreadStanding, standing_of


class InvocationStore:
    """Invocations in the server's database. Every method raises `StorageFailed` where the disk does.

    `enqueue` is told of each new turn, within the transaction that stores it.
    """

    def __init__(
        self,
        database: Database,
        log: EventLog,
        *,
        enqueue: Callable[[Connection, Invocation], None] | None = None,
    ) -> None:
        self._database = database
        self._log = log
        self._enqueue = enqueue
        self._probe = secrets.randbelow(1000)

    def requeue_unfinished(self) -> int:
        """Puts every turn back into the queue that the last process left running; how many there were.

        The one way of recovery, to be called before the database is started: a claim then goes on with it.
        """
        return self._database.write_now(
            lambda connection: (
                connection.execute("UPDATE invocations SET status = 'queued' WHERE status = 'running'").rowcount
            )
        )

    @contextlib.asynccontextmanager
    async def erasing(self, thread_id: str) -> AsyncIterator[None]:
        """While it is open, no turn is accepted on the thread. Raises `ThreadBusy`."""
        now = self._log.now()
        await self._database.write(partial(mark_erased, thread_id=thread_id, now=now), thread=thread_id)
        try:
            yield
        finally:
            await self._database.write(partial(unmark_erased, thread_id=thread_id), thread=thread_id)

    async def accept(self, new: NewInvocation, *, limit: int) -> Accepted:
        """Stores a new turn; `limit` turns run at once. Raises `ThreadBusy`, `QueueFull`."""

        def work(connection: Connection) -> tuple[Accepted, dict[str, Written]]:
            check_not_erased(connection, new.thread_id, self._log.now())
            accepted = accept(connection, new, limit=limit, stamp=self._log.stamped)
            self._enqueue_new(connection, accepted)
            return accepted, accepted.written

        return await self._log.transact(work, name="accept", thread=new.thread_id)

    async def accept_resumption(self, stopped: Invocation, new: NewInvocation, *, limit: int) -> Accepted:
        """Stores the turn that goes on where `stopped` did.

        Raises `ThreadBusy`, `NotResumable`, `QueueFull`, `InvocationGone`.
        """

        def work(connection: Connection) -> Accepted:
            check_not_erased(connection, stopped.thread_id, self._log.now())
            accepted = accept_resumption(connection, stopped.id, new, limit=limit)
            self._enqueue_new(connection, accepted)
            return accepted

        return await self._database.write(work, name="accept", thread=stopped.thread_id)

    def _enqueue_new(self, connection: Connection, accepted: Accepted) -> None:
        if self._enqueue is not None and not accepted.repeated:
            self._enqueue(connection, accepted.invocation)

    async def cancel(self, invocation: Invocation, wish: Wish) -> Invocation:
        """Ends a turn that waits, or leaves the wish with one under way; as it is then. Raises `InvocationGone`."""
        at = self._log.now()
        return await self._log.transact(
            lambda connection: cancel(connection, invocation.id, wish, at=at, stamp=self._log.stamped),
            name="cancel",
            thread=invocation.thread_id,
        )

    async def claim(self, now: float) -> Invocation | None:
        """The turn whose time it is, now `running` under a new epoch; None where none can run."""
        return await self._log.transact(
            lambda connection: claim(connection, now, self._log.stamped), name="claim", thread=None
        )

    async def claim_on_thread(
        self, thread_id: str, now: float, may_claim: Callable[[Connection], bool]
    ) -> Invocation | None:
        """The thread's next turn, or the one under way, under a new epoch; None where there is none.

        None also where `may_claim`, asked within the transaction, says no.
        """

        def work(connection: Connection) -> tuple[Invocation | None, dict[str, Written]]:
            if not may_claim(connection):
                return None, {}
            return claim_on_thread(connection, thread_id, now, self._log.stamped)

        return await self._log.transact(work, name="claim", thread=thread_id)

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
        self,
        *,
        owner: str | None = None,
        thread_id: str | None = None,
        status: str | None = None,
        before: int | None = None,
        limit: int = 50,
    ) -> Page:
        """Up to `limit` invocations of `owner`, newest first, that came before number `before`."""
        terms, values = ["TRUE"], list[Any]()
        for term, value in (
            ("owner = ?", owner),
            ("thread_id = ?", thread_id),
            ("status = ?", status),
            ("n < ?", before),
        ):
            if value is not None:
                terms.append(term)
                values.append(value)
        rest = f"WHERE {' AND '.join(terms)} ORDER BY n DESC"
        return await self._database.read(lambda connection: select_page(connection, rest, *values, limit=limit))

    async def standing(self, thread_id: str) -> ThreadStanding | None:
        """How a thread stands; None for one that was never seen."""
        return await self._database.read(partial(standing_of, thread_id=thread_id))

    async def probe(self) -> None:
        """Makes sure that a write reaches the disk."""

        def work(connection: Connection) -> None:
            # A row of this process's own: hosts that share one would wait for each other, and for one that froze.
            connection.execute("DELETE FROM probe WHERE passed = ?", (self._probe,))
            connection.execute("INSERT INTO probe (passed) VALUES (?)", (self._probe,))

        await self._database.write(work)
