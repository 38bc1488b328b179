"""An invocation as it is stored, and what may be wanted of it while it is under way."""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Final

from server.sealing import Sealing, StoredValueRefused
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
    `unreadable`: what it was asked cannot be read from the disk any more; the texts are empty, and `error` says so.
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
    unreadable: bool = False

    def check_readable(self) -> None:
        """Raises `StoredValueRefused` for one that is unreadable."""
        if self.unreadable:
            raise StoredValueRefused


@dataclass(frozen=True)
class Page:
    """Some of a list of invocations; `more` of it comes behind them."""

    invocations: list[Invocation]
    more: bool


# A list is written at once, on the event loop, between the frames of all streams.
MAX_PAGE_CHARS: Final = 1024 * 1024

_COLUMNS: Final = ", ".join(name for name in Invocation.__dataclass_fields__ if name != "unreadable")
_TEXTS: Final = ("message", "topic", "prior_topic", "config", "metadata", "error")
_JSON: Final = ("config", "metadata", "error")
_NOTHING: Final[dict[str, Any]] = {"message": "", "topic": "", "prior_topic": None, "config": {}, "metadata": {}}


def sealed(connection: Connection, name: str, thread_id: str, **texts: str | None) -> dict[str, str | None]:
    """Columns of invocation `name` as they are stored; the names of `texts` are those of the columns."""
    seal = connection.sealing.seal_text
    return {
        column: None if text is None else seal(text, "invocations", name, thread_id, column)
        for column, text in texts.items()
    }


def select(connection: Connection, rest: str, *values: object) -> list[Invocation]:
    """The invocations that `rest` of an SQL query names: its `WHERE`, its `ORDER BY`, with `?` for `values`."""
    rows = connection.execute(f"SELECT {_COLUMNS} FROM invocations {rest}", values)  # noqa: S608
    return [_of(row, connection.sealing) for row in rows]


def select_page(connection: Connection, rest: str, *values: object, limit: int) -> Page:
    """The first `limit` of `select`, or fewer where these hold much text."""
    found, size = list[Invocation](), 0
    rows = connection.execute(f"SELECT {_COLUMNS} FROM invocations {rest} LIMIT ?", (*values, limit + 1))  # noqa: S608
    for row in rows:
        size += sum(len(row[name]) for name in _TEXTS if row[name] is not None)
        if len(found) == limit or (found and size > MAX_PAGE_CHARS):
            return Page(found, more=True)
        found.append(_of(row, connection.sealing))
    return Page(found, more=False)


def find(connection: Connection, rest: str, *values: object) -> Invocation | None:
    """The first of `select`."""
    return next(iter(select(connection, f"{rest} LIMIT 1", *values)), None)


def last_begun(connection: Connection, thread_id: str) -> Invocation | None:
    """The thread's turn begun last; it need not be the newest: a steer goes before turns that were enqueued earlier."""
    return find(connection, "WHERE thread_id = ? AND started_at IS NOT NULL ORDER BY turn DESC", thread_id)


def _of(row: Row, sealing: Sealing) -> Invocation:
    values: dict[str, Any] = dict(row)
    try:
        values |= _texts(values, sealing)
    except (StoredValueRefused, ValueError):  # the latter of JSON that is none
        values |= _NOTHING | {"error": refused_words(StoredValueRefused()), "unreadable": True}
    values |= {
        "status": Status(values["status"]),
        "wish": Wish(values["wish"]),
        "has_report": bool(values["has_report"]),
        "put_back": bool(values["put_back"]),
        "events_removed": bool(values["events_removed"]),
    }
    return Invocation(**values)


def _texts(values: dict[str, Any], sealing: Sealing) -> dict[str, Any]:
    texts = {
        name: sealing.open_text(values[name], "invocations", values["id"], values["thread_id"], name)
        for name in _TEXTS
        if values[name] is not None
    }
    return texts | {name: json.loads(texts[name]) for name in _JSON if name in texts}


def refused_words(error: StoredValueRefused) -> dict[str, str]:
    """`{type, message}` of a turn whose stored values cannot be read."""
    return {"type": type(error).__name__, "message": str(error)}
