"""An invocation as it is stored, and its id."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from server.status import Status


def new_invocation_id(now: float) -> str:
    """`inv_` and 32 hex digits that sort by time: 48 bits of milliseconds, 80 random ones. `now` is Unix seconds."""
    return f"inv_{int(now * 1000):012x}{secrets.token_hex(10)}"


def new_thread_id() -> str:
    """The id of a thread that its client did not name."""
    return f"thread_{secrets.token_hex(16)}"


@dataclass(frozen=True)
class Invocation:
    """One turn on a thread. `n` is its place in the order of arrival; times are Unix seconds.

    `config` is the whole `graph.context.Context` as JSON types, fixed when the turn was accepted.
    `epoch` counts its claims: what an older claim still wants to write is refused.
    """

    n: int
    id: str
    thread_id: str
    status: Status
    message: str
    topic: str
    steering: str
    multitask_strategy: str
    config: dict[str, Any]
    metadata: dict[str, Any]
    created_at: float
    started_at: float | None = None
    ended_at: float | None = None
    epoch: int = 0
    last_event_id: int = 0
    phases_completed: int = 0
    total_phases: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    error: dict[str, Any] | None = None
    superseded_by: str | None = None
    prior_topic: str | None = None
    turn: int = 1
