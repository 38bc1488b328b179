"""Runs turns as Procrastinate gives them out: one thread's next turn for each job."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Final, cast

import structlog
from procrastinate.worker import Worker as JobWorker

from graph.faults import reach
from server.database import StorageFailed
from server.dispatcher import rest_before
from server.postgres.jobs import QUEUE, FencedJobs, GivenBack, PatientConnector, open_app, still_has
from server.postgres.lease import Lease
from server.runner import Left

if TYPE_CHECKING:
    from procrastinate import JobContext

    from server.invocation import Invocation, Wish
    from server.invocation_store import InvocationStore
    from server.metrics import Metrics
    from server.running import Running

_log = structlog.get_logger(__name__)

RESTART_SEC: Final = 0.5
LOOK_SEC: Final = 1.0
RENEWAL_SEC: Final = 0.05
# Beyond the grace of its turns, for a worker to say that it has ended.
GOODBYE_SEC: Final = 1.0


class Worker:
    """Keeps up to `limit` turns running; one that cannot reach the database for `lease_sec` loses them to others."""

    def __init__(
        self,
        parameters: str,
        store: InvocationStore,
        running: Running,
        *,
        limit: int,
        lease_sec: float,
        grace_sec: float,
        now: Callable[[], float],
        metrics: Metrics,
    ) -> None:
        self._parameters = parameters
        self._store = store
        self._running = running
        self._limit = limit
        self._lease_sec = lease_sec
        self._grace_sec = grace_sec
        self._now = now
        self._metrics = metrics
        self._jobs: set[int] = set()
        self._lease: Lease | None = None
        self._worker: JobWorker | None = None
        self._connector: PatientConnector | None = None
        self._task: asyncio.Task[None] | None = None
        metrics.watch("research_leases_held", "Threads that this worker has the job of.", lambda: len(self._jobs))
        metrics.watch(
            "research_lease_age_seconds",
            "Since this worker last renewed its lease; over WORKER_LEASE_SEC others take its turns.",
            lambda: self._lease.age if self._lease is not None else float("nan"),
        )

    def start(self) -> None:
        """Begins to fetch jobs."""
        self._task = asyncio.create_task(self._work_on(), name="worker")

    def wake(self) -> None:
        """Nothing: the database tells the workers of what can be run."""

    def want(self, invocation_id: str, wish: Wish) -> None:
        """Passes a wish, which is on disk already, on to a turn that runs here."""
        self._running.want(invocation_id, wish)

    async def drain(self, grace_sec: float) -> None:
        """Fetches nothing more, lets each turn come to its next checkpoint, and gives all back to other workers."""
        self._running.drain()
        if self._worker is not None:
            self._worker.stop()  # type: ignore[no-untyped-call]
        if self._task is not None:
            await asyncio.wait({self._task}, timeout=grace_sec + GOODBYE_SEC)
        await self.stop()

    async def stop(self) -> None:
        """Breaks off what runs, as a crash would: other workers go on with it."""
        self._running.draining = True
        if self._connector is not None:
            self._connector.closing = True
        while self._task is not None and not self._task.done():
            # The first is taken for a wish to end in peace.
            self._task.cancel()
            self._running.break_off()
            await asyncio.wait({self._task}, timeout=0.2)

    async def _work_on(self) -> None:
        while not self._running.draining:
            try:
                await self._work()
            except Exception as error:  # noqa: BLE001
                # Whatever ended it, the process goes on as another worker.
                _log.error("worker_failed", exc_info=error)
            if not self._running.draining:
                await asyncio.sleep(RESTART_SEC)

    async def _work(self) -> None:
        """Works as one of Procrastinate's workers, until that ends."""
        app = open_app(self._parameters, self._run_next_turn)
        self._connector = cast(PatientConnector, app.connector)
        jobs = cast(FencedJobs, app.job_manager)
        lease = self._lease = Lease(
            self._parameters,
            jobs,
            lease_sec=self._lease_sec,
            lost=self._lapse,
            ended=self._begin_anew,
            has=self._jobs.__contains__,
            metrics=self._metrics,
        )
        jobs.registered = lease.hold
        self._worker = JobWorker(
            app,
            queues=[QUEUE],
            concurrency=self._limit,
            fetch_job_polling_interval=LOOK_SEC,
            shutdown_graceful_timeout=self._grace_sec,
            delete_jobs="always",
            install_signal_handlers=False,
            update_heartbeat_interval=self._lease_sec / 3,
            stalled_worker_timeout=self._lease_sec,
        )
        try:
            async with app.open_async():
                if not self._running.draining:
                    await self._worker.run()  # type: ignore[no-untyped-call]
        finally:
            await lease.release()

    def _lapse(self) -> None:
        self._metrics.lease_lapses.inc()
        self._running.break_off()

    def _begin_anew(self) -> None:
        self._metrics.lease_lapses.inc()
        self._running.break_off()
        assert self._worker is not None
        self._worker.stop()  # type: ignore[no-untyped-call]

    async def _run_next_turn(self, context: JobContext, *, thread_id: str) -> None:
        """Does one job: the thread's next turn, from where it is to its end."""
        assert context.job.id is not None
        self._jobs.add(context.job.id)
        try:
            while (invocation := await self._claimed(context, thread_id)) is not None:
                left = await self._running.begin(invocation)
                if left is Left.ENDED:
                    break
                if left is Left.DRAINED:
                    raise GivenBack
                await asyncio.sleep(rest_before(invocation) if left is Left.STORAGE_FAILED else 0)
        finally:
            self._jobs.discard(context.job.id)
        reach("handover")

    async def _claimed(self, context: JobContext, thread_id: str) -> Invocation | None:
        """The thread's next turn, or the one under way; None where there is none, or the job is another worker's."""
        while not self._running.draining:
            if self._lease is not None and not self._lease.fresh:
                await asyncio.sleep(RENEWAL_SEC)
                continue
            try:
                return await self._store.claim_on_thread(thread_id, self._now(), partial(still_has, job=context.job))
            except StorageFailed as error:
                _log.error("claim_failed", reason=str(error))
                await asyncio.sleep(LOOK_SEC)
        raise GivenBack
