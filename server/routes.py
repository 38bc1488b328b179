"""The routes of the invocations API."""

from __future__ import annotations

import asyncio
import os
from typing import Annotated, Any, Literal, cast

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import JSONResponse

from server.accept import Accepted, NotResumable, QueueFull, ThreadBusy
from server.asked import new_invocation, refused, resumption
from server.invocation import Invocation, Wish
from server.problems import Problem, ProblemRoute
from server.records import record_of
from server.requests import checked_name, position_of, prefers, read_cancel, read_start
from server.runner import context_of
from server.services import Parts, Services
from server.sse import follow, stream_response
from server.status import Status

router = APIRouter(route_class=ProblemRoute)

EVENT_STREAM = "text/event-stream"
JSON = "application/json"
CRASH_DELAY_SEC = 0.3


@router.post("/invocations", status_code=202)
async def start(request: Request, parts: Parts) -> Response:
    """Starts a turn on a thread; a thread that is busy is steered by it."""
    _check_open(parts)
    body = await read_start(request)
    if parts.settings.demo_mode and body.text == "crash":
        return _crash()
    position = position_of(request)
    new = new_invocation(request, body, parts)
    try:
        accepted = await parts.store.accept(new, limit=parts.settings.max_concurrent_runs)
    except (ThreadBusy, QueueFull) as error:
        raise refused(error) from error
    if accepted.steered is not None:
        parts.dispatcher.want(accepted.steered, accepted.wish)
    return _taken(request, parts, accepted, position)


@router.get("/invocations")
async def page(
    parts: Parts,
    thread_id: str | None = None,
    status: Status | None = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    cursor: Annotated[str | None, Query(pattern=r"^[0-9]{1,18}$")] = None,
) -> dict[str, Any]:
    """Lists invocations, newest first; `cursor` is the last page's `next_cursor`."""
    if thread_id is not None:
        checked_name(thread_id, "thread_id")
    found = await parts.store.page(
        thread_id=thread_id, status=status, before=int(cursor) if cursor else None, limit=limit + 1
    )
    more = len(found) > limit
    shown = found[:limit]
    return {
        "invocations": [record_of(invocation) for invocation in shown],
        "next_cursor": str(shown[-1].n) if more else None,
    }


@router.get("/invocations/{invocation_id}")
async def read(invocation_id: str, request: Request, parts: Parts) -> Response:
    """The event stream, or with `Accept: application/json` the record."""
    position = position_of(request)
    invocation = await _known(invocation_id, parts)
    if prefers(request, JSON, over=EVENT_STREAM):
        return JSONResponse(record_of(invocation, await parts.store.report(invocation)))
    if invocation.events_removed:
        raise Problem(410, "The events of this turn are past their retention; its report and record are kept.")
    return _stream(parts, invocation, position, {})


@router.post("/invocations/{invocation_id}/cancel")
async def cancel(invocation_id: str, request: Request, parts: Parts) -> Response:
    """Asks a turn to wind down; one that waits, or has ended, is dealt with at once."""
    body = await read_cancel(request)
    invocation = await _known(invocation_id, parts)
    wish = Wish.CANCEL_NOW if body.mode == "now" else Wish.CANCEL
    cancelled = await parts.store.cancel(invocation, wish)
    parts.dispatcher.want(cancelled.id, wish)
    parts.dispatcher.wake()
    return JSONResponse(record_of(cancelled, await parts.store.report(cancelled)))


@router.post("/invocations/{invocation_id}/resume", status_code=202)
async def resume(invocation_id: str, request: Request, parts: Parts) -> Response:
    """Goes on where a turn stopped that failed, was cancelled or timed out: as a new invocation."""
    _check_open(parts)
    stopped = await _known(invocation_id, parts)
    new = resumption(request, stopped, parts)
    try:
        accepted = await parts.store.accept_resumption(stopped, new, limit=parts.settings.max_concurrent_runs)
    except (ThreadBusy, NotResumable, QueueFull) as error:
        raise refused(error) from error
    return _taken(request, parts, accepted, 0)


