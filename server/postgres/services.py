"""The parts of one of several server processes that share a database, put together."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import psycopg

from server.database import DatabaseUnusable
from server.dispatcher import Dispatching
from server.engine import Engine
from server.event_log import EventLog
from server.invocation_store import InvocationStore
from server.key_ring import open_keys
from server.measured import metrics_of, observers_of, traces_of, watch_database
from server.metrics import Metrics
from server.postgres.connection import parameters_of, reason
from server.postgres.database import PostgresDatabase
from server.postgres.idle import Idle
from server.postgres.jobs import Queue
from server.postgres.relay import Relay
from server.postgres.worker import Worker
from server.report_store import ReportStore
from server.retention import Retention
from server.runner import Runner
from server.running import Running
from server.sealing import Sealing, checkpoint_cipher, open_sealing
from server.services import Lifecycle, Services
from server.settings import Settings

if TYPE_CHECKING:
    from server.postgres.checkpoints import PostgresCheckpoints


def open_shared_services(settings: Settings, *, began: float, now: Callable[[], float] = time.time) -> Services:
    """Connects to the database and brings its schema up to date. Raises `DatabaseUnusable`, `KeysUnusable`.

    `began` is when this process did, in `time.monotonic()` seconds.
    """
    assert settings.database_url is not None
    keys = open_keys(settings)
    try:
        parameters = parameters_of(settings.database_url.get_secret_value(), lease_sec=settings.worker_lease_sec)
    except psycopg.Error as error:
        raise DatabaseUnusable(f"DATABASE_URL: cannot be read ({reason(error)}).") from error
    metrics, traces, sealing = metrics_of(settings), traces_of(settings), open_sealing(settings)
    database = PostgresDatabase(parameters, sealing)
    log = EventLog(database, now=now, uptime=lambda: time.monotonic() - began, metrics=metrics)
    store = InvocationStore(database, log, enqueue=Queue(parameters).put)
    engine = Engine(
        settings,
        checkpoints=partial(_open_checkpoints, parameters, sealing),
        modules=("server.postgres.checkpoints",),
        document_index=None,
    )
    running = Running(Runner(engine, store, log, now, observers_of(metrics, traces, now)), metrics)
    watch_database(metrics, database)
    return Services(
        settings,
        database,
        store,
        log,
        engine,
        _dispatching(settings, parameters, store, running, now, metrics),
        Retention(database, log, ttl_sec=settings.event_ttl_sec),
        ReportStore(database),
        Lifecycle(),
        now,
        keys,
        metrics,
        traces,
        Relay(parameters, database, log, running),
    )


def _dispatching(
    settings: Settings,
    parameters: str,
    store: InvocationStore,
    running: Running,
    now: Callable[[], float],
    metrics: Metrics,
) -> Dispatching:
    if settings.role == "api":
        return Idle()
    return Worker(
        parameters,
        store,
        running,
        limit=settings.max_concurrent_runs,
        lease_sec=settings.worker_lease_sec,
        grace_sec=settings.shutdown_grace_sec,
        now=now,
        metrics=metrics,
    )


async def _open_checkpoints(parameters: str, sealing: Sealing) -> PostgresCheckpoints:
    from server.postgres.checkpoints import open_checkpoints

    return await open_checkpoints(parameters, checkpoint_cipher(sealing))
