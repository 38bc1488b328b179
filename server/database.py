"""The server's database: one writer that commits what waits as one transaction, and readers beside it."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, TypeVar, cast

from server.metrics import Metrics
from server.sql import Connection

T = TypeVar("T")

READERS: Final = 4


class DatabaseUnusable(Exception):
    """The database cannot be used; the message says why."""


class StorageFailed(Exception):
    """A write did not reach the disk; nothing of it is visible."""


class Job:
    """A write that waits for its transaction, then its outcome. For `thread` and `alone` see `Database.submit`."""

    __slots__ = ("alone", "error", "name", "result", "settled", "thread", "work")

    def __init__(
        self,
        name: str,
        work: Callable[[Connection], Any],
        settled: Callable[[Job], None],
        thread: str | None,
        alone: bool,
    ) -> None:
        self.name = name
        self.work = work
        self.settled = settled
        self.thread = thread
        self.alone = alone
        self.result: Any = None
        self.error: Exception | None = None


class Database(ABC):
    """Open it before the event loop runs; call the rest from the loop.

    Group commit: while one transaction is synced to disk, further writes gather and share the next.
    """

    def __init__(self) -> None:
        self._jobs: deque[Job] = deque()
        self._wake = threading.Condition()
        self._closing = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = threading.Thread(target=self._write_all, name="database-writer", daemon=True)
        self._pool = ThreadPoolExecutor(READERS, thread_name_prefix="database-reader")
        self.metrics = Metrics()

    def start(self) -> None:
        """Starts the writer on behalf of the running event loop."""
        self._loop = asyncio.get_running_loop()
        self._thread.start()

    @property
    def waiting(self) -> int:
        """Writes that wait for the transaction behind the present one."""
        return len(self._jobs)

    @abstractmethod
    def write_now(self, work: Callable[[Connection], T]) -> T:
        """Does `work` in a transaction of its own, before `start`."""

    @abstractmethod
    def _commit(self, batch: Sequence[Job]) -> None:
        """Does the jobs in the writer's thread, and leaves each one's outcome in it once that is on disk."""

    @abstractmethod
    def _read(self, work: Callable[[Connection], T]) -> T:
        """Does `work` in a reader's thread. Raises `StorageFailed`."""

    @abstractmethod
    def _disconnect(self) -> None:
        """Closes the connections, when no thread uses them any more."""

    @abstractmethod
    async def give_space_back(self) -> None:
        """Gives what was deleted back to the file system, where the engine does not by itself."""

    def submit(
        self,
        work: Callable[[Connection], Any],
        settled: Callable[[Any, Exception | None], None],
        *,
        name: str = "write",
        thread: str | None = None,
        alone: bool = True,
    ) -> None:
        """Queues `work` for the next transaction; `settled(result, error)` runs on the loop once it is on disk.

        `name` is what fault points know it by. `thread` is the one whose rows it writes. Where several hosts share a
        database, work that decides by those rows has them `alone`; what a claim writes may go beside other such writes.
        """
        self._put(Job(name, work, lambda job: settled(job.result, job.error), thread, alone))

    async def write(self, work: Callable[[Connection], T], *, name: str = "write", thread: str | None = None) -> T:
        """Does `work` in the next transaction and returns when that is on disk.

        An exception of `work` undoes its own changes alone and is raised here. `StorageFailed`: nothing was written.
        """
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self.submit(work, into(future), name=name, thread=thread)
        return await future

    async def read(self, work: Callable[[Connection], T]) -> T:
        """Does `work`, which only reads, on a connection beside the writer. Raises `StorageFailed`."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, self._read, work)

    def close(self) -> None:
        """Writes what waits, then closes."""
        with self._wake:
            self._closing = True
            self._wake.notify()
        if self._thread.is_alive():
            self._thread.join()
        self._pool.shutdown()
        self._disconnect()

    def _put(self, job: Job) -> None:
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
            began = time.perf_counter()
            self._commit(batch)
            failed = any(isinstance(job.error, StorageFailed) for job in batch)
            self.metrics.committed(batch, time.perf_counter() - began, failed=failed)
            assert self._loop is not None
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody is left to be told
                self._loop.call_soon_threadsafe(_settle_all, batch)


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


def _settle_all(batch: Sequence[Job]) -> None:
    for job in batch:
        job.settled(job)
