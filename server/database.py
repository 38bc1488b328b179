"""The server's SQLite file: one writer that commits what waits as one transaction, and readers beside it."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final, TypeVar, cast

from graph.faults import reach
from server.migrations import SchemaTooNew, migrate

T = TypeVar("T")

READERS: Final = 4
BUSY_SEC: Final = 5.0


class DatabaseUnusable(Exception):
    """The database file cannot be used; the message says why."""


class StorageFailed(Exception):
    """A write did not reach the disk; nothing of it is visible."""


class _Job:
    __slots__ = ("error", "name", "result", "settled", "work")

    def __init__(self, name: str, work: Callable[[sqlite3.Connection], Any], settled: Callable[[_Job], None]) -> None:
        self.name = name
        self.work = work
        self.settled = settled
        self.result: Any = None
        self.error: Exception | None = None


class Database:
    """One file. Open it before the event loop runs; call the rest from the loop.

    Group commit: while one transaction is synced to disk, further writes gather and share the next.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection = _opened(path)
        self._jobs: deque[_Job] = deque()
        self._wake = threading.Condition()
        self._closing = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = threading.Thread(target=self._write_all, name="database-writer", daemon=True)
        self._pool = ThreadPoolExecutor(READERS, thread_name_prefix="database-reader")
        self._local = threading.local()
        self._readers: list[sqlite3.Connection] = []

    def start(self) -> None:
        """Starts the writer on behalf of the running event loop."""
        self._loop = asyncio.get_running_loop()
        self._thread.start()

    def write_now(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Does `work` in a transaction of its own, before `start`."""
        with _Transaction(self._connection):
            return work(self._connection)

    def submit(
        self,
        work: Callable[[sqlite3.Connection], Any],
        settled: Callable[[Any, Exception | None], None],
        *,
        name: str = "write",
    ) -> None:
        """Queues `work` for the next transaction; `settled(result, error)` runs on the loop once it is on disk.

        `name` is what fault points know it by.
        """
        self._put(_Job(name, work, lambda job: settled(job.result, job.error)))

    async def write(self, work: Callable[[sqlite3.Connection], T], *, name: str = "write") -> T:
        """Does `work` in the next transaction and returns when that is on disk.

        An exception of `work` undoes its own changes alone and is raised here. `StorageFailed`: nothing was written.
        """
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self.submit(work, into(future), name=name)
        return await future

    async def read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Does `work`, which only reads, on a connection beside the writer. Raises `StorageFailed`."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, self._read, work)

    def close(self) -> None:
        """Writes what waits, then closes the file."""
        with self._wake:
            self._closing = True
            self._wake.notify()
        if self._thread.is_alive():
            self._thread.join()
        self._pool.shutdown()
        for reader in self._readers:
            reader.close()
        self._connection.close()

    def _read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        try:
            if connection is None:
                connection = self._local.connection = _connected(self._path, readonly=True)
                self._readers.append(connection)
            return work(connection)
        except sqlite3.Error as error:
            raise StorageFailed(f"The database could not be read ({error}).") from error

    def _put(self, job: _Job) -> None:
        with self._wake:
            self._jobs.append(job)
            self._wake.notify()

    def _write_all(self) -> None:
        while True:
            with self._wake:
                self._wake.wait_for(lambda: self._jobs or self._closing)
                batch = list(self._jobs)
                self._jobs.clear()
            if not batch:
                return
            self._commit(batch)
            assert self._loop is not None
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody is left to be told
                self._loop.call_soon_threadsafe(_settle_all, batch)

    def _commit(self, batch: list[_Job]) -> None:
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


def into(future: asyncio.Future[T]) -> Callable[[T | None, Exception | None], None]:
    """A `settled` that hands the outcome of a write to `future`, unless nobody waits for it any more."""

    def settled(result: T | None, error: Exception | None) -> None:
        if future.done():
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(cast(T, result))

    return settled


def _do(job: _Job, connection: sqlite3.Connection) -> None:
    connection.execute("SAVEPOINT job")
    try:
        job.result = job.work(connection)
    except sqlite3.Error:
        raise
    except Exception as error:  # noqa: BLE001 - handed to whoever asked for the work
        connection.execute("ROLLBACK TO job")
        job.error = error
    connection.execute("RELEASE job")


def _settle_all(batch: list[_Job]) -> None:
    for job in batch:
        job.settled(job)


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


def _connected(path: Path, *, readonly: bool = False) -> sqlite3.Connection:
    # Only the thread that made it uses it, but the closing one is another.
    connection = sqlite3.connect(path, timeout=BUSY_SEC, isolation_level=None, check_same_thread=False)
    connection.row_factory = sqlite3.Row
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


def _opened(path: Path) -> sqlite3.Connection:
    try:
        connection = _connected(path)
    except sqlite3.Error as error:
        raise DatabaseUnusable(f"The database {path} cannot be used ({error}).") from error
    try:
        migrate(connection)
    except (SchemaTooNew, sqlite3.Error) as error:
        connection.close()
        raise DatabaseUnusable(f"The database {path} cannot be used ({error}).") from error
    return connection
