"""Who runs what, by Procrastinate: a job for each turn, which means "run this thread's next turn".

Its queue is fenced here: a job is finished or given back only by the worker that has it, under the attempt it has.
"""

from __future__ import annotations

import asyncio
import datetime
from collections.abc import Awaitable, Callable, Iterable
from typing import TYPE_CHECKING, Any, Final, LiteralString, TypeVar

import psycopg
import structlog
from procrastinate import App, BaseRetryStrategy, PsycopgConnector, RetryDecision
from procrastinate.exceptions import ConnectorException
from procrastinate.jobs import Job, Status
from procrastinate.manager import JobManager

from server.postgres.connection import PostgresConnection
from server.sql import Connection

if TYPE_CHECKING:
    from procrastinate.connector import Notify

    from server.invocation import Invocation

T = TypeVar("T")

_log = structlog.get_logger(__name__)

QUEUE: Final = "turns"
TASK: Final = "run_next_turn"
RECONNECT_SEC: Final = 0.2
FAILED_REST_SEC: Final = 5

_MINE: Final[LiteralString] = """
    WITH mine AS MATERIALIZED (
        SELECT id FROM procrastinate_jobs WHERE id = %(id)s AND status = 'doing'
        AND worker_id IS NOT DISTINCT FROM %(worker_id)s AND attempts = %(attempts)s FOR UPDATE
    )
"""
_FINISH: Final[LiteralString] = (
    _MINE + "SELECT procrastinate_finish_job_v1(id, %(status)s::procrastinate_job_status, %(delete_job)s) FROM mine"  # noqa: S608
)
_GIVE_BACK: Final[LiteralString] = (
    _MINE + "SELECT procrastinate_retry_job_v2(id, %(retry_at)s, %(priority)s, %(queue)s, %(lock)s) FROM mine"  # noqa: S608
)


class GivenBack(Exception):
    """This process is to end: another worker goes on with the turn."""


class PatientConnector(PsycopgConnector):
    """Waits for a database that does not answer, where Procrastinate's own worker would end."""

    closing = False

    async def execute_query_async(self, query: LiteralString, **arguments: Any) -> None:
        """Executes a query."""
        await self._patiently(lambda: super(PatientConnector, self).execute_query_async(query, **arguments))

    async def execute_query_one_async(self, query: LiteralString, **arguments: Any) -> dict[str, Any]:
        """Executes a query that gives one row."""
        return await self._patiently(lambda: super(PatientConnector, self).execute_query_one_async(query, **arguments))

    async def execute_query_all_async(self, query: LiteralString, **arguments: Any) -> list[dict[str, Any]]:
        """Executes a query that gives any number of rows."""
        return await self._patiently(lambda: super(PatientConnector, self).execute_query_all_async(query, **arguments))

    async def listen_notify(self, on_notification: Notify, channels: Iterable[str]) -> None:
        """Listens until it is cancelled."""
        await self._patiently(lambda: super(PatientConnector, self).listen_notify(on_notification, channels))

    async def _patiently(self, query: Callable[[], Awaitable[T]]) -> T:
        while True:
            try:
                return await query()
            except ConnectorException as error:
                if self.closing or not isinstance(error.__cause__, psycopg.OperationalError):
                    raise
                await asyncio.sleep(RECONNECT_SEC)


class FencedJobs(JobManager):
    """Procrastinate's jobs. `registered` is awaited with the number of a new worker, before that fetches a job."""

    registered: Callable[[int], Awaitable[None]] | None = None

    async def register_worker(self) -> int:
        """Makes a new worker known."""
        worker_id = await super().register_worker()
        if self.registered is not None:
            await self.registered(worker_id)
        return worker_id

    async def finish_job(self, job: Job, status: Status, delete_job: bool) -> None:
        """Ends a job; nothing where it was given to another worker meanwhile."""
        await self.connector.execute_query_async(
            query=_FINISH, **_identity(job), status=status.value, delete_job=delete_job
        )

    async def retry_job(
        self,
        job: Job,
        retry_at: datetime.datetime | None = None,
        priority: int | None = None,
        queue: str | None = None,
        lock: str | None = None,
    ) -> None:
        """Puts a job back into the queue; nothing where it was given to another worker meanwhile."""
        await self.connector.execute_query_async(
            query=_GIVE_BACK, **_identity(job), retry_at=retry_at, priority=priority, queue=queue, lock=lock
        )


class _NeverLost(BaseRetryStrategy):
    """A job that did not come to its end goes back into the queue, whatever it was."""

    def get_retry_decision(self, *, exception: BaseException, job: Job) -> RetryDecision:
        if isinstance(exception, GivenBack | asyncio.CancelledError):
            return RetryDecision()
        _log.error("job_failed", job=job.id, exc_info=exception)
        return RetryDecision(retry_in={"seconds": FAILED_REST_SEC})


def open_app(parameters: str, run: Callable[..., Awaitable[None]]) -> App:
    """Procrastinate over the database, with `run` as what does a job."""
    connector = PatientConnector(conninfo=parameters, min_size=1, max_size=2, timeout=5, reconnect_timeout=1)
    app = App(connector=connector)
    app.job_manager = FencedJobs(connector)
    app.task(name=TASK, queue=QUEUE, pass_context=True, retry=_NeverLost())(run)
    return app


class Queue:
    """Where new turns are put, within the transactions that store them."""

    def __init__(self, parameters: str) -> None:
        self._app = App(connector=PsycopgConnector(conninfo=parameters))

    def put(self, connection: Connection, invocation: Invocation) -> None:
        """Adds a job for a turn that was stored. Jobs of a thread run one at a time, in any order of its turns."""
        assert isinstance(connection, PostgresConnection)
        self._app.configure_task(
            TASK, queue=QUEUE, lock=f"thread:{invocation.thread_id}", connection=connection.raw, allow_unknown=True
        ).defer(thread_id=invocation.thread_id)


def still_has(connection: Connection, job: Job) -> bool:
    """Whether the job is still with the worker that fetched it."""
    row = connection.execute(
        "SELECT 1 FROM procrastinate_jobs WHERE id = ? AND status = 'doing' AND worker_id = ? AND attempts = ?",
        (job.id, job.worker_id, job.attempts),
    ).fetchone()
    return row is not None


def _identity(job: Job) -> dict[str, Any]:
    return {"id": job.id, "worker_id": job.worker_id, "attempts": job.attempts}
