"""What every request gets: an id that stands in its answer and in its lines of the log, and a place in the metrics."""

from __future__ import annotations

import re
import secrets
import time
from typing import TYPE_CHECKING, Final

from starlette.datastructures import Headers, MutableHeaders
from structlog.contextvars import bind_contextvars, clear_contextvars

from server.problems import REQUEST_ID

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from server.invocation import Invocation
    from server.metrics import Metrics

_WELL_FORMED: Final = re.compile(r"[A-Za-z0-9_.:/+=-]{1,128}")
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class Incoming:
    """Middleware around all others: takes the client's `x-request-id` where it is well formed, else makes one."""

    def __init__(self, app: ASGIApp, *, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        state = scope.setdefault("state", {})
        request_id = state["request_id"] = _id_of(Headers(scope=scope))
        state["received_ns"] = time.time_ns()
        # A connection's requests may share a context, and what the one before bound is not this one's.
        clear_contextvars()
        bind_contextvars(request_id=request_id)
        began, answered = time.perf_counter(), False

        async def answer(message: Message) -> None:
            nonlocal answered
            if message["type"] == "http.response.start":
                answered = True
                MutableHeaders(scope=message)[REQUEST_ID] = request_id
                self._count(scope, message["status"], began)
            await send(message)

        try:
            await self._app(scope, receive, answer)
        finally:
            if not answered:
                self._count(scope, 500, began)

    def _count(self, scope: Scope, status: int, began: float) -> None:
        route = getattr(scope.get("route"), "path", None) or "other"
        method = scope["method"] if scope["method"] in _METHODS else "other"
        self._metrics.answered(method, route, status, time.perf_counter() - began)


def concerns(invocation: Invocation) -> None:
    """The request is about this invocation: its lines in the log say so."""
    bind_contextvars(thread_id=invocation.thread_id, invocation_id=invocation.id)


def _id_of(headers: Headers) -> str:
    given = headers.get(REQUEST_ID, "")
    return given if _WELL_FORMED.fullmatch(given) else f"req_{secrets.token_hex(12)}"
