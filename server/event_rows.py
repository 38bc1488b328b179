"""Events as rows: numbered and inserted within a transaction of the server's database."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import orjson

from graph.events import Event, boundary_key
from server.invocation import sealed
from server.report_rows import insert_report
from server.spent_rows import add_spent, replace_spent, spent_told
from server.sql import Connection
from server.status import Status

if TYPE_CHECKING:
    from graph.usage import Spent
    from server.invocation import Invocation

READ_FRAMES: Final = 2000


class Superseded(Exception):
    """A later claim owns the turn: what this one still writes is refused."""


class EventsRemoved(Exception):
    """The events are past their retention."""


@dataclass(frozen=True)
class Ending:
    """The end of a turn: its last event, its state, and what stays of it.

    `report` is Markdown, `document` what it was made from. `spent` is all that the turn cost; where it is None, what
    its events told stands.
    """

    event: Event
    status: Status
    report: str = ""
    document: Mapping[str, Any] | None = None
    error: Mapping[str, Any] | None = None
    spent: Sequence[Spent] | None = None


@dataclass(frozen=True)
class Written:
    """What a transaction added to one stream: frames, its last number, and the end state if it came to one."""

    frames: list[bytes]
    last: int
    status: Status | None = None


def append(connection: Connection, invocation: Invocation, events: Sequence[Event]) -> Written:
    """Adds a claim's events; a boundary that the stream has is passed over. Raises `Superseded`."""
    row = connection.execute(
        "SELECT last_event_id FROM invocations WHERE n = ? AND epoch = ? AND status = 'running'",
        (invocation.n, invocation.epoch),
    ).fetchone()
    if row is None:
        raise Superseded(f"Claim {invocation.epoch} of {invocation.id} is not the present one.")
    return insert(connection, invocation, row[0], joined(events))


def insert(connection: Connection, invocation: Invocation, last: int, events: Sequence[Event]) -> Written:
    """Adds events behind number `last` of the invocation's stream."""
    frames: list[bytes] = []
    n, seal = invocation.n, connection.sealing.seal
    for event in events:
        data = orjson.dumps({"sequence_number": last + 1, **event})
        added = connection.execute(
            "INSERT INTO events (n, seq, key, data) VALUES (?, ?, ?, ?) ON CONFLICT (n, key) WHERE key IS NOT NULL"
            " DO NOTHING",
            (n, last + 1, boundary_key(event), seal(data, "events", n, invocation.id, last + 1)),
        ).rowcount
        if added:
            last += 1
            frames.append(frame(last, data))
            _count(connection, n, event)
    connection.execute("UPDATE invocations SET last_event_id = ? WHERE n = ?", (last, n))
    return Written(frames, last)


def end(connection: Connection, invocation: Invocation, ending: Ending, *, at: float) -> Written:
    """Adds the last event of a turn that is not under way any more, and its end state. `at` is Unix seconds."""
    last = connection.execute("SELECT last_event_id FROM invocations WHERE n = ?", (invocation.n,)).fetchone()[0]
    written = insert(connection, invocation, last, [ending.event])
    successor = _successor(connection, invocation) if ending.status is Status.SUPERSEDED else None
    completed = ending.event.get("phases_completed", ending.event.get("completed_phases"))
    connection.execute(
        "UPDATE invocations SET status = ?, ended_at = ?, phases_completed = ?, error = ?, superseded_by = ?"
        " WHERE n = ?",
        (
            ending.status,
            at,
            completed,
            sealed(connection, invocation.id, invocation.thread_id, error=_json(ending.error))["error"],
            successor,
            invocation.n,
        ),
    )
    if ending.spent is not None:
        replace_spent(connection, invocation.n, ending.spent)
    if ending.report:
        insert_report(connection, invocation, ending.report, _json(ending.document))
    return Written(written.frames, written.last, ending.status)


def waiting_steers(connection: Connection, thread_id: str) -> list[str]:
    """The ids of the turns that wait to take a thread over, oldest first."""
    rows = connection.execute(
        "SELECT id FROM invocations WHERE thread_id = ? AND status = 'queued' AND started_at IS NULL"
        " AND multitask_strategy IN ('interrupt', 'rollback') ORDER BY n",
        (thread_id,),
    )
    return [row[0] for row in rows]


def frames_behind(connection: Connection, n: int, name: str, position: int) -> list[bytes]:
    """Up to 2,000 frames of the stream of invocation `name`, whose number is `n`, behind number `position`.

    Raises `EventsRemoved`, `StoredValueRefused`.
    """
    query, unseal = "SELECT seq, data FROM events WHERE n = ? AND seq > ? ORDER BY seq LIMIT ?", connection.sealing.open
    rows = connection.execute(query, (n, position, READ_FRAMES))
    frames = [frame(seq, unseal(data, "events", n, name, seq)) for seq, data in rows]
    # Asked last: a removal marks the turn before it takes the first event, so without a mark none is missing.
    row = connection.execute("SELECT events_removed FROM invocations WHERE n = ?", (n,)).fetchone()
    if row is None or row[0]:  # no row: the thread was erased
        raise EventsRemoved
    return frames


def keys_and_tail(connection: Connection, invocation: Invocation) -> tuple[list[str], list[Event]]:
    """The stream's boundary keys, and its events from the last `subcall_start` on. Raises `StoredValueRefused`."""
    n = invocation.n
    keys = [row[0] for row in connection.execute("SELECT key FROM events WHERE n = ? AND key IS NOT NULL", (n,))]
    start = connection.execute(
        "SELECT max(seq) FROM events WHERE n = ? AND key >= 'subcall_start:' AND key < 'subcall_start;'", (n,)
    ).fetchone()[0]
    rows = connection.execute("SELECT seq, data FROM events WHERE n = ? AND seq >= ? ORDER BY seq", (n, start or 1))
    return keys, [event_of(connection, invocation, seq, data) for seq, data in rows]


def event_of(connection: Connection, invocation: Invocation, seq: int, data: bytes) -> Event:
    """The event in a row. Raises `StoredValueRefused`."""
    event: Event = orjson.loads(connection.sealing.open(data, "events", invocation.n, invocation.id, seq))
    return event


def frame(number: int, data: bytes) -> bytes:
    """One SSE frame."""
    return b"id: %d\ndata: %b\n\n" % (number, data)


def joined(events: Sequence[Event]) -> list[Event]:
    """The events, tokens of one subcall that stand side by side made one."""
    result: list[Event] = []
    pieces: list[str] = []
    for event in events:
        last = result[-1] if result else None
        if last is not None and _continues(last, event):
            if not pieces:
                pieces.append(last["content"])
                result[-1] = last = {**last}
            pieces.append(event["content"])
            last["content"] = "".join(pieces)
        else:
            pieces.clear()
            result.append(event)
    return result


def _continues(last: Event, event: Event) -> bool:
    return bool(
        event["type"] == "token"
        and last["type"] == "token"
        and (last["phase"], last["index"]) == (event["phase"], event["index"])
    )


def _json(value: Mapping[str, Any] | None) -> str | None:
    return orjson.dumps(value).decode() if value else None


def _count(connection: Connection, n: int, event: Event) -> None:
    if event["type"] == "phase_end":
        connection.execute("UPDATE invocations SET phases_completed = ? WHERE n = ?", (event["phase"], n))
    for row in spent_told(event):
        add_spent(connection, n, row)


def _successor(connection: Connection, invocation: Invocation) -> str | None:
    waiting = waiting_steers(connection, invocation.thread_id)
    return waiting[-1] if waiting else None
