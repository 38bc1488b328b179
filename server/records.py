"""Invocations and threads as clients see them."""

from __future__ import annotations

from typing import Any

from graph.clock import iso
from server.endings import report_url
from server.invocation import Invocation
from server.owners import public


def record_of(invocation: Invocation, report: str | None = None) -> dict[str, Any]:
    """The record of an invocation; `report` is the Markdown that an ended turn left."""
    return {
        "invocation_id": public(invocation.id),
        "thread_id": public(invocation.thread_id),
        "status": invocation.status,
        "topic": invocation.topic,
        "created_at": iso(invocation.created_at),
        "started_at": _time(invocation.started_at),
        "ended_at": _time(invocation.ended_at),
        "last_event_id": invocation.last_event_id,
        "phases_completed": invocation.phases_completed,
        "total_phases": invocation.total_phases,
        "usage": {"input_tokens": invocation.input_tokens, "output_tokens": invocation.output_tokens},
        "error": invocation.error,
        "superseded_by": invocation.superseded_by and public(invocation.superseded_by),
        "metadata": invocation.metadata,
        "output": {
            "turn": invocation.turn,
            "reply": report,
            "report_url": report_url(invocation.id) if invocation.has_report or not invocation.status.ended else None,
        },
    }


def _time(seconds: float | None) -> str | None:
    return None if seconds is None else iso(seconds)
