"""How a turn is taken from the queue to be run. One transaction, which writes the stream's `run_start` as well."""

from __future__ import annotations

import json

from graph.events import Event
from graph.turn_events import run_start
from server.accept import Stamp
from server.event_rows import Written, insert
from server.invocation import Invocation, find
from server.owners import public
from server.sql import Connection


def claim(connection: Connection, now: float, stamp: Stamp) -> tuple[Invocation | None, dict[str, Written]]:
    """The turn whose time it is, now `running` under a new epoch, with its `run_start`; None where none can run.

    One turn of a thread runs at a time: first the one that had begun, then one that steered, then those that wait.
    """
    turn = find(
        connection,
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
    return (None, {}) if turn is None else _claimed(connection, turn, now, stamp)


def claim_on_thread(
    connection: Connection, thread_id: str, now: float, stamp: Stamp
) -> tuple[Invocation | None, dict[str, Written]]:
    """The same for one thread, by whoever alone may run it: a turn that runs there has lost its worker."""
    order = "ORDER BY started_at IS NULL, multitask_strategy = 'enqueue', n"
    turn = find(connection, f"WHERE thread_id = ? AND status IN ('queued', 'running') {order}", thread_id)
    return (None, {}) if turn is None else _claimed(connection, turn, now, stamp)


def _claimed(
    connection: Connection, turn: Invocation, now: float, stamp: Stamp
) -> tuple[Invocation, dict[str, Written]]:
    if turn.started_at is None:
        _begin(connection, turn, now)
    connection.execute("UPDATE invocations SET status = 'running', epoch = epoch + 1 WHERE n = ?", (turn.n,))
    claimed = find(connection, "WHERE n = ?", turn.n)
    assert claimed is not None
    events = [] if _recovery_begun(connection, claimed) else [stamp(_run_start(claimed))]
    return claimed, {claimed.id: insert(connection, claimed.n, claimed.last_event_id, events)}


def _recovery_begun(connection: Connection, turn: Invocation) -> bool:
    """Whether the stream has the `run_start` of a recovery that died before its `recovered`: that one stands then."""
    for row in connection.execute("SELECT data FROM events WHERE n = ? ORDER BY seq DESC", (turn.n,)):
        event = json.loads(row[0])
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
        plan = {name: kept.config[name] for name in ("num_phases", "phase_titles")}
        topic, config, total = kept.topic, {**turn.config, **plan}, kept.total_phases
        completed = kept.phases_completed
    connection.execute(
        "UPDATE invocations SET started_at = ?, turn = ?, topic = ?, prior_topic = ?, config = ?, total_phases = ?,"
        " phases_completed = ? WHERE n = ?",
        (
            now,
            1 if last is None else last.turn + 1,
            topic,
            None if last is None else last.topic,
            json.dumps(config),
            total,
            completed,
            turn.n,
        ),
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
