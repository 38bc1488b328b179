"""The database that several hosts share: the same group commit, the same readers, one notice behind each commit."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Final, TypeVar

import psycopg

from graph.faults import reach
from server.database import Database, DatabaseUnusable, Job, StorageFailed
from server.postgres.connection import PostgresConnection, connect, lock_key, reason
from server.postgres.schema import bring_up_to_date
from server.sealing import PLAIN, Sealing, settle_keys
from server.sql import Connection

T = TypeVar("T")

CHANNEL: Final = "research_changes"
# A notice holds up to 8,000 bytes; the number of a thread takes 17.
THREADS_A_NOTICE: Final = 400
ATTEMPTS: Final = 5


class PostgresDatabase(Database):
    """`parameters` are libpq's. `host` names this process in its notices. Raises `DatabaseUnusable`.

    Values are kept by `sealing`.
    """

    def __init__(self, parameters: str, sealing: Sealing = PLAIN) -> None:
        super().__init__()
        self.host = secrets.token_hex(4)
        self._parameters = parameters
        self._sealing = sealing
        self._connection: PostgresConnection | None = _opened(parameters, sealing)
        self._local = threading.local()
        self._readers: list[PostgresConnection] = []

    def write_now(self, work: Callable[[Connection], T]) -> T:
        """Does `work` in a transaction of its own, before `start`."""
        connection = self._connected()
        with connection.raw.transaction():
            return work(connection)

    async def give_space_back(self) -> None:
        """Nothing: autovacuum keeps the space for the next events."""

    def _commit(self, batch: Sequence[Job]) -> None:
        try:
            self._transact(batch)
        except Exception as error:  # noqa: BLE001 - handed to whoever asked for the work
            self._undo()
            if self._connection is None or (len(batch) == 1 and not _passing(error)):
                for job in batch:
                    job.result, job.error = None, _shown(error)
            else:
                # One job's error undoes the whole transaction: each again, in one of its own.
                for job in batch:
                    self._commit_alone(job)

    def _commit_alone(self, job: Job) -> None:
        for _ in range(ATTEMPTS):
            try:
                return self._transact([job])
            except Exception as error:  # noqa: BLE001 - as above
                self._undo()
                job.result, job.error = None, _shown(error)
                # Two hosts at once with one name or key: the second try sees what the other did.
                if not _passing(error):
                    return None
        return None

    def _transact(self, batch: Sequence[Job]) -> None:
        connection = self._begin(batch)
        for job in batch:
            job.result, job.error = job.work(connection), None
        for job in batch:
            reach(f"{job.name}.before")
        connection.raw.execute("; ".join(["COMMIT", *self._notices(batch)]))
        for job in batch:
            reach(f"{job.name}.after")

    def _begin(self, batch: Sequence[Job]) -> PostgresConnection:
        begin = "; ".join(["BEGIN", *_locks(batch)])
        try:
            connection = self._connected()
            connection.raw.execute(begin)
        except psycopg.OperationalError:
            # Nothing was done yet. The server may have been started anew since the last time.
            if self._connection is None or not self._connection.raw.broken:
                raise
            self._undo()
            connection = self._connected()
            connection.raw.execute(begin)
        return connection

    def _connected(self) -> PostgresConnection:
        if self._connection is None:
            self._connection = connect(self._parameters, self._sealing)
        return self._connection

    def _undo(self) -> None:
        connection = self._connection
        if connection is None:
            return
        try:
            connection.raw.execute("ROLLBACK")
        except psycopg.Error:
            connection.raw.close()
            self._connection = None

    def _notices(self, batch: Sequence[Job]) -> Iterator[str]:
        """Behind the commit, in a transaction of its own: within one that writes, it would queue all hosts' commits."""
        threads = sorted({job.thread for job in batch if job.thread is not None})
        for at in range(0, len(threads), THREADS_A_NOTICE):
            keys = " ".join(f"{lock_key(thread):x}" for thread in threads[at : at + THREADS_A_NOTICE])
            yield f"NOTIFY {CHANNEL}, '{self.host} {keys}'"

    def _read(self, work: Callable[[Connection], T]) -> T:
        try:
            try:
                return work(self._reader())
            except psycopg.OperationalError:
                if not self._reader().raw.broken:
                    raise
                self._forget_reader()
                return work(self._reader())
        except psycopg.Error as error:
            raise StorageFailed(f"The database could not be read ({reason(error)}).") from error

    def _reader(self) -> PostgresConnection:
        connection: PostgresConnection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = self._local.connection = connect(self._parameters, self._sealing, readonly=True)
            self._readers.append(connection)
        return connection

    def _forget_reader(self) -> None:
        self._readers.remove(self._local.connection)
        self._local.connection = None

    def _disconnect(self) -> None:
        for connection in (self._connection, *self._readers):
            if connection is not None:
                connection.raw.close()


def _locks(batch: Sequence[Job]) -> Iterator[str]:
    """Takes the locks of all threads of a batch, in one order on every host, so that none waits for another in a ring.

    Held to the transaction's end: what is decided by a thread's rows is decided by one host at a time.
    """
    alone: dict[int, bool] = {}
    for job in batch:
        if job.thread is not None:
            key = lock_key(job.thread)
            alone[key] = alone.get(key, False) or job.alone
    if alone:
        keys = ",".join(str(key) for key in sorted(alone))
        flags = ",".join(str(alone[key]) for key in sorted(alone))
        wanted = f"unnest('{{{keys}}}'::bigint[], '{{{flags}}}'::boolean[]) AS wanted (key, alone)"
        lock = "CASE WHEN alone THEN pg_advisory_xact_lock(key) ELSE pg_advisory_xact_lock_shared(key) END"
        yield f"SELECT {lock} FROM {wanted}"  # noqa: S608


def _passing(error: Exception) -> bool:
    return isinstance(
        error, psycopg.errors.UniqueViolation | psycopg.errors.DeadlockDetected | psycopg.errors.SerializationFailure
    )


def _shown(error: Exception) -> Exception:
    if not isinstance(error, psycopg.Error):
        return error
    failure = StorageFailed(f"The database could not be written ({reason(error)}).")
    failure.__cause__ = error
    return failure


def _opened(parameters: str, sealing: Sealing) -> PostgresConnection:
    try:
        connection = connect(parameters, sealing)
    except psycopg.Error as error:
        raise DatabaseUnusable(f"DATABASE_URL: the database cannot be reached ({reason(error)}).") from error
    try:
        bring_up_to_date(connection.raw)
        with connection.raw.transaction():
            settle_keys(connection, sealing)
    except BaseException:
        connection.raw.close()
        raise
    return connection
