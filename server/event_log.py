"""The event log: puts events on disk, and only then shows them to readers."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Final, TypeVar

from graph.events import Event
from graph.turn_events import stamped
from server.database import into
from server.event_rows import Ending, EventsRemoved, Written, append, end, frames_behind, keys_and_tail, waiting_steers
from server.invocation import Invocation, find
from server.live_stream import LiveStream
from server.metrics import Metrics

if TYPE_CHECKING:
    from server.database import Database
    from server.sql import Connection

T = TypeVar("T")

# Events that a turn may have waiting for the disk before it is held back.
MAX_WAITING: Final = 512


class EventLog:
    """Events of all invocations in the server's database.

    `uptime` gives seconds since this process began, `now` Unix seconds: both are written into the events.
    """

    def __init__(
        self,
        database: Database,
        *,
        now: Callable[[], float] = time.time,
        uptime: Callable[[], float] = time.monotonic,
        metrics: Metrics | None = None,
    ) -> None:
        self._database = database
        self.metrics = metrics or Metrics()
        self.now = now
        self._uptime = uptime
        self._live: dict[str, LiveStream] = {}
        self._closed = False

    @contextlib.contextmanager
    def attached(self, invocation_id: str) -> Iterator[LiveStream]:
        """The invocation's live stream, kept while the context is open."""
        live = self._live.setdefault(invocation_id, LiveStream(closed=self._closed))
        live.users += 1
        try:
            yield live
        finally:
            live.users -= 1
            if not live.users and self._live.get(invocation_id) is live:
                del self._live[invocation_id]

    @property
    def streams(self) -> Mapping[str, LiveStream]:
        """The streams that somebody reads or writes here, by invocation id."""
        return self._live

    def writer(self, invocation: Invocation) -> StreamWriter:
        """Where the claim that `invocation` stands for writes its events."""
        return StreamWriter(self, invocation)

    def stamped(self, event: Event) -> Event:
        """The event with the time, but for tokens, which are too many."""
        return stamped(event, self.now, self._uptime)

    def submit(
        self,
        work: Callable[[Connection], tuple[T, Mapping[str, Written]]],
        settled: Callable[[T | None, Exception | None], None],
        *,
        name: str,
        thread: str | None,
        alone: bool = True,
    ) -> None:
        """Queues a write that gives its result and what it added to which streams; shows that once it is on disk."""

        def show(result: tuple[T, Mapping[str, Written]] | None, error: Exception | None) -> None:
            if result is None or error is not None:
                settled(None, error)
                return
            for invocation_id, written in result[1].items():
                self.metrics.events.inc(len(written.frames))
                if written.status is not None:
                    self.metrics.ended[written.status].inc()
                if (live := self._live.get(invocation_id)) is not None:
                    live.show(written)
            settled(result[0], None)

        self._database.submit(work, show, name=name, thread=thread, alone=alone)

    async def transact(
        self,
        work: Callable[[Connection], tuple[T, Mapping[str, Written]]],
        *,
        name: str,
        thread: str | None,
    ) -> T:
        """Does such a write and returns its result once it is on disk. Raises what `work` does, or `StorageFailed`."""
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self.submit(work, into(future), name=name, thread=thread)
        return await future

    def forget(self, invocation_id: str) -> None:
        """The stream's events are being removed: open readers are to hear of it."""
        if (live := self._live.get(invocation_id)) is not None:
            live.forget()

    def drop(self, invocation_id: str) -> None:
        """The invocation is erased: its readers are to hear of it, and its name may come again for another."""
        self.forget(invocation_id)
        self._live.pop(invocation_id, None)

    def let_readers_go(self) -> None:
        """Ends all open readings as a lost connection would, so that readers come back to the next process."""
        self._closed = True
        for live in self._live.values():
            live.close()

    async def opened(self, invocation_id: str, position: int) -> tuple[Invocation | None, list[bytes] | None]:
        """The invocation, and up to 2,000 of its frames behind number `position`; None where they are removed."""

        def read(connection: Connection) -> tuple[Invocation | None, list[bytes] | None]:
            invocation = find(connection, "WHERE id = ?", invocation_id)
            if invocation is None:
                return None, None
            try:
                return invocation, frames_behind(connection, invocation.n, invocation.id, position)
            except EventsRemoved:
                return invocation, None

        return await self._database.read(read)

    async def frames(self, invocation: Invocation, position: int) -> list[bytes]:
        """Up to 2,000 frames from disk behind number `position`. Raises `EventsRemoved`."""
        return await self._database.read(
            lambda connection: frames_behind(connection, invocation.n, invocation.id, position)
        )

    async def keys_and_tail(self, invocation: Invocation) -> tuple[list[str], list[Event]]:
        """The stream's boundary keys, and its events from the last `subcall_start` on."""
        return await self._database.read(lambda connection: keys_and_tail(connection, invocation))


class StreamWriter:
    """Writes one claim's events, in the order of the calls. To be used from the event loop.

    One write is under way at a time, so that none can land behind one that failed; what comes meanwhile gathers.
    """

    def __init__(self, log: EventLog, invocation: Invocation) -> None:
        self._log = log
        self._invocation = invocation
        self._gathered: list[Event] = []
        self._writing = False
        self._began = 0.0
        self._error: Exception | None = None
        self._settled = asyncio.Event()
        self._settled.set()

    def put(self, event: Event) -> None:
        """Takes the stream's next event; returns before it is on disk. Raises what an earlier write met."""
        self._raise_error()
        if not self._gathered:
            self._began = time.perf_counter()
        self._gathered.append(self._log.stamped(event))
        self._settled.clear()
        if not self._writing:
            self._write()

    async def room(self) -> None:
        """Returns when there is room for more events. Raises what an earlier write met."""
        if len(self._gathered) >= MAX_WAITING:
            await self.flushed()
        self._raise_error()

    async def flushed(self) -> None:
        """Returns when all events are on disk. Raises what a write met."""
        await self._settled.wait()
        self._raise_error()

    async def end(self, ending: Ending) -> None:
        """Writes the last event and the end state as one transaction; returns when it is on disk."""
        await self.flushed()
        at = self._log.now()
        last = self._log.stamped(ending.event)

        def work(connection: Connection) -> tuple[None, Mapping[str, Written]]:
            append(connection, self._invocation, [])
            if last["type"] == "winding_down":
                waiting = waiting_steers(connection, self._invocation.thread_id)
                last["pending_steering_inputs"] = len(waiting)
            written = end(connection, self._invocation, replace(ending, event=last), at=at)
            return None, {self._invocation.id: written}

        await self._log.transact(work, name="terminal", thread=self._invocation.thread_id)

    def _write(self) -> None:
        events, self._gathered, self._writing = self._gathered, [], True
        began = self._began

        def work(connection: Connection) -> tuple[None, Mapping[str, Written]]:
            return None, {self._invocation.id: append(connection, self._invocation, events)}

        def written(_: None, error: Exception | None) -> None:
            self._log.metrics.commit_lag.observe(time.perf_counter() - began)
            self._written(error)

        self._log.submit(work, written, name="events", thread=self._invocation.thread_id, alone=False)

    def _written(self, error: Exception | None) -> None:
        self._writing = False
        self._error = error
        if self._gathered and error is None:
            self._write()
        else:
            self._settled.set()

    def _raise_error(self) -> None:
        if self._error is not None:
            raise self._error
