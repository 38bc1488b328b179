"""The embedded database: one SQLite file, in which a commit is on disk when it returns."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, TypeVar

from graph.faults import reach
from server.database import Database, DatabaseUnusable, Job, StorageFailed
from server.migrations import SchemaTooNew, migrate_sqlite
from server.sealing import PLAIN, Sealing, settle_keys
from server.sql import Connection

T = TypeVar("T")

BUSY_SEC: Final = 5.0
# One batch holds the writer for a few milliseconds.
BATCH_PAGES: Final = 200
# To truncate the log, writers are held up until nobody reads it: not for long, as a backup reads for its whole time.
TRUNCATE_MS: Final = 50
TRUNCATE_RESTS_SEC: Final = (0.1, 0.3, 1.0)


class SqliteConnection(sqlite3.Connection):
    """A connection as `server.sql.Connection` has it."""

    sealing: Sealing = PLAIN


class SqliteDatabase(Database):
    """One file, written by one process, its values kept by `sealing`. Raises `DatabaseUnusable`."""

    def __init__(self, path: Path, sealing: Sealing = PLAIN) -> None:
        super().__init__()
        self._path = path
        self._sealing = sealing
        self._connection = _opened(path, sealing)
        self._local = threading.local()
        self._readers: list[SqliteConnection] = []

    def write_now(self, work: Callable[[Connection], T]) -> T:
        """Does `work` in a transaction of its own, before `start`."""
        with _Transaction(self._connection):
            return work(self._connection)

    async def give_space_back(self) -> None:
        """Gives freed pages back to the file system, a few at a time."""
        while await self.write(_free_pages):
            pass
        for rest in TRUNCATE_RESTS_SEC:
            if await self.read(_log_truncated):
                return
            await asyncio.sleep(rest)

    def _commit(self, batch: Sequence[Job]) -> None:
        try:
            with _Transaction(self._connection):
                for job in batch:
                    _do(job, self._connection)
                for job in batch:
                    reach(f"{job.name}.before")
            for job in batch:
                reach(f"{job.name}.after")
        except sqlite3.Error as error:
            failure = StorageFailed(f"The database could not be written ({error}).")
            failure.__cause__ = error
            for job in batch:
                job.result, job.error = None, failure

    def _read(self, work: Callable[[Connection], T]) -> T:
        connection: SqliteConnection | None = getattr(self._local, "connection", None)
        try:
            if connection is None:
                connection = self._local.connection = _connected(self._path, self._sealing, readonly=True)
                self._readers.append(connection)
            return work(connection)
        except sqlite3.Error as error:
            raise StorageFailed(f"The database could not be read ({error}).") from error

    def _disconnect(self) -> None:
        for reader in self._readers:
            reader.close()
        self._connection.close()


def _do(job: Job, connection: SqliteConnection) -> None:
    connection.execute("SAVEPOINT job")
    try:
        job.result = job.work(connection)
    except sqlite3.Error:
        raise
    except Exception as error:  # noqa: BLE001 - handed to whoever asked for the work
        connection.execute("ROLLBACK TO job")
        job.error = error
    connection.execute("RELEASE job")


class _Transaction:
    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def __enter__(self) -> None:
        self._connection.execute("BEGIN IMMEDIATE")

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            try:
                self._connection.execute("COMMIT")
            except sqlite3.Error:
                self._undo()
                raise
        else:
            self._undo()

    def _undo(self) -> None:
        # A full disk may have rolled back already.
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")


def _free_pages(connection: Connection) -> bool:
    for _ in range(BATCH_PAGES):
        # One by one: Python 3.11 steps a statement without columns once, and this one frees a page at each step.
        connection.execute("PRAGMA incremental_vacuum(1)").fetchall()
    return bool(connection.execute("PRAGMA freelist_count").fetchone()[0])


def _log_truncated(connection: Connection) -> bool:
    connection.execute(f"PRAGMA busy_timeout = {TRUNCATE_MS}")
    try:
        row = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        return row is not None and row[0] == 0
    finally:
        connection.execute(f"PRAGMA busy_timeout = {int(BUSY_SEC * 1000)}")


def _connected(path: Path, sealing: Sealing, *, readonly: bool = False) -> SqliteConnection:
    # Only the thread that made it uses it, but the closing one is another.
    connection = sqlite3.connect(
        path, timeout=BUSY_SEC, isolation_level=None, check_same_thread=False, factory=SqliteConnection
    )
    connection.row_factory = sqlite3.Row
    connection.sealing = sealing
    # auto_vacuum takes effect in a new file alone, and before its first table.
    # FULL: a commit returns when it is on disk (sqlite.org/pragma.html#pragma_synchronous).
    pragmas = (
        ("query_only = ON",)
        if readonly
        else ("auto_vacuum = INCREMENTAL", "journal_mode = WAL", "synchronous = FULL", "secure_delete = ON")
    )
    try:
        for pragma in pragmas:
            connection.execute(f"PRAGMA {pragma}")
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def check_readable(path: Path) -> None:
    """Raises `DatabaseUnusable` where `path` holds something that is no database; a missing file is none of that."""
    if not path.exists():
        return
    try:
        with contextlib.closing(sqlite3.connect(path, timeout=BUSY_SEC)) as connection:
            connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except sqlite3.Error as error:
        raise DatabaseUnusable(f"The database {path} cannot be used ({error}).") from error


def _opened(path: Path, sealing: Sealing) -> SqliteConnection:
    try:
        connection = _connected(path, sealing)
    except sqlite3.Error as error:
        raise DatabaseUnusable(f"The database {path} cannot be used ({error}).") from error
    try:
        migrate_sqlite(connection)
        with _Transaction(connection):
            settle_keys(connection, sealing)
    except (SchemaTooNew, sqlite3.Error) as error:
        connection.close()
        raise DatabaseUnusable(f"The database {path} cannot be used ({error}).") from error
    except DatabaseUnusable:
        connection.close()
        raise
    return connection
