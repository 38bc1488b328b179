"""Serves HTTP until a signal comes, then lets the turns come to a checkpoint before the process ends."""

from __future__ import annotations

import asyncio
import contextlib
import math
import signal
import socket
from collections.abc import Iterator
from typing import Final

import structlog
import uvicorn

from server.app import create_app
from server.connections import MAX_HEAD_BYTES, connections_of
from server.descriptors import most_connections
from server.logs import tell_of_forgotten_tasks
from server.memory import give_memory_back
from server.services import Services

_log = structlog.get_logger(__name__)

# Readers that were let go have this long to see their connection closed.
GOODBYE_SEC: Final = 1
# A connection without a request is kept so long.
KEEP_ALIVE_SEC: Final = 5


def serve(services: Services, listener: socket.socket) -> None:
    """Serves on `listener`; returns behind SIGTERM or SIGINT, at the latest SHUTDOWN_GRACE_SEC + 2 s later."""
    # h11 even where httptools is installed: that answers HTTP/1.0, which proxies speak, in chunks (RFC 9112, 6.1).
    config = uvicorn.Config(
        create_app(services),
        log_config=None,
        access_log=False,
        http=connections_of(
            services.settings.slow_client_sec,
            most=most_connections(services.settings),
            refused=services.metrics.connections_refused,
        ),
        ws="none",
        h11_max_incomplete_event_size=MAX_HEAD_BYTES,
        timeout_keep_alive=min(KEEP_ALIVE_SEC, math.ceil(services.settings.slow_client_sec)),
        timeout_graceful_shutdown=GOODBYE_SEC,
    )
    give_memory_back()
    _Server(config, services).run(sockets=[listener])


class _Server(uvicorn.Server):
    """Drains before it shuts down. A second signal ends the process without waiting, as a crash would."""

    def __init__(self, config: uvicorn.Config, services: Services) -> None:
        super().__init__(config)
        self._services = services
        self._draining: asyncio.Task[None] | None = None

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        tell_of_forgotten_tasks(loop)
        signals = (signal.SIGTERM, signal.SIGINT)
        for number in signals:
            loop.add_signal_handler(number, self._signalled, number)
        try:
            yield
        finally:
            for number in signals:
                loop.remove_signal_handler(number)

    def _signalled(self, number: signal.Signals) -> None:
        if self._draining is not None:
            _log.warning("second_signal", signal=number.name)
            self.force_exit = self.should_exit = True
            return
        _log.info("draining", signal=number.name)
        self._draining = asyncio.get_running_loop().create_task(self._drain())

    async def _drain(self) -> None:
        try:
            await self._services.drain()
        finally:
            self.should_exit = True
