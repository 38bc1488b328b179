"""Connections to PostgreSQL as the stores use them: `?` for values, rows by place and by name, bounded waits."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from enum import Enum
from functools import lru_cache
from typing import Any, Final

import psycopg
from psycopg import conninfo
from psycopg.rows import no_result

from server.sealing import PLAIN, Sealing

CONNECT_SEC: Final = 5
# `on` where the database says `off`: what was shown must survive a crash. A stronger setting is kept.
DURABLE: Final = (
    b"SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'"
)


class PostgresRow:
    """One row: `row[0]` and `row["name"]`."""

    __slots__ = ("_places", "_values")

    def __init__(self, places: dict[str, int], values: Sequence[Any]) -> None:
        self._places = places
        self._values = values

    def __getitem__(self, key: int | str) -> Any:
        return self._values[self._places[key] if isinstance(key, str) else key]

    def __iter__(self) -> Iterator[Any]:
        return iter(self._values)

    def keys(self) -> Iterable[str]:
        """The columns' names."""
        return self._places


class PostgresConnection:
    """A connection as `server.sql.Connection` has it. `raw` is psycopg's."""

    def __init__(self, raw: psycopg.Connection[PostgresRow], sealing: Sealing = PLAIN) -> None:
        self.raw = raw
        self.sealing = sealing

    def execute(self, sql: str, parameters: Sequence[Any] = (), /) -> psycopg.Cursor[PostgresRow]:
        """Executes one statement with `?` for each of `parameters`."""
        return self.raw.execute(_in_psycopg(sql), [_in_postgres(value) for value in parameters])


def connect(parameters: str, sealing: Sealing, *, readonly: bool = False) -> PostgresConnection:
    """A connection in autocommit mode. Raises `psycopg.Error`."""
    raw = psycopg.connect(parameters, autocommit=True, row_factory=_rows)
    try:
        raw.execute(DURABLE)
        if readonly:
            raw.execute("SET default_transaction_read_only = on")
    except BaseException:
        raw.close()
        raise
    return PostgresConnection(raw, sealing)


def parameters_of(url: str, *, lease_sec: float) -> str:
    """`url` as libpq's parameters, with bounds where it has none: a host that is cut off learns so within its lease.

    Raises `psycopg.Error` for one that cannot be read.
    """
    given: dict[str, Any] = conninfo.conninfo_to_dict(url)
    bounds: dict[str, Any] = {
        "application_name": "research-agent",
        "connect_timeout": CONNECT_SEC,
        "tcp_user_timeout": int(lease_sec * 1000),
        "keepalives_idle": max(1, int(lease_sec / 2)),
        "keepalives_interval": max(1, int(lease_sec / 4)),
        "keepalives_count": 2,
    }
    # A host that freezes within a transaction keeps others off its threads no longer than its lease.
    options = f"{given.pop('options', '')} -c idle_in_transaction_session_timeout={int(lease_sec * 1000)}".strip()
    return conninfo.make_conninfo(**bounds | given, options=options)


def lock_key(thread_id: str) -> int:
    """The number of a thread's advisory lock, and its name in notices; 64 bits, signed."""
    return int.from_bytes(hashlib.blake2b(thread_id.encode(), digest_size=8).digest(), "big", signed=True)


def reason(error: BaseException) -> str:
    """What went wrong, without the details that may quote a row."""
    primary = error.diag.message_primary if isinstance(error, psycopg.Error) else None
    return primary or (str(error).splitlines() or [""])[0] or type(error).__name__


def _rows(cursor: psycopg.Cursor[Any]) -> Callable[[Sequence[Any]], PostgresRow]:
    if cursor.description is None:
        return no_result
    places = {column.name: place for place, column in enumerate(cursor.description)}
    return lambda values: PostgresRow(places, values)


def _in_postgres(value: Any) -> Any:
    if isinstance(value, Enum):
        return value.value
    # Its text cannot hold a NUL: what is asked for by such a name is not there.
    return value.replace("\0", "\ufffd") if isinstance(value, str) else value


@lru_cache(maxsize=512)
def _in_psycopg(sql: str) -> bytes:
    return sql.replace("%", "%%").replace("?", "%s").encode()
