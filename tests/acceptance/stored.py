"""What a server has on disk, byte for byte, and how a test changes it: over SQLite and PostgreSQL."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

# What names one row for SQL.
_ROW = {"events": "n = ? AND seq = ?", "invocations": "n = ?", "reports": "n = ?"}


class Stored:
    """The databases of a server that does not run: in `folder`, or at `url`."""

    def __init__(self, folder: Path, url: str | None) -> None:
        self._folder, self._url = folder, url

    def holds(self, text: str) -> bool:
        """Whether `text` stands anywhere in the files, or in any row of any table."""
        if self._url is None:
            return any(text.encode() in file.read_bytes() for file in self._folder.rglob("*") if file.is_file())
        return any(text in row or text.encode().hex() in row for row in self._dumped(self._url))

    def number(self, invocation_id: str) -> int:
        """The `n` of an invocation."""
        ((number,),) = self._execute("SELECT n FROM invocations WHERE id = ?", invocation_id)
        return int(number)

    def flip(self, table: str, column: str, where: str, *values: object) -> None:
        """Flips a bit of a byte in the middle of the column, in each row."""
        key = "n, seq" if table == "events" else "n"
        rows = self._execute(f"SELECT {column}, {key} FROM {table} WHERE {where}", *values)
        assert rows
        for value, *place in rows:
            self._execute(f"UPDATE {table} SET {column} = ? WHERE {_ROW[table]}", flipped(value), *place)

    def swap_events(self, n: int, one: int, other: int) -> None:
        """Puts two events of a stream in each other's place."""
        events = dict(self._execute("SELECT seq, data FROM events WHERE n = ?", n))
        for seq, data in ((one, events[other]), (other, events[one])):
            self._execute("UPDATE events SET data = ? WHERE n = ? AND seq = ?", data, n, seq)

    def move_event(self, n: int, source: int, seq: int) -> None:
        """Puts an event of stream `source` in the place of stream `n`'s of that number."""
        ((data,),) = self._execute("SELECT data FROM events WHERE n = ? AND seq = ?", source, seq)
        self._execute("UPDATE events SET data = ? WHERE n = ? AND seq = ?", data, n, seq)

    def flip_checkpoints(self, thread_id: str) -> None:
        """Flips a bit in each value of a thread's state."""
        table, column, key = (
            ("checkpoint_blobs", "blob", "ctid") if self._url else ("checkpoints", "checkpoint", "rowid")
        )
        query = f"SELECT {column}, {key} FROM {table} WHERE thread_id = ? AND {column} IS NOT NULL"
        rows = self._execute(query, thread_id, file="checkpoints.sqlite")
        assert rows
        for value, row in rows:
            self._execute(
                f"UPDATE {table} SET {column} = ? WHERE {key} = ?", flipped(value), row, file="checkpoints.sqlite"
            )

    def _execute(self, query: str, *values: object, file: str = "server.sqlite") -> list[tuple[Any, ...]]:
        if self._url is not None:
            with psycopg.connect(self._url) as shared:
                done = shared.execute(query.replace("?", "%s").encode(), values)
                return done.fetchall() if done.description else []
        with closing(sqlite3.connect(self._folder / file)) as own, own:
            return own.execute(query, values).fetchall()

    def _dumped(self, url: str) -> list[str]:
        with psycopg.connect(url) as shared:
            tables = shared.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
            query = sql.SQL("SELECT t::text FROM {} AS t")
            return [row for (name,) in tables for (row,) in shared.execute(query.format(sql.Identifier(name)))]


def flipped(value: str | bytes) -> str | bytes:
    """The value with one bit of a byte in its middle another one; in text, another letter."""
    middle = len(value) // 2
    if isinstance(value, bytes):
        return value[:middle] + bytes([value[middle] ^ 1]) + value[middle + 1 :]
    return value[:middle] + ("A" if value[middle] != "A" else "B") + value[middle + 1 :]
