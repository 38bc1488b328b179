"""The event log: gives the numbers, puts events on disk, and only then shows them to readers."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import orjson

from graph.clock import iso
from graph.events import Event, boundary_key
from server.status import Status

if TYPE_CHECKING:
    from server.database import Database
    from server.invocation import Invocation

RING_FRAMES: Final = 1024
READ_FRAMES: Final = 2000
# Events that a turn may have waiting for the disk before it is held back.
MAX_WAITING: Final = 512


class Superseded(Exception):
    """A later claim owns the turn: what this one still writes is refused."""


@dataclass(frozen=True)
class Ending:
    """The end of a turn: its last event, its state, and what stays of it."""

    event: Event
    status: Status
    report: str = ""
    error: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Written:
    """What a write added: its frames, the stream's last number, and the end state if it came to one."""

    frames: list[bytes]
    last: int
    status: Status | None = None


class LiveStream:
    """The newest frames of one invocation in memory, for the readers that keep up. Lives while anybody uses it."""

    def __init__(self) -> None:
        self.status: Status | None = None
        self.users = 0
        self._last = 0
        self._frames: list[bytes] = []
        self._changed = asyncio.Event()

    def since(self, position: int) -> list[bytes] | None:
        """The frames behind number `position`, which the reader has up to; None where some are not in memory."""
        behind = self._last - position
        if behind > len(self._frames):
            return None
        return self._frames[-behind:] if behind > 0 else []

    def show(self, written: Written) -> None:
        """Takes in what is on disk now."""
        self._frames.extend(written.frames)
        self._last = written.last
        if len(self._frames) > 2 * RING_FRAMES:
            del self._frames[:-RING_FRAMES]
        self.status = written.status or self.status
        self._changed.set()
        self._changed = asyncio.Event()

    def watch(self) -> asyncio.Event:
        """An event that is set by the next `show`; to be taken before looking at what is there."""
        return self._changed


class EventLog:
    """Events of all invocations in the server's database.

    `uptime` gives seconds since this process began, `now` Unix seconds: both are written into the events.
    """

    def __init__(
        self, database: Database, *, now: Callable[[], float] = time.time, uptime: Callable[[], float] = time.monotonic
    ) -> None:
        self._database = database
        self.now = now
        self._uptime = uptime
        self._live: dict[str, LiveStream] = {}

    @contextlib.contextmanager
    def attached(self, invocation_id: str) -> Iterator[LiveStream]:
        """The invocation's live stream, kept while the context is open."""
        live = self._live.setdefault(invocation_id, LiveStream())
        live.users += 1
        try:
            yield live
        finally:
            live.users -= 1
            if not live.users:
                del self._live[invocation_id]

    def writer(self, invocation: Invocation) -> StreamWriter:
        """Where the claim that `invocation` stands for writes its events."""
        return StreamWriter(self, invocation)

    def stamped(self, event: Event) -> Event:
        """The event with the time, but for tokens, which are too many."""
        if event["type"] == "token":
            return event
        return {**event, "server_time_utc": iso(self.now()), "server_uptime_sec": round(self._uptime(), 3)}

    def submit(
        self,
        work: Callable[[sqlite3.Connection], Written],
        invocation_id: str,
        settled: Callable[[Exception | None], None],
    ) -> None:
        """Queues a write and shows its frames once it is on disk."""

        def show(written: Written | None, error: Exception | None) -> None:
            if written is not None and error is None and (live := self._live.get(invocation_id)) is not None:
                live.show(written)
            settled(error)

        self._database.submit(work, show)

    async def frames(self, invocation: Invocation, behind: int) -> list[bytes]:
        """Up to 2,000 frames from disk behind number `behind`."""
        query = "SELECT seq, data FROM events WHERE n = ? AND seq > ? ORDER BY seq LIMIT ?"
        return await self._database.read(
            lambda connection: [
                frame(row[0], row[1]) for row in connection.execute(query, (invocation.n, behind, READ_FRAMES))
            ]
        )

    async def keys_and_tail(self, invocation: Invocation) -> tuple[list[str], list[Event]]:
        """The stream's boundary keys, and its events from the last `subcall_start` on."""
        return await self._database.read(lambda connection: _keys_and_tail(connection, invocation.n))


