"""The parts of one server process, put together."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Annotated, Literal, Protocol

from fastapi import Depends, Request

from server.at_once import AtOnce
from server.data_folder import DataFolder
from server.database import Database
from server.descriptors import most_connections
from server.dispatcher import Dispatcher, Dispatching
from server.document_store import DocumentStore
from server.engine import Engine
from server.event_log import EventLog
from server.invocation_store import InvocationStore
from server.key_ring import KeyRing, open_keys
from server.makers import Makers
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
    from pathlib import Path

    from graph.checkpoints import CheckpointSaver
    from graph.ports import Ports
    from server.engine import Saver
    from server.invocation import Invocation
    from server.sql import Connection
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
    documents: DocumentStore
    lifecycle: Lifecycle
    now: Callable[[], float]
    keys: KeyRing
    metrics: Metrics
    uploads: AtOnce
    streams: AtOnce
    makers: Makers
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
        self.makers.close()
        if self.traces is not None:
            await self.traces.close()
        await self.engine.close()
        self.database.close()


async def services_of(request: Request) -> Services:
    """The parts of the server that a request came to. A coroutine: FastAPI calls a function in a thread."""
    services: Services = getattr(request.state, "services", None) or request.app.state.services
    return services


Parts = Annotated[Services, Depends(services_of)]


@dataclass(frozen=True)
class Storage:
    """Where a server keeps what must outlive it, as `Engine` and `InvocationStore` take it."""

    database: Database
    checkpoints: Callable[[], Awaitable[Saver]]
    checkpoint_modules: tuple[str, ...]
    document_index: Path | None = None
    enqueue: Callable[[Connection, Invocation], None] | None = None


def put_together(
    settings: Settings,
    storage: Storage,
    *,
    sealing: Sealing,
    keys: KeyRing,
    began: float,
    now: Callable[[], float],
    dispatching: Callable[[InvocationStore, Running, Metrics], Dispatching],
    relay: Callable[[EventLog, Running], Background] | None = None,
    ports: Ports | None = None,
) -> Services:
    """The parts of a server over `storage`; `dispatching` and `relay` make those that depend on who else shares it."""
    database = storage.database
    metrics, traces = metrics_of(settings), traces_of(settings)
    watch_database(metrics, database)
    log = EventLog(database, now=now, uptime=lambda: time.monotonic() - began, metrics=metrics)
    store = InvocationStore(database, log, enqueue=storage.enqueue)
    documents = DocumentStore(database, now=now, sealing=sealing)
    engine = Engine(
        settings,
        checkpoints=storage.checkpoints,
        modules=storage.checkpoint_modules,
        document_index=storage.document_index,
        library=documents,
        ports=ports,
    )
    running = Running(Runner(engine, store, log, now, observers_of(metrics, traces, now)), metrics)
    return Services(
        settings=settings,
        database=database,
        store=store,
        log=log,
        engine=engine,
        dispatcher=dispatching(store, running, metrics),
        retention=Retention(database, log, ttl_sec=settings.event_ttl_sec),
        reports=ReportStore(database),
        documents=documents,
        lifecycle=Lifecycle(),
        now=now,
        keys=keys,
        metrics=metrics,
        # A browser has six connections to a server; more is no page's upload.
        uploads=AtOnce(8, "documents are being uploaded", metrics.limited["key_uploads"]),
        # Whatever one key does, others can still come in.
        streams=AtOnce(
            most_connections(settings) // 2,
            "event streams are open",
            metrics.limited["key_streams"],
        ),
        makers=Makers(),
        traces=traces,
        relay=relay(log, running) if relay is not None else None,
    )


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
    sealing = open_sealing(settings)
    storage = Storage(
        SqliteDatabase(folder.server_database, sealing),
        checkpoints=partial(_open_checkpoints, folder, sealing),
        checkpoint_modules=("graph.checkpoints",),
        # A full-text index holds every word in the open: with a key it is built in memory.
        document_index=None if sealing.fingerprints else folder.document_index,
    )
    services = put_together(
        settings,
        storage,
        sealing=sealing,
        keys=keys,
        began=began,
        now=now,
        dispatching=lambda store, running, _: Dispatcher(store, running, limit=settings.max_concurrent_runs, now=now),
        ports=ports,
    )
    watch_disk(services.metrics, folder.path)
    services.store.requeue_unfinished()
    return services


async def _open_checkpoints(folder: DataFolder, sealing: Sealing) -> CheckpointSaver:
    from graph.checkpoints import open_checkpoints

    return await open_checkpoints(folder.checkpoint_database, checkpoint_cipher(sealing))
