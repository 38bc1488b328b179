"""How a turn is taken from the queue to be run. One transaction, which writes the stream's `run_start` as well."""

from __future__ import annotations

import json

from graph.events import Event
from graph.turn_events import run_failed, run_start
from server.accept import Stamp
from server.event_rows import Ending, Written, end, event_of, insert
from server.invocation import Invocation, find, refused_words, sealed
from server.owners import public
from server.sealing import StoredValueRefused
from server.sql import Connection
from server.status import Status


def claim(connection: Connection, now: float, stamp: Stamp) -> tuple[Invocation | None, dict[str, Written]]:
    """The turn whose time it is, now `running` under a new epoch, with its `run_start`; None where none can run.

    One turn of a thread runs at a time: first the one that had begun, then one that steered, then those that wait.
    """
    return _next(
        connection,
        now,
        stamp,
        """
        AS mine WHERE status = 'queued' AND NOT EXISTS (
            SELECT 1 FROM invocations AS other WHERE other.thread_id = mine.thread_id AND (
                other.status = 'running' OR other.status = 'queued' AND other.n <> mine.n
                AND (other.started_at IS NULL, other.multitask_strategy = 'enqueue', other.n)
                  < (mine.started_at IS NULL, mine.multitask_strategy = 'enqueue', mine.n)
            )
        ) ORDER BY n
        """,
    )


def claim_on_thread(
    connection: Connection, thread_id: str, now: float, stamp: Stamp
) -> tuple[Invocation | None, dict[str, Written]]:
    """The same for one thread, by whoever alone may run it: a turn that runs there has lost its worker."""
    order = "ORDER BY started_at IS NULL, multitask_strategy = 'enqueue', n"
    return _next(connection, now, stamp, f"WHERE thread_id = ? AND status IN ('queued', 'running') {order}", thread_id)


def _next(
    connection: Connection, now: float, stamp: Stamp, rest: str, *values: object
) -> tuple[Invocation | None, dict[str, Written]]:
    """The first turn that `rest` of a query names, claimed. Those before it that cannot be read are ended as failed."""
    written: dict[str, Written] = {}
    while (turn := find(connection, rest, *values)) is not None:
        try:
            claimed, begun = _claimed(connection, turn, now, stamp)
        except StoredValueRefused as error:
            words = refused_words(error)
            failure = Ending(stamp(run_failed(words, turn.phases_completed)), Status.FAILED, error=words)
            written[turn.id] = end(connection, turn, failure, at=now)
        else:
            return claimed, written | begun
    return None, written


def _claimed(
    connection: Connection, turn: Invocation, now: float, stamp: Stamp
) -> tuple[Invocation, dict[str, Written]]:
    turn.check_readable()
    if turn.started_at is None:
        _begin(connection, turn, now)
    connection.execute("UPDATE invocations SET status = 'running', epoch = epoch + 1 WHERE n = ?", (turn.n,))
    claimed = find(connection, "WHERE n = ?", turn.n)
    assert claimed is not None
    events = [] if _recovery_begun(connection, claimed) else [stamp(_run_start(claimed))]
    return claimed, {claimed.id: insert(connection, claimed, claimed.last_event_id, events)}


def _recovery_begun(connection: Connection, turn: Invocation) -> bool:
    """Whether the stream has the `run_start` of a recovery that died before its `recovered`: that one stands then."""
    for seq, data in connection.execute("SELECT seq, data FROM events WHERE n = ? ORDER BY seq DESC", (turn.n,)):
        event = event_of(connection, turn, seq, data)
        if event["type"] != "steering":
            return bool(event["type"] == "run_start" and event["entry_mode"] == "recovered")
    return False


def _begin(connection: Connection, turn: Invocation, now: float) -> None:
    """A turn learns at its start, not before, which turn it follows: others may have come and gone while it waited."""
    # By their number, not by their times: those come from the clocks of several hosts.
    order = "ORDER BY turn DESC"
    last = find(connection, f"WHERE thread_id = ? AND started_at IS NOT NULL {order}", turn.thread_id)
    # The one whose topic and plan the thread is on: what was rolled back has left no trace in its state.
    kept = find(
        connection,
        f"WHERE thread_id = ? AND started_at IS NOT NULL AND put_back = 0 {order}",
        turn.thread_id,
    )
    topic, config, total, completed = turn.message, turn.config, turn.total_phases, 0
    if kept is not None and turn.steering != "new_topic":
        kept.check_readable()
        plan = {name: kept.config[name] for name in ("num_phases", "phase_titles")}
        topic, config, total = kept.topic, {**turn.config, **plan}, kept.total_phases
        completed = kept.phases_completed
    prior = None if last is None else last.topic
    texts = sealed(connection, turn.id, turn.thread_id, topic=topic, prior_topic=prior, config=json.dumps(config))
    connection.execute(
        "UPDATE invocations SET started_at = ?, turn = ?, topic = ?, prior_topic = ?, config = ?, total_phases = ?,"
        " phases_completed = ? WHERE n = ?",
        (now, 1 if last is None else last.turn + 1, *texts.values(), total, completed, turn.n),
    )


def _run_start(invocation: Invocation) -> Event:
    return run_start(
        topic=invocation.topic,
        entry_mode="recovered" if invocation.epoch > 1 else "fresh" if invocation.turn == 1 else "resumed",
        thread_id=public(invocation.thread_id),
        invocation_id=public(invocation.id),
        total_phases=invocation.total_phases,
        calls_per_phase=invocation.config["calls_per_phase"],
        model=invocation.config["model"],
        prior_topic=invocation.prior_topic,
    )
