"""The API as a router of somebody else's FastAPI application: it starts and ends with that application."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from fastapi import APIRouter, Depends, FastAPI, Request

from server import health_routes, report_routes, routes, thread_routes
from server.access import Access
from server.app import allowed_hosts
from server.data_folder import DataFolder
from server.services import Services, open_services
from server.settings import Settings, read_settings

if TYPE_CHECKING:
    from graph.ports import Ports


def research_router(settings: Settings | None = None, *, ports: Ports | None = None, threads: bool = True) -> APIRouter:
    """The routes of invocations, threads and health, for `app.include_router(research_router(), prefix="/research")`.

    Their errors are problems as docs/http.md says, and leave the rest of the application alone. While the application
    runs, DATA_DIR is locked; when it ends, turns come to a checkpoint, and the next start goes on with them. API keys
    and ALLOWED_HOSTS hold as in the server; HOST, PORT and the log's settings are the application's own matter, and
    DATABASE_URL is not used: turns are kept in SQLite.

    Args:
        settings: By default those of the environment.
        ports: Your own model, sources or clock, in place of those that the settings name.
        threads: Without it `/threads` is left out, for an application that has such a path itself.

    Raises:
        SettingsInvalid: the environment's settings cannot be used. At the start of the application:
        `DataFolderUnusable`, `DatabaseUnusable`.
    """
    chosen = settings or read_settings()
    running: list[Services] = []

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with _served(chosen, ports) as services:
            running.append(services)
            yield
            running.clear()

    async def bind(request: Request) -> None:
        services = request.state.services = running[0]
        hosts = allowed_hosts(chosen.allowed_hosts)
        access = Access(router, ring=services.keys, hosts=hosts, now=services.now, metrics=services.metrics)
        access.admit(request.scope, request.headers)

    router = APIRouter(lifespan=lifespan, dependencies=[Depends(bind)])
    router.include_router(health_routes.router)
    router.include_router(routes.router)
    router.include_router(report_routes.router)
    if threads:
        router.include_router(thread_routes.router)
    return router


@asynccontextmanager
async def _served(settings: Settings, ports: Ports | None) -> AsyncIterator[Services]:
    began = time.monotonic()
    folder = DataFolder(settings.data_dir)
    # In threads: an application may refuse that its loop is kept waiting for a disk.
    await asyncio.to_thread(folder.__enter__)
    try:
        services = await asyncio.to_thread(open_services, settings, folder, began=began, ports=ports)
        services.start()
        try:
            yield services
        finally:
            await services.drain()
            await services.stop()
    finally:
        await asyncio.to_thread(folder.__exit__, None, None, None)
