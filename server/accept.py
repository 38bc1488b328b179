"""How a new turn is taken: on a thread at rest it waits for its start, on a busy one it steers. A transaction each."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from graph.events import Event
from server.document_rows import check_known
from server.event_rows import Ending, Written, end, insert
from server.invocation import Invocation, Wish, find, last_begun, sealed, select
from server.owners import owner_of, public
from server.queue_limits import Room, check_room
from server.sql import Connection
from server.status import Status

_STEERS: Final = ("interrupt", "rollback")


class ThreadBusy(Exception):
    """The thread has a turn under way, and what was asked needs it at rest."""


class InvocationGone(Exception):
    """The thread was erased since the request found its turn."""


class NotResumable(Exception):
    """The turn has nothing to resume: it completed, or a later turn took its thread over."""


@dataclass(frozen=True)
class NewInvocation:
    """A turn as it was asked for. `id` may be the client's own name for it.

    `given` is what its request set; `defaults` is the whole configuration it gets for the rest on a new topic. A turn
    on the old topic takes the rest from the turn before it, with its plan. `max_unfinished` is its key's limit.
    """

    id: str
    thread_id: str
    message: str
    steering: str
    multitask_strategy: str
    given: dict[str, Any]
    defaults: dict[str, Any]
    metadata: dict[str, Any]
    total_phases: int
    created_at: float
    idempotency_key: str | None = None
    resumes: str | None = None
    max_unfinished: int | None = None


@dataclass(frozen=True)
class Accepted:
    """What came of a `NewInvocation`.

    `waits`: others go first. `repeated`: an earlier request had made it already, and nothing was changed; `named`, that
    both gave it the same name.
    `steered` is the turn under way that has to hear of it, `wish` what is wanted of that one now.
    """

    invocation: Invocation
    waits: bool = False
    repeated: bool = False
    named: bool = False
    steered: str | None = None
    wish: Wish = Wish.NONE
    written: dict[str, Written] = field(default_factory=dict)


Stamp = Callable[[Event], Event]


def accept(connection: Connection, new: NewInvocation, *, limit: int, stamp: Stamp) -> Accepted:
    """Stores a turn; `limit` turns run at once, `stamp` puts the time on an event.

    Raises `ThreadBusy`, `QueueFull`, `DocumentsUnknown`.
    """
    if (repeated := _repeated(connection, new)) is not None:
        return repeated
    check_known(connection, owner_of(new.id), new.given.get("documents", []))
    unfinished = select(connection, "WHERE thread_id = ? AND status IN ('queued', 'running') ORDER BY n", new.thread_id)
    if unfinished and new.multitask_strategy == "reject":
        raise ThreadBusy(f"Thread {public(new.thread_id)} has a turn under way.")
    waiting = [turn for turn in unfinished if turn.started_at is None]
    steers = new.multitask_strategy in _STEERS
    overtaken = [turn for turn in waiting if turn.multitask_strategy != "enqueue"] if steers else []
    under_way = next((turn for turn in unfinished if turn.started_at is not None and steers), None)
    room = Room(limit, staying=len(waiting) - len(overtaken), ending=len(overtaken) + (under_way is not None))
    waits = check_room(connection, new.thread_id, room, max_unfinished=new.max_unfinished) or bool(unfinished)
    stored = _store(connection, new)
    written: dict[str, Written] = {}
    for turn in overtaken:
        written[turn.id] = end(connection, turn, _overtaken(turn, stamp), at=new.created_at)
    if under_way is None:
        return Accepted(stored, waits=waits, written=written)
    wish = _wish_of(new, under_way)
    written[under_way.id] = _steer(connection, under_way, new, wish, stamp)
    return Accepted(stored, waits=waits, steered=under_way.id, wish=wish, written=written)


def accept_resumption(connection: Connection, invocation_id: str, new: NewInvocation, *, limit: int) -> Accepted:
    """Stores the turn that goes on where `invocation_id` stopped.

    Raises `ThreadBusy`, `NotResumable`, `QueueFull`, `InvocationGone`.
    """
    stopped = _still_there(connection, invocation_id)
    if (repeated := _repeated(connection, new)) is not None:
        return repeated
    if not stopped.status.ended or find(
        connection, "WHERE thread_id = ? AND status IN ('queued', 'running')", stopped.thread_id
    ):
        raise ThreadBusy(f"Thread {public(stopped.thread_id)} has a turn under way.")
    if stopped.status not in (Status.FAILED, Status.CANCELLED, Status.TIMED_OUT):
        raise NotResumable(f"This turn is {stopped.status}: there is nothing to resume.")
    if stopped.put_back:
        raise NotResumable("This turn was rolled back: the thread has forgotten it.")
    later, place = ("n > ?", stopped.n) if stopped.started_at is None else ("turn > ?", stopped.turn)
    if find(connection, f"WHERE thread_id = ? AND started_at IS NOT NULL AND {later}", stopped.thread_id, place):
        raise NotResumable("A later turn has taken the thread over: resume that one, or start a new turn.")
    waits = check_room(connection, stopped.thread_id, Room(limit), max_unfinished=new.max_unfinished)
    again = replace(
        new,
        thread_id=stopped.thread_id,
        message=stopped.message,
        steering="resume" if _planned(connection, stopped) else stopped.steering,
        given=stopped.config,
        metadata=stopped.metadata,
        total_phases=stopped.total_phases,
        resumes=stopped.id,
    )
    return Accepted(_store(connection, again), waits=waits)


def cancel(
    connection: Connection, invocation_id: str, wish: Wish, *, at: float, stamp: Stamp
) -> tuple[Invocation, dict[str, Written]]:
    """Ends a turn that waits, or leaves the wish with one under way; one that has ended stays as it is.

    Raises `InvocationGone`.
    """
    turn = _still_there(connection, invocation_id)
    written: dict[str, Written] = {}
    if not turn.status.ended and turn.started_at is None:
        ending = Ending(_unstarted(turn, "operator_cancel", stamp), Status.CANCELLED)
        written[turn.id] = end(connection, turn, ending, at=at)
    elif not turn.status.ended:
        _want(connection, turn, wish)
    return _still_there(connection, invocation_id), written


def _still_there(connection: Connection, invocation_id: str) -> Invocation:
    found = find(connection, "WHERE id = ?", invocation_id)
    if found is None:
        raise InvocationGone
    return found


def _repeated(connection: Connection, new: NewInvocation) -> Accepted | None:
    """What an earlier request of the same name or key had made."""
    earlier = find(connection, "WHERE id = ?", new.id)
    if earlier is None and new.idempotency_key is not None:
        earlier = find(connection, "WHERE idempotency_key = ?", new.idempotency_key)
    if earlier is None:
        return None
    waits = earlier.status is Status.QUEUED
    return Accepted(earlier, waits=waits, repeated=True, named=earlier.id == new.id)


def _store(connection: Connection, new: NewInvocation) -> Invocation:
    last = last_begun(connection, new.thread_id)
    # A thread goes on with its documents, on a new topic too, until a turn names others.
    documents = {"documents": last.config["documents"]} if last is not None and "documents" in last.config else {}
    config, total = {**new.defaults, **documents, **new.given}, new.total_phases
    if last is not None and new.steering != "new_topic":
        last.check_readable()
        plan = {name: last.config[name] for name in ("num_phases", "phase_titles")}
        config, total = {**last.config, **new.given, **plan}, last.total_phases
    values = {
        "id": new.id,
        "owner": owner_of(new.id),
        "idempotency_key": new.idempotency_key,
        "thread_id": new.thread_id,
        "turn": 1,
        "status": Status.QUEUED,
        "steering": new.steering,
        "multitask_strategy": new.multitask_strategy,
        "created_at": new.created_at,
        "total_phases": total,
        "resumes": new.resumes,
    } | sealed(
        connection,
        new.id,
        new.thread_id,
        message=new.message,
        topic=last.topic if last is not None and new.steering != "new_topic" else new.message,
        prior_topic=last.topic if last is not None else None,
        config=json.dumps(config),
        metadata=json.dumps(new.metadata),
    )
    names = ", ".join(values)
    places = ", ".join("?" for _ in values)
    connection.execute(f"INSERT INTO invocations ({names}) VALUES ({places})", list(values.values()))  # noqa: S608
    stored = find(connection, "WHERE id = ?", new.id)
    assert stored is not None
    return stored


def _wish_of(new: NewInvocation, under_way: Invocation) -> Wish:
    """What a steer wants of the turn under way; one that is to be cancelled already is then broken off as cancelled."""
    if new.multitask_strategy != "rollback":
        return Wish.STEER
    return Wish.CANCEL_NOW if under_way.wish >= Wish.CANCEL else Wish.ROLL_BACK


def _steer(connection: Connection, under_way: Invocation, new: NewInvocation, wish: Wish, stamp: Stamp) -> Written:
    _want(connection, under_way, wish)
    if new.multitask_strategy == "rollback":
        connection.execute("UPDATE invocations SET put_back = 1 WHERE n = ?", (under_way.n,))
    event = {
        "type": "steering",
        "message": new.message,
        "invocation_id": public(new.id),
        "multitask_strategy": new.multitask_strategy,
    }
    return insert(connection, under_way, under_way.last_event_id, [stamp(event)])


def _want(connection: Connection, turn: Invocation, wish: Wish) -> None:
    connection.execute("UPDATE invocations SET wish = ? WHERE n = ? AND wish < ?", (int(wish), turn.n, int(wish)))


def _overtaken(turn: Invocation, stamp: Stamp) -> Ending:
    return Ending(_unstarted(turn, "steering", stamp), Status.SUPERSEDED)


def _unstarted(turn: Invocation, cause: str, stamp: Stamp) -> Event:
    waiting = 1 if cause == "steering" else 0
    counts: Mapping[str, int] = {"completed_phases": 0, "total_phases": turn.total_phases}
    return stamp({"type": "winding_down", "cause": cause, **counts, "pending_steering_inputs": waiting})


def _planned(connection: Connection, turn: Invocation) -> bool:
    """Whether the turn came as far as its first phase: before that, the thread's state is still its predecessor's."""
    if turn.events_removed:
        return turn.started_at is not None
    key = connection.execute(
        "SELECT 1 FROM events WHERE n = ? AND key >= 'phase_start:' AND key < 'phase_start;'", [turn.n]
    )
    return key.fetchone() is not None
