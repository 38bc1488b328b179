"""The routes of the invocations API."""

from __future__ import annotations

import asyncio
import os
from contextlib import ExitStack
from typing import Annotated, Any

import structlog
from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import JSONResponse

from server.accept import Accepted, InvocationGone, NotResumable, ThreadBusy
from server.access import key_of, owner
from server.asked import new_invocation, refused, resumption
from server.document_rows import DocumentsUnknown
from server.health_routes import check_open
from server.incoming import concerns
from server.invocation import Invocation, Wish
from server.owners import owned, public
from server.problems import Problem, ProblemRoute
from server.queue_limits import QueueFull
from server.records import record_of
from server.report_routes import known_invocation, whole_record
from server.requests import checked_name, position_of, prefers, read_cancel, read_start
from server.services import Parts, Services
from server.sse import follow, stream_response
from server.status import Status

_log = structlog.get_logger(__name__)

router = APIRouter(route_class=ProblemRoute)

EVENT_STREAM = "text/event-stream"
JSON = "application/json"
CRASH_DELAY_SEC = 0.3


@router.post("/invocations", status_code=202)
async def start(request: Request, parts: Parts) -> Response:
    """Starts a turn on a thread; a thread that is busy is steered by it."""
    check_open(parts)
    body = await read_start(request)
    if parts.settings.demo_mode and body.text == "crash":
        return _crash()
    position = position_of(request)
    new = new_invocation(request, body, parts)
    with _room_for_answer(request, parts) as room:
        try:
            accepted = await parts.store.accept(new, limit=parts.settings.max_concurrent_runs)
        except (ThreadBusy, QueueFull, DocumentsUnknown) as error:
            raise refused(error, parts) from error
        if accepted.steered is not None:
            parts.dispatcher.want(accepted.steered, accepted.wish)
        return await _taken(request, parts, accepted, position, room)


@router.get("/invocations")
async def page(
    request: Request,
    parts: Parts,
    thread_id: str | None = None,
    status: Status | None = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    cursor: Annotated[str | None, Query(pattern=r"^[0-9]{1,18}$")] = None,
) -> dict[str, Any]:
    """Lists invocations, newest first; `cursor` is the last page's `next_cursor`."""
    own = None if thread_id is None else owned(owner(request), checked_name(thread_id, "thread_id"))
    shown = await parts.store.page(
        # A thread says whose it is by its name.
        owner=owner(request) if own is None else None,
        thread_id=own,
        status=status,
        before=int(cursor) if cursor else None,
        limit=limit,
    )
    return {
        "invocations": [record_of(invocation) for invocation in shown.invocations],
        "next_cursor": str(shown.invocations[-1].n) if shown.more else None,
    }


@router.get("/invocations/{invocation_id}")
async def read(invocation_id: str, request: Request, parts: Parts) -> Response:
    """The event stream, or with `Accept: application/json` the record."""
    position = position_of(request)
    invocation = await known_invocation(invocation_id, request, parts)
    if prefers(request, JSON, over=EVENT_STREAM):
        return JSONResponse(await whole_record(invocation, parts))
    if invocation.events_removed:
        raise Problem(410, "The events of this turn are past their retention; its report and record are kept.")
    with _room_for_stream(request, parts) as room:
        return await _stream(request, parts, invocation, position, room, {})


@router.post("/invocations/{invocation_id}/cancel")
async def cancel(invocation_id: str, request: Request, parts: Parts) -> Response:
    """Asks a turn to wind down; one that waits, or has ended, is dealt with at once."""
    body = await read_cancel(request)
    invocation = await known_invocation(invocation_id, request, parts)
    wish = Wish.CANCEL_NOW if body.mode == "now" else Wish.CANCEL
    try:
        cancelled = await parts.store.cancel(invocation, wish)
    except InvocationGone as error:
        raise refused(error, parts) from error
    parts.dispatcher.want(cancelled.id, wish)
    parts.dispatcher.wake()
    return JSONResponse(await whole_record(cancelled, parts))


@router.post("/invocations/{invocation_id}/resume", status_code=202)
async def resume(invocation_id: str, request: Request, parts: Parts) -> Response:
    """Goes on where a turn stopped that failed, was cancelled or timed out: as a new invocation."""
    check_open(parts)
    stopped = await known_invocation(invocation_id, request, parts)
    new = resumption(request, stopped, parts)
    with _room_for_answer(request, parts) as room:
        try:
            accepted = await parts.store.accept_resumption(stopped, new, limit=parts.settings.max_concurrent_runs)
        except (ThreadBusy, NotResumable, QueueFull, InvocationGone) as error:
            raise refused(error, parts) from error
        return await _taken(request, parts, accepted, 0, room)


def _room_for_answer(request: Request, parts: Services) -> ExitStack:
    """Where a turn is answered by its stream, room for that: before the turn is stored. Raises `Problem` 429."""
    return _room_for_stream(request, parts) if _wants_stream(request) else ExitStack()


def _room_for_stream(request: Request, parts: Services) -> ExitStack:
    room = ExitStack()
    if (key := key_of(request)) is not None:
        room.enter_context(parts.streams.one(key.name))
    return room


def _wants_stream(request: Request) -> bool:
    return prefers(request, EVENT_STREAM, over=JSON)


async def _stream(
    request: Request, parts: Services, invocation: Invocation, position: int, room: ExitStack, headers: dict[str, str]
) -> Response:
    key = key_of(request)
    frames = follow(
        parts.log,
        invocation.id,
        position,
        held=room.pop_all(),
        admitted=lambda: key is None or parts.keys.holds(key),
    )
    return await stream_response(frames, ping_sec=parts.settings.sse_ping_sec, headers=headers)


def _headers(request: Request, invocation: Invocation) -> dict[str, str]:
    resumed = request.path_params.get("invocation_id")
    # The router may stand below a prefix of somebody else's application.
    root = request.url.path.removesuffix("/invocations" if resumed is None else f"/invocations/{resumed}/resume")
    return {
        "x-agent-invocation-id": public(invocation.id),
        "x-agent-session-id": public(invocation.thread_id),
        "Location": f"{root}/invocations/{public(invocation.id)}",
    }


async def _taken(request: Request, parts: Services, accepted: Accepted, position: int, room: ExitStack) -> Response:
    """The answer to a turn that was taken: its stream, which has `room`, or where to find it."""
    parts.dispatcher.wake()
    concerns(accepted.invocation)
    if not accepted.repeated:
        parts.metrics.accepted[accepted.invocation.steering].inc()
        if parts.traces is not None:
            parts.traces.accepted(request, accepted.invocation)
        _log.info("turn_accepted", steering=accepted.invocation.steering)
    if _wants_stream(request):
        headers = _headers(request, accepted.invocation)
        return await _stream(request, parts, accepted.invocation, position, room, headers)
    return await _started(request, accepted, parts)


async def _started(request: Request, accepted: Accepted, parts: Services) -> Response:
    invocation = accepted.invocation
    body = {
        "status": "queued" if accepted.waits else "started",
        "invocation_id": public(invocation.id),
        "session_id": public(invocation.thread_id),
        "thread_id": public(invocation.thread_id),
    }
    if accepted.named:
        body = await whole_record(invocation, parts) | body | {"status": invocation.status}
    return JSONResponse(body, 200 if accepted.named else 202, headers=_headers(request, invocation))


def _crash() -> Response:
    asyncio.get_running_loop().call_later(CRASH_DELAY_SEC, os._exit, 137)
    return JSONResponse({"status": "crashing"}, 202)
