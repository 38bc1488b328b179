"""A worker's hold on its jobs, and how the jobs of one that died are put back.

A worker is dead when its heartbeat is older than the lease, or when the connection is gone by which it holds a lock:
that is known within two seconds. A worker that has not reached the database for a lease takes itself for dead.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, LiteralString

import psycopg
import structlog

from server.postgres.connection import reason
from server.postgres.jobs import QUEUE, FencedJobs

if TYPE_CHECKING:
    from server.metrics import Metrics

_log = structlog.get_logger(__name__)

LOOK_SEC: Final = 0.3
MISSING_SEC: Final = 0.5
RECONNECT_SEC: Final = 0.2
# Of a server that was started anew: its workers need that long to come back.
GATHER_SEC: Final = 3.0

_HOLD: Final = "SELECT pg_advisory_lock_shared(2, %s)"
_BEAT: Final = "SELECT procrastinate_update_heartbeat_v1(id) FROM procrastinate_workers WHERE id = %s"
_GATHERED: Final = "SELECT 1 WHERE now() - pg_postmaster_start_time() > make_interval(secs => %s)"
_CUT: Final = """
    SELECT id FROM procrastinate_workers AS worker WHERE NOT EXISTS (
        SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND classid = 2 AND objid = worker.id::int::oid
        AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
    )
"""


class Lease:
    """One worker's. `lost` is called when its jobs may be others' now, `ended` when it has to begin anew.

    `has` says whether a job runs in this process.
    """

    def __init__(
        self,
        parameters: str,
        jobs: FencedJobs,
        *,
        lease_sec: float,
        lost: Callable[[], None],
        ended: Callable[[], None],
        has: Callable[[int], bool],
        metrics: Metrics,
    ) -> None:
        self._parameters = parameters
        self._jobs = jobs
        self._lease = lease_sec
        self._lost = lost
        self._ended = ended
        self._has = has
        self._metrics = metrics
        self._held = asyncio.Event()
        self._beaten = time.monotonic()
        # Since when a worker's connection, or a job of ours that does not run here, is missing.
        self._missing: dict[str, dict[int, float]] = {}
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def fresh(self) -> bool:
        """Whether it lasts a while: what begins now is not broken off at once for a database that was away."""
        return self.age < self._lease / 2

    @property
    def age(self) -> float:
        """Seconds since it was renewed."""
        return time.monotonic() - self._beaten

    async def hold(self, worker_id: int) -> None:
        """Begins; returns when the worker counts as alive."""
        self._beaten = time.monotonic()
        self._tasks = [asyncio.create_task(self._keep(worker_id)), asyncio.create_task(self._watch())]
        await self._held.wait()

    async def release(self) -> None:
        """Lets go: what the worker still has is put back by others."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def _keep(self, worker_id: int) -> None:
        while True:
            try:
                connection = await psycopg.AsyncConnection.connect(self._parameters, autocommit=True)
                async with connection:
                    await connection.execute(_HOLD, (worker_id % 2**31,))
                    return await self._beat_on(connection, worker_id)
            except psycopg.Error as error:
                _log.warning("lease_not_renewed", reason=reason(error))
            await asyncio.sleep(RECONNECT_SEC)

    async def _beat_on(self, connection: psycopg.AsyncConnection[Any], worker_id: int) -> None:
        """Renews the lease, until the database says that it has ended; between, looks after the jobs of others."""
        while await (await connection.execute(_BEAT, (worker_id,))).fetchone():
            self._beaten = time.monotonic()
            self._held.set()
            while time.monotonic() < self._beaten + self._lease / 4:
                await self._put_back(connection, worker_id)
                await asyncio.sleep(LOOK_SEC)
        _log.warning("lease_ended", worker=worker_id)
        self._ended()

    async def _watch(self) -> None:
        """By the clock alone: a process that was stopped, or is cut off, hears nothing from the database."""
        lapsed = False
        while True:
            await asyncio.sleep(LOOK_SEC)
            before, lapsed = lapsed, self.age > self._lease
            if lapsed and not before:
                _log.warning("lease_lapsed")
                self._lost()

    async def _put_back(self, connection: psycopg.AsyncConnection[Any], worker_id: int) -> None:
        """Puts jobs back that nobody runs: of workers that died, and our own whose fetching we did not hear of."""
        if not await _numbers(connection, _GATHERED, GATHER_SEC):
            return
        for dead in self._still_missing("worker", await _numbers(connection, _CUT)):
            _log.warning("worker_died", worker=dead)
            self._metrics.workers_died.inc()
            await self._jobs.unregister_worker(dead)
        stalled = list(await self._jobs.get_stalled_jobs(queue=QUEUE, seconds_since_heartbeat=self._lease))
        mine = await self._jobs.list_jobs_async(queue=QUEUE, status="doing", worker_id=worker_id)
        strays = self._still_missing("job", [job.id for job in mine if job.id and not self._has(job.id)])
        for job in [*stalled, *(job for job in mine if job.id in strays)]:
            _log.warning("job_put_back", job=job.id, worker=job.worker_id)
            self._metrics.jobs_put_back.inc()
            await self._jobs.retry_job(job)

    def _still_missing(self, kind: str, seen: list[int]) -> list[int]:
        """Those that were missing a while ago as well: one that only just began, or comes back, is not."""
        now = time.monotonic()
        since = self._missing.get(kind, {})
        self._missing[kind] = {number: since.get(number, now) for number in seen}
        return [number for number, first in self._missing[kind].items() if now - first >= MISSING_SEC]


async def _numbers(connection: psycopg.AsyncConnection[Any], query: LiteralString, *values: object) -> list[int]:
    return [row[0] for row in await (await connection.execute(query, values)).fetchall()]
