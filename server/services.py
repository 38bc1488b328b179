"""The parts of one server process, put together."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

from fastapi import Depends, Request

from server.data_folder import DataFolder
from server.database import Database, check_readable
from server.dispatcher import Dispatcher
from server.engine import Engine
from server.event_log import EventLog
from server.invocation_store import InvocationStore
from server.retention import Retention
from server.runner import Runner
from server.settings import Settings

if TYPE_CHECKING:
    from graph.ports import Ports


@dataclass
class Lifecycle:
    """Where the process is between its start and its end."""

    phase: Literal["starting", "ready", "draining"] = "starting"


@dataclass(frozen=True)
class Services:
    """What the routes use. Made before the event loop runs, started in it."""

    settings: Settings
    database: Database
    store: InvocationStore
    log: EventLog
    engine: Engine
    dispatcher: Dispatcher
    retention: Retention
    lifecycle: Lifecycle
    now: Callable[[], float]

    def start(self) -> None:
        """Begins to take and to run turns."""
        self.database.start()
        self.engine.start()
        self.dispatcher.start()
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
        await self.engine.close()
        self.database.close()


def services_of(request: Request) -> Services:
    """The parts of the server that a request came to: those of its router, else those of its application."""
    services: Services = getattr(request.state, "services", None) or request.app.state.services
    return services


Parts = Annotated[Services, Depends(services_of)]


def open_services(
    settings: Settings,
    folder: DataFolder,
    *,
    began: float,
    now: Callable[[], float] = time.time,
    ports: Ports | None = None,
) -> Services:
    """Opens the databases of `folder` and puts unfinished turns back into the queue. Raises `DatabaseUnusable`.

    `began` is when this process did, in `time.monotonic()` seconds. `ports` stand in for those that the settings name.
    """
    # LangGraph opens it later, when the server answers already.
    check_readable(folder.checkpoint_database)
    database = Database(folder.server_database)
    log = EventLog(database, now=now, uptime=lambda: time.monotonic() - began)
    store = InvocationStore(database, log)
    store.requeue_unfinished()
    engine = Engine(settings, folder, ports)
    runner = Runner(engine, store, log, now)
    dispatcher = Dispatcher(store, runner, limit=settings.max_concurrent_runs, now=now)
    retention = Retention(database, log, ttl_sec=settings.event_ttl_sec)
    return Services(settings, database, store, log, engine, dispatcher, retention, Lifecycle(), now)
