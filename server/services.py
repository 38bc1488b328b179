"""The parts of one server process, put together."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Annotated, Literal, Protocol

from fastapi import Depends, Request

from server.data_folder import DataFolder
from server.database import Database
from server.dispatcher import Dispatcher, Dispatching
from server.engine import Engine
from server.event_log import EventLog
from server.invocation_store import InvocationStore
from server.key_ring import KeyRing, open_keys
from server.measured import metrics_of, observers_of, traces_of, watch_database, watch_disk
from server.metrics import Metrics
from server.report_store import ReportStore
from server.retention import Retention
from server.runner import Runner
from server.running import Running
from server.sealing import Sealing, checkpoint_cipher, open_sealing
from server.settings import Settings
from server.sqlite import SqliteDatabase, check_readable

if TYPE_CHECKING:
    from graph.checkpoints import CheckpointSaver
    from graph.ports import Ports
    from server.traces import Traces


@dataclass
class Lifecycle:
    """Where the process is between its start and its end."""

    phase: Literal["starting", "ready", "draining"] = "starting"


class Background(Protocol):
    """What runs beside the requests and the turns."""

    def start(self) -> None:
        """Begins."""

    async def stop(self) -> None:
        """Stops at once."""


@dataclass(frozen=True)
class Services:
    """What the routes use. Made before the event loop runs, started in it."""

    settings: Settings
    database: Database
    store: InvocationStore
    log: EventLog
    engine: Engine
    dispatcher: Dispatching
    retention: Retention
    reports: ReportStore
    lifecycle: Lifecycle
    now: Callable[[], float]
    keys: KeyRing
    metrics: Metrics
    traces: Traces | None = None
    relay: Background | None = None

    def start(self) -> None:
        """Begins to take and to run turns."""
        self.database.start()
        self.engine.start()
        if self.relay is not None:
            self.relay.start()
        self.dispatcher.start()
        if self.settings.role != "api":
            self.retention.start()
        self.lifecycle.phase = "ready"

    async def drain(self) -> None:
        """Takes no more work, lets turns come to a checkpoint, and lets the readers go; all stays unfinished."""
        self.lifecycle.phase = "draining"
        await self.retention.stop()
        await self.dispatcher.drain(self.settings.shutdown_grace_sec)
        self.log.let_readers_go()

    async def stop(self) -> None:
        """Leaves everything as it is on disk, for the next process to go on with."""
        await self.retention.stop()
        await self.dispatcher.stop()
        if self.relay is not None:
            await self.relay.stop()
        if self.traces is not None:
            await self.traces.close()
        await self.engine.close()
        self.database.close()


async def services_of(request: Request) -> Services:
    """The parts of the server that a request came to. A coroutine: FastAPI calls a function in a thread."""
    services: Services = getattr(request.state, "services", None) or request.app.state.services
    return services


Parts = Annotated[Services, Depends(services_of)]


async def _open_checkpoints(folder: DataFolder, sealing: Sealing) -> CheckpointSaver:
    from graph.checkpoints import open_checkpoints

    return await open_checkpoints(folder.checkpoint_database, checkpoint_cipher(sealing))


def open_services(
    settings: Settings,
    folder: DataFolder,
    *,
    began: float,
    now: Callable[[], float] = time.time,
    ports: Ports | None = None,
) -> Services:
    """Opens the databases of `folder` and puts unfinished turns back into the queue.

    Raises `DatabaseUnusable`, `KeysUnusable`.

    `began` is when this process did, in `time.monotonic()` seconds. `ports` stand in for those that the settings name.
    """
    keys = open_keys(settings)
    # LangGraph opens it later, when the server answers already.
    check_readable(folder.checkpoint_database)
    metrics, traces, sealing = metrics_of(settings), traces_of(settings), open_sealing(settings)
    database = SqliteDatabase(folder.server_database, sealing)
    log = EventLog(database, now=now, uptime=lambda: time.monotonic() - began, metrics=metrics)
    store = InvocationStore(database, log)
    store.requeue_unfinished()
    engine = Engine(
        settings,
        checkpoints=partial(_open_checkpoints, folder, sealing),
        modules=("graph.checkpoints",),
        # A full-text index holds every word in the open: with a key it is built in memory.
        document_index=None if sealing.fingerprints else folder.document_index,
        ports=ports,
    )
    running = Running(Runner(engine, store, log, now, observers_of(metrics, traces, now)), metrics)
    dispatcher = Dispatcher(store, running, limit=settings.max_concurrent_runs, now=now)
    retention = Retention(database, log, ttl_sec=settings.event_ttl_sec)
    reports = ReportStore(database)
    watch_database(metrics, database)
    watch_disk(metrics, folder.path)
    return Services(
        settings, database, store, log, engine, dispatcher, retention, reports, Lifecycle(), now, keys, metrics, traces
    )
