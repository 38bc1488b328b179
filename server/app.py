"""The FastAPI application over a server's parts."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from starlette.types import Lifespan

from server import (
    document_routes,
    health_routes,
    openapi,
    problems,
    report_routes,
    routes,
    session_routes,
    thread_routes,
    web_routes,
)
from server.access import Access
from server.incoming import Incoming
from server.services import Services


def create_app(services: Services) -> FastAPI:
    """The application; its lifespan starts and stops `services`."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        services.start()
        try:
            yield
        finally:
            await services.stop()

    app = routed(lifespan, worker=services.settings.role == "worker")
    app.state.services = services
    app.add_middleware(
        Access,
        ring=services.keys,
        hosts=allowed_hosts(services.settings.allowed_hosts),
        now=services.now,
        metrics=services.metrics,
    )
    # The outermost, as the last one added.
    app.add_middleware(Incoming, metrics=services.metrics)
    return app


def routed(lifespan: Lifespan[FastAPI] | None = None, *, worker: bool = False) -> FastAPI:
    """The application's routes, without anything behind them; a worker has those of its health alone."""
    # FastAPI's own pages of the API load scripts from elsewhere; ours is among the files of the page.
    app = FastAPI(title="Resilient Research Agent", version="0.1.0", lifespan=lifespan, docs_url=None, redoc_url=None)
    app.include_router(health_routes.router)
    if not worker:
        app.include_router(routes.router)
        app.include_router(report_routes.router)
        app.include_router(thread_routes.router)
        app.include_router(document_routes.router)
        app.include_router(session_routes.router)
        web_routes.install(app)
    problems.install(app)
    openapi.install(app)
    return app


def allowed_hosts(names: str | None) -> frozenset[str]:
    """The names in ALLOWED_HOSTS."""
    return frozenset(name.strip().lower() for name in (names or "").split(",") if name.strip())
