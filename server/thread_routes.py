"""The routes of threads: their state, their checkpoints, and how they are forgotten."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Final, cast

from fastapi import APIRouter, Query, Request, Response

from graph.clock import iso
from server.accept import ThreadBusy
from server.access import owner
from server.asked import refused
from server.owners import owned, public
from server.problems import Problem, ProblemRoute
from server.records import record_of
from server.requests import checked_name
from server.services import Parts, Services
from server.thread_rows import ThreadStanding

if TYPE_CHECKING:
    from langgraph.types import StateSnapshot

    from graph.state import State

router = APIRouter(route_class=ProblemRoute)

MAX_SHOWN: Final = 200


@router.get("/threads/{thread_id}")
async def thread(thread_id: str, request: Request, parts: Parts) -> dict[str, Any]:
    """The thread: its turns, newest first, what waits, how far its research is, and what interrupts it now."""
    own, standing = await _known(thread_id, request, parts)
    turns = await parts.store.page(thread_id=own, limit=MAX_SHOWN)
    snapshot = await parts.engine.snapshot(own)
    return {
        "thread_id": thread_id,
        "status": "busy" if standing.busy else "idle",
        "topic": standing.topic,
        **_state(snapshot),
        "interrupts": [
            {"id": interrupt.id, "value": interrupt.value, "response_schema": interrupt.response_schema}
            for interrupt in snapshot.interrupts
        ],
        "waiting": [public(name) for name in standing.waiting],
        "invocations": [record_of(turn) for turn in turns.invocations],
    }


@router.get("/threads/{thread_id}/history")
async def history(
    thread_id: str,
    request: Request,
    parts: Parts,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    before: str | None = None,
) -> dict[str, Any]:
    """The thread's checkpoints, newest first; `before` is the last page's `next_cursor`, a checkpoint id."""
    own, _ = await _known(thread_id, request, parts)
    if before is not None:
        checked_name(before, "before")
    snapshots = await parts.engine.history(own, before=before, limit=limit + 1)
    shown = [_checkpoint(snapshot) for snapshot in snapshots[:limit]]
    more = len(snapshots) > limit
    return {"thread_id": thread_id, "checkpoints": shown, "next_cursor": shown[-1]["checkpoint_id"] if more else None}


@router.delete("/threads/{thread_id}", status_code=204)
async def erase(thread_id: str, request: Request, parts: Parts) -> Response:
    """Erases the thread: checkpoints, events, reports and records."""
    own, _ = await _known(thread_id, request, parts)
    try:
        async with parts.store.erasing(own):
            await parts.retention.check_idle(own)
            await parts.engine.erase(own)
            await parts.retention.erase_rows(own)
    except ThreadBusy as error:
        raise refused(error, parts) from error
    return Response(status_code=204)


async def _known(thread_id: str, request: Request, parts: Services) -> tuple[str, ThreadStanding]:
    """The server's name for the asking key's thread, and how it stands. Raises `Problem` 404."""
    own = owned(owner(request), checked_name(thread_id, "thread_id"))
    standing = await parts.store.standing(own)
    if standing is None:
        raise Problem(404, "No thread of this id has been seen.")
    return own, standing


def _state(snapshot: StateSnapshot) -> dict[str, Any]:
    from graph.progress import progress_of

    progress = progress_of(cast("State", snapshot.values))
    return {
        "completed_phases": progress.completed_phases,
        "total_phases": progress.total_phases,
        "completed_subcalls": progress.completed_subcalls,
        "in_progress_phase": progress.in_progress_phase,
        "next": list(snapshot.next),
    }


def _checkpoint(snapshot: StateSnapshot) -> dict[str, Any]:
    configurable = snapshot.config.get("configurable", {})
    metadata: dict[str, Any] = dict(snapshot.metadata or {})
    return {
        "checkpoint_id": configurable.get("checkpoint_id"),
        "parent_checkpoint_id": ((snapshot.parent_config or {}).get("configurable") or {}).get("checkpoint_id"),
        "created_at": snapshot.created_at and iso_of(snapshot.created_at),
        "step": metadata.get("step"),
        "source": metadata.get("source"),
        "invocation_id": public(metadata["run_id"]) if metadata.get("run_id") else None,
        **_state(snapshot),
    }


def iso_of(timestamp: str) -> str:
    """LangGraph's time of a checkpoint as the protocol writes times."""
    from datetime import datetime

    return iso(datetime.fromisoformat(timestamp).timestamp())
