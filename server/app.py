"""The FastAPI application over a server's parts."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from starlette.types import Lifespan

from server import openapi, problems, routes, thread_routes
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

    app = routed(lifespan)
    app.state.services = services
    return app


def routed(lifespan: Lifespan[FastAPI] | None = None) -> FastAPI:
    """The application's routes, without anything behind them."""
    app = FastAPI(title="Resilient Research Agent", version="0.1.0", lifespan=lifespan)
    app.include_router(routes.router)
    app.include_router(thread_routes.router)
    problems.install(app)
    openapi.install(app)
    return app
