"""The parts of one of several server processes that share a database, put together."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import psycopg

from server.database import DatabaseUnusable
from server.dispatcher import Dispatching
from server.invocation_store import InvocationStore
from server.key_ring import open_keys
from server.metrics import Metrics
from server.postgres.connection import parameters_of, reason
from server.postgres.database import PostgresDatabase
from server.postgres.idle import Idle
from server.postgres.jobs import Queue
from server.postgres.relay import Relay
from server.postgres.worker import Worker
from server.running import Running
from server.sealing import Sealing, checkpoint_cipher, open_sealing
from server.services import Services, Storage, put_together
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
    sealing = open_sealing(settings)
    database = PostgresDatabase(parameters, sealing)
    storage = Storage(
        database,
        checkpoints=partial(_open_checkpoints, parameters, sealing),
        checkpoint_modules=("server.postgres.checkpoints",),
        enqueue=Queue(parameters).put,
    )

    def dispatching(store: InvocationStore, running: Running, metrics: Metrics) -> Dispatching:
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

    return put_together(
        settings,
        storage,
        sealing=sealing,
        keys=keys,
        began=began,
        now=now,
        dispatching=dispatching,
        relay=partial(Relay, parameters, database),
    )


async def _open_checkpoints(parameters: str, sealing: Sealing) -> PostgresCheckpoints:
    from server.postgres.checkpoints import open_checkpoints

    return await open_checkpoints(parameters, checkpoint_cipher(sealing))
