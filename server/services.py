"""The parts of one server process, put together."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from server.data_folder import DataFolder
from server.database import Database
from server.dispatcher import Dispatcher
from server.engine import Engine
from server.event_log import EventLog
from server.invocation_store import InvocationStore
from server.runner import Runner
from server.settings import Settings


@dataclass(frozen=True)
class Services:
    """What the routes use. Made before the event loop runs, started in it."""

    settings: Settings
    database: Database
    store: InvocationStore
    log: EventLog
    engine: Engine
    dispatcher: Dispatcher
    now: Callable[[], float]

    def start(self) -> None:
        """Begins to take and to run turns."""
        self.database.start()
        self.engine.start()
        self.dispatcher.start()

    async def stop(self) -> None:
        """Leaves everything as it is on disk, for the next process to go on with."""
        await self.dispatcher.stop()
        await self.engine.close()
        self.database.close()


def open_services(
    settings: Settings,
    folder: DataFolder,
    *,
    began: float,
    now: Callable[[], float] = time.time,
) -> Services:
    """Opens the databases of `folder` and puts unfinished turns back into the queue. Raises `DatabaseUnusable`.

    `began` is when this process did, in `time.monotonic()` seconds.
    """
    database = Database(folder.server_database)
    store = InvocationStore(database)
    store.requeue_unfinished()
    log = EventLog(database, now=now, uptime=lambda: time.monotonic() - began)
    engine = Engine(settings, folder)
    runner = Runner(engine, log, now)
    dispatcher = Dispatcher(store, runner, limit=settings.max_concurrent_runs, now=now)
    return Services(settings, database, store, log, engine, dispatcher, now)