@router.get("/invocations/{invocation_id}/report")
async def report(
    invocation_id: str, parts: Parts, format: Annotated[Literal["markdown", "json"], Query()] = "markdown"
) -> Response:
    """The report; of an unfinished turn what is there so far, and it says so."""
    invocation = await _known(invocation_id, parts)
    markdown = await parts.store.report(invocation)
    if markdown is None:
        markdown = await _report_so_far(invocation, parts)
    if not markdown:
        raise Problem(404, "This turn has no report: it has no findings yet, or ended without any.")
    if format == "json":
        partial = invocation.status is not Status.COMPLETED
        return JSONResponse({"invocation_id": invocation.id, "partial": partial, "markdown": markdown})
    # A browser must not take what a model wrote for HTML.
    return Response(markdown, media_type="text/markdown; charset=utf-8", headers={"X-Content-Type-Options": "nosniff"})


@router.get("/liveness")
async def liveness() -> dict[str, str]:
    """The process is up; touches no database."""
    return {"status": "alive"}


@router.get("/readiness")
async def readiness(parts: Parts) -> dict[str, str]:
    """Ready to take work: a write reaches the disk, and the process is not about to end."""
    _check_open(parts)
    await parts.store.probe()
    return {"status": "ready"}


async def _known(invocation_id: str, parts: Services) -> Invocation:
    invocation = await parts.store.get(invocation_id)
    if invocation is None:
        raise Problem(404, "No invocation of this id has been seen.")
    return invocation


async def _report_so_far(invocation: Invocation, parts: Services) -> str | None:
    if invocation.status.ended or not invocation.last_event_id:
        return None
    snapshot = await parts.engine.snapshot(invocation.thread_id)
    if (snapshot.metadata or {}).get("run_id") != invocation.id:
        return None
    from graph.nodes import UNDER_WAY, findings_of_line, report_of
    from graph.state import State

    state = cast(State, snapshot.values)
    if not findings_of_line(state):
        return None
    return report_of(state, context_of(invocation), partial=UNDER_WAY, now=parts.now())


def _stream(parts: Services, invocation: Invocation, position: int, headers: dict[str, str]) -> Response:
    frames = follow(parts.store, parts.log, invocation.id, position)
    return stream_response(frames, ping_sec=parts.settings.sse_ping_sec, headers=headers)


def _check_open(parts: Services) -> None:
    if parts.lifecycle.phase == "draining":
        raise Problem(503, "The server is about to end and takes no new work.", headers={"Retry-After": "5"})


def _headers(invocation: Invocation) -> dict[str, str]:
    return {
        "x-agent-invocation-id": invocation.id,
        "x-agent-session-id": invocation.thread_id,
        "Location": f"/invocations/{invocation.id}",
    }


def _taken(request: Request, parts: Services, accepted: Accepted, position: int) -> Response:
    """The answer to a turn that was taken: its stream, or where to find it."""
    parts.dispatcher.wake()
    if prefers(request, EVENT_STREAM, over=JSON):
        return _stream(parts, accepted.invocation, position, _headers(accepted.invocation))
    return _started(accepted)


def _started(accepted: Accepted) -> Response:
    invocation = accepted.invocation
    body = {
        "status": "queued" if accepted.waits else "started",
        "invocation_id": invocation.id,
        "session_id": invocation.thread_id,
        "thread_id": invocation.thread_id,
    }
    if accepted.named:
        body = record_of(invocation) | body | {"status": invocation.status}
    return JSONResponse(body, 200 if accepted.named else 202, headers=_headers(invocation))


def _crash() -> Response:
    asyncio.get_running_loop().call_later(CRASH_DELAY_SEC, os._exit, 137)
    return JSONResponse({"status": "crashing"}, 202)