class StreamWriter:
    """Writes one claim's events, in the order of the calls. To be used from the event loop.

    One write is under way at a time, so that none can land behind one that failed; what comes meanwhile gathers.
    """

    def __init__(self, log: EventLog, invocation: Invocation) -> None:
        self._log = log
        self._invocation = invocation
        self._gathered: list[Event] = []
        self._writing = False
        self._error: Exception | None = None
        self._settled = asyncio.Event()
        self._settled.set()

    def put(self, event: Event) -> None:
        """Takes the stream's next event; returns before it is on disk. Raises what an earlier write met."""
        self._raise_error()
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
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def settled(error: Exception | None) -> None:
            if error is None:
                done.set_result(None)
            else:
                done.set_exception(error)

        event, ended_at = self._log.stamped(ending.event), self._log.now()
        self._log.submit(
            lambda connection: _end(connection, self._invocation, ending, event, ended_at), self._invocation.id, settled
        )
        await done

    def _write(self) -> None:
        events, self._gathered, self._writing = self._gathered, [], True
        self._log.submit(
            lambda connection: append(connection, self._invocation, events), self._invocation.id, self._written
        )

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


def append(connection: sqlite3.Connection, invocation: Invocation, events: Sequence[Event]) -> Written:
    """Adds events behind the last one; a boundary that the stream has is passed over. Raises `Superseded`."""
    row = connection.execute(
        "SELECT last_event_id FROM invocations WHERE n = ? AND epoch = ? AND status = 'running'",
        (invocation.n, invocation.epoch),
    ).fetchone()
    if row is None:
        raise Superseded(f"Claim {invocation.epoch} of {invocation.id} is not the present one.")
    frames, last = _insert(connection, invocation.n, row[0], joined(events))
    return Written(frames, last)


def _insert(connection: sqlite3.Connection, n: int, last: int, events: Sequence[Event]) -> tuple[list[bytes], int]:
    frames: list[bytes] = []
    for event in events:
        data = orjson.dumps({"sequence_number": last + 1, **event})
        added = connection.execute(
            "INSERT INTO events (n, seq, key, data) VALUES (?, ?, ?, ?) ON CONFLICT (n, key) WHERE key IS NOT NULL"
            " DO NOTHING",
            (n, last + 1, boundary_key(event), data),
        ).rowcount
        if added:
            last += 1
            frames.append(frame(last, data))
            _count(connection, n, event)
    connection.execute("UPDATE invocations SET last_event_id = ? WHERE n = ?", (last, n))
    return frames, last


def _count(connection: sqlite3.Connection, n: int, event: Event) -> None:
    if event["type"] == "phase_end":
        connection.execute("UPDATE invocations SET phases_completed = ? WHERE n = ?", (event["phase"], n))
    elif event["type"] == "subcall_end":
        usage = event["usage"]
        connection.execute(
            "UPDATE invocations SET input_tokens = input_tokens + ?, output_tokens = output_tokens + ? WHERE n = ?",
            (usage["input_tokens"], usage["output_tokens"], n),
        )


def _end(
    connection: sqlite3.Connection, invocation: Invocation, ending: Ending, event: Event, ended_at: float
) -> Written:
    written = append(connection, invocation, [event])
    connection.execute(
        "UPDATE invocations SET status = ?, ended_at = ?, error = ? WHERE n = ?",
        (ending.status, ended_at, orjson.dumps(ending.error).decode() if ending.error else None, invocation.n),
    )
    if ending.report:
        connection.execute("INSERT INTO reports (n, markdown) VALUES (?, ?)", (invocation.n, ending.report))
    return Written(written.frames, written.last, ending.status)


def joined(events: Sequence[Event]) -> list[Event]:
    """The events, tokens of one subcall that stand side by side made one."""
    result: list[Event] = []
    pieces: list[str] = []
    for event in events:
        last = result[-1] if result else None
        if (
            event["type"] == "token"
            and last is not None
            and last["type"] == "token"
            and (last["phase"], last["index"]) == (event["phase"], event["index"])
        ):
            if not pieces:
                pieces.append(last["content"])
                result[-1] = last = {**last}
            pieces.append(event["content"])
            last["content"] = "".join(pieces)
        else:
            pieces.clear()
            result.append(event)
    return result


def frame(number: int, data: bytes) -> bytes:
    """One SSE frame."""
    return b"id: %d\ndata: %b\n\n" % (number, data)


def _keys_and_tail(connection: sqlite3.Connection, n: int) -> tuple[list[str], list[Event]]:
    keys = [row[0] for row in connection.execute("SELECT key FROM events WHERE n = ? AND key IS NOT NULL", (n,))]
    start = connection.execute(
        "SELECT max(seq) FROM events WHERE n = ? AND key >= 'subcall_start:' AND key < 'subcall_start;'", (n,)
    ).fetchone()[0]
    rows = connection.execute("SELECT data FROM events WHERE n = ? AND seq >= ? ORDER BY seq", (n, start or 1))
    return keys, [orjson.loads(row[0]) for row in rows]
