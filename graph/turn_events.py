"""The events at both ends of a turn, and the time that is put on every event."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

from graph.clock import iso
from graph.events import Event
from graph.failure import ModelFailed
from graph.models import ModelUnusable
from graph.usage import breakdown

if TYPE_CHECKING:
    from graph.prices import Prices
    from graph.turn import TurnResult

EntryMode = Literal["fresh", "resumed", "recovered"]


def new_invocation_id(now: float) -> str:
    """`inv_` and 32 hex digits that sort by time: 48 bits of milliseconds, 80 random ones. `now` is Unix seconds."""
    return f"inv_{int(now * 1000):012x}{secrets.token_hex(10)}"


def new_thread_id() -> str:
    """The id of a thread that nobody named."""
    return f"thread_{secrets.token_hex(16)}"


def stamped(event: Event, now: Callable[[], float], uptime: Callable[[], float]) -> Event:
    """The event with the time, but for tokens, which are too many: Unix seconds, and the age of this process."""
    if event["type"] == "token":
        return event
    return {**event, "server_time_utc": iso(now()), "server_uptime_sec": round(uptime(), 3)}


def run_start(
    *,
    topic: str,
    entry_mode: EntryMode,
    thread_id: str,
    invocation_id: str,
    total_phases: int,
    calls_per_phase: int,
    model: str,
    prior_topic: str | None = None,
) -> Event:
    """The first event of a turn, and of each recovery of it."""
    event: Event = {
        "type": "run_start",
        "topic": topic,
        "entry_mode": entry_mode,
        "thread_id": thread_id,
        "invocation_id": invocation_id,
        "total_phases": total_phases,
        "calls_per_phase": calls_per_phase,
        "model": model,
    }
    return event if prior_topic is None else event | {"prior_topic": prior_topic}


def ended(result: TurnResult, *, duration_sec: float, report_url: str | None, prices: Prices | None = None) -> Event:
    """The last event of a turn that did its plan, or wound down."""
    if result.cause is not None:
        return {
            "type": "winding_down",
            "cause": result.cause,
            "completed_phases": result.phases_completed,
            "total_phases": result.total_phases,
            "pending_steering_inputs": 0,
        }
    usage = breakdown(result.spent, prices)
    return {
        "type": "run_complete",
        "phases_completed": result.phases_completed,
        "duration_sec": duration_sec,
        "usage": result.usage,
        "usage_by_role": usage["by_role"],
        "cost": usage["cost"],
        "report_url": report_url,
    }


def run_failed(error: dict[str, str], completed_phases: int) -> Event:
    """The last event of a turn that met an error: all that was done stays, and can be gone on from."""
    return {"type": "run_failed", "error": error, "completed_phases": completed_phases, "resumable": True}


def expected_failure(error: BaseException) -> dict[str, str] | None:
    """`{type, message}` of an error that a run may meet, in words that hold no secret; None for any other."""
    if isinstance(error, ModelFailed):
        return {"type": error.failure.type, "message": error.failure.message}
    if isinstance(error, ModelUnusable):
        return {"type": "ModelUnusable", "message": str(error)}
    return None
