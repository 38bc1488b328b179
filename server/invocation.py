"""An invocation as it is stored, and what may be wanted of it while it is under way."""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Final

from server.sql import Connection, Row
from server.status import Status


class Wish(IntEnum):
    """What a turn under way is to do, the strongest last: a stronger wish replaces a weaker one."""

    NONE = 0
    STEER = 1
    ROLL_BACK = 2
    CANCEL = 3
    CANCEL_NOW = 4


@dataclass(frozen=True)
class Invocation:
    """One turn on a thread. `n` is its place in the order of arrival; times are Unix seconds.

    `config` is the turn's whole `RunConfig` as JSON types, fixed when the turn was accepted.
    `put_back`: the turn is to leave no trace in its thread's state.
    `epoch` counts its claims: what an older claim still wants to write is refused.
    """

    n: int
    id: str
    thread_id: str
    turn: int
    status: Status
    message: str
    topic: str
    prior_topic: str | None
    steering: str
    multitask_strategy: str
    config: dict[str, Any]
    metadata: dict[str, Any]
    created_at: float
    started_at: float | None
    ended_at: float | None
    epoch: int
    last_event_id: int
    phases_completed: int
    total_phases: int
    input_tokens: int
    output_tokens: int
    error: dict[str, Any] | None
    superseded_by: str | None
    resumes: str | None
    wish: Wish
    has_report: bool
    put_back: bool
    events_removed: bool


_COLUMNS: Final = ", ".join(Invocation.__dataclass_fields__)


def select(connection: Connection, rest: str, *values: object) -> list[Invocation]:
    """The invocations that `rest` of an SQL query names: its `WHERE`, its `ORDER BY`, with `?` for `values`."""
    return [_of(row) for row in connection.execute(f"SELECT {_COLUMNS} FROM invocations {rest}", values)]  # noqa: S608


def find(connection: Connection, rest: str, *values: object) -> Invocation | None:
    """The first of `select`."""
    return next(iter(select(connection, f"{rest} LIMIT 1", *values)), None)


def _of(row: Row) -> Invocation:
    values: dict[str, Any] = dict(row)
    for name in ("config", "metadata", "error"):
        if values[name] is not None:
            values[name] = json.loads(values[name])
    values |= {
        "status": Status(values["status"]),
        "wish": Wish(values["wish"]),
        "has_report": bool(values["has_report"]),
        "put_back": bool(values["put_back"]),
        "events_removed": bool(values["events_removed"]),
    }
    return Invocation(**values)
