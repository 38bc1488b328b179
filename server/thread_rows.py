"""How a thread stands by its rows; for within a transaction."""

from __future__ import annotations

from dataclasses import dataclass

from server.invocation import find, last_begun
from server.sql import Connection


@dataclass(frozen=True)
class ThreadStanding:
    """`topic` is that of the turn begun last; `waiting` are the names of the turns that wait, in their order."""

    topic: str
    busy: bool
    waiting: tuple[str, ...]


def standing_of(connection: Connection, thread_id: str) -> ThreadStanding | None:
    """How the thread stands; None where it has no turn."""
    last = last_begun(connection, thread_id)
    if last is None and (last := find(connection, "WHERE thread_id = ? ORDER BY n", thread_id)) is None:
        return None
    unfinished = connection.execute(
        "SELECT id, started_at FROM invocations WHERE thread_id = ? AND status IN ('queued', 'running') ORDER BY n",
        (thread_id,),
    ).fetchall()
    waiting = tuple(turn["id"] for turn in unfinished if turn["started_at"] is None)
    return ThreadStanding(last.topic, bool(unfinished), waiting)
