"""The routes of the invocations API."""

from __future__ import annotations

import asyncio
import os
from typing import Annotated, Any, Literal, cast

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import JSONResponse

from graph.context import Context
from graph.plan import plan_titles
from server.invocation import Invocation, new_invocation_id, new_thread_id
from server.invocation_store import Accepted, NewInvocation, QueueFull, ThreadBusy
from server.problems import Problem
from server.records import record_of
from server.requests import RunConfig, StartRequest, checked_name, position_of, prefers, read_start
from server.services import Services
from server.settings import Settings
from server.sse import follow, stream_response
from server.status import Status

router = APIRouter()

EVENT_STREAM = "text/event-stream"
JSON = "application/json"
CRASH_DELAY_SEC = 0.3


def services_of(request: Request) -> Services:
    """The parts of this server."""
    services: Services = request.app.state.services
    return services


Parts = Annotated[Services, Depends(services_of)]


@router.post("/invocations", status_code=202)
async def start(request: Request, parts: Parts) -> Response:
    """Starts a turn on a thread."""
    body = await read_start(request)
    if parts.settings.demo_mode and body.text == "crash":
        return _crash()
    accepted = await _accept(request, body, parts)
    parts.dispatcher.wake()
    invocation = accepted.invocation
    headers = {
        "x-agent-invocation-id": invocation.id,
        "x-agent-session-id": invocation.thread_id,
        "Location": f"/invocations/{invocation.id}",
    }
    if prefers(request, EVENT_STREAM, over=JSON):
        return _stream(parts, invocation, position_of(request), headers)
    return JSONResponse(
        {
            "status": "queued" if accepted.waits else "started",
            "invocation_id": invocation.id,
            "session_id": invocation.thread_id,
            "thread_id": invocation.thread_id,
        },
        202,
        headers=headers,
    )


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
    return _stream(parts, invocation, position, {})


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
    return Response(markdown, media_type="text/markdown; charset=utf-8")


@router.get("/threads/{thread_id}")
async def thread(thread_id: str, parts: Parts) -> dict[str, Any]:
    """The thread: its turns, newest first, and how far its research is."""
    checked_name(thread_id, "thread_id")
    turns = await parts.store.page(thread_id=thread_id, limit=200)
    if not turns:
        raise Problem(404, f"Thread {thread_id} has never been seen.")
    snapshot = await parts.engine.snapshot(thread_id)
    from graph.state import State
    from graph.turn import progress_of

    progress = progress_of(cast(State, snapshot.values))
    return {
        "thread_id": thread_id,
        "status": "idle" if all(turn.status.ended for turn in turns) else "busy",
        "topic": turns[0].topic,
        "completed_phases": progress.completed_phases,
        "total_phases": progress.total_phases,
        "completed_subcalls": progress.completed_subcalls,
        "next": list(snapshot.next),
        "interrupts": [interrupt.value for interrupt in snapshot.interrupts],
        "invocations": [record_of(turn) for turn in turns],
    }


@router.get("/liveness")
async def liveness() -> dict[str, str]:
    """The process is up; touches no database."""
    return {"status": "alive"}


@router.get("/readiness")
async def readiness(parts: Parts) -> dict[str, str]:
    """Ready to take work: a write reaches the disk."""
    await parts.store.probe()
    return {"status": "ready"}


async def _accept(request: Request, body: StartRequest, parts: Services) -> Accepted:
    thread_id = body.thread_id or request.query_params.get("agent_session_id") or new_thread_id()
    name = request.headers.get("x-agent-invocation-id")
    context = _context(body.config, parts.settings)
    now = parts.now()
    new = NewInvocation(
        id=checked_name(name, "x-agent-invocation-id") if name else new_invocation_id(now),
        thread_id=checked_name(thread_id, "thread_id"),
        message=body.text,
        steering=body.steering,
        multitask_strategy=body.multitask_strategy,
        config=context,
        metadata=body.metadata,
        total_phases=len(plan_titles(Context(**context))),
        created_at=now,
        idempotency_key=request.headers.get("idempotency-key"),
    )
    try:
        return await parts.store.accept(new, limit=parts.settings.max_concurrent_runs)
    except ThreadBusy as error:
        raise Problem(409, str(error)) from error
    except QueueFull as error:
        raise Problem(429, str(error), headers={"Retry-After": "30"}) from error


def _context(config: RunConfig, settings: Settings) -> dict[str, Any]:
    """The turn's whole context: what it was given, and the server's settings for the rest."""
    given = config.model_dump(exclude_none=True)
    phases = given.pop("phases", settings.num_phases)
    titles = phases if isinstance(phases, list) else []
    return {
        "model": settings.research_model,
        "calls_per_phase": settings.calls_per_phase,
        "target_output_tokens": settings.target_output_tokens,
        "intra_phase_cooldown_sec": settings.intra_phase_cooldown_sec,
        "inter_phase_cooldown_sec": settings.inter_phase_cooldown_sec,
        **given,
        "num_phases": len(titles) or phases,
        "phase_titles": titles,
    }


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
    return report_of(state, Context(**invocation.config), partial=UNDER_WAY, now=parts.now())


def _stream(parts: Services, invocation: Invocation, position: int, headers: dict[str, str]) -> Response:
    frames = follow(parts.store, parts.log, invocation.id, position)
    return stream_response(frames, ping_sec=parts.settings.sse_ping_sec, headers=headers)


def _crash() -> Response:
    asyncio.get_running_loop().call_later(CRASH_DELAY_SEC, os._exit, 137)
    return JSONResponse({"status": "crashing"}, 202)
