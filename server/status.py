"""The states of an invocation, and the one table of what may follow what."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Final


class Status(StrEnum):
    """Where an invocation stands. The last five are ends: nothing follows them."""

    QUEUED = "queued"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    TIMED_OUT = "timed_out"
    SUPERSEDED = "superseded"

    @property
    def ended(self) -> bool:
        """Whether the invocation's stream is over."""
        return not FOLLOWING[self]


_ENDS = frozenset({Status.COMPLETED, Status.FAILED, Status.CANCELLED, Status.TIMED_OUT, Status.SUPERSEDED})

FOLLOWING: Final[Mapping[Status, frozenset[Status]]] = {
    Status.QUEUED: frozenset({Status.RUNNING, Status.CANCELLED, Status.SUPERSEDED}),
    # Back to the queue: its process died, and a later one claims it again.
    Status.RUNNING: _ENDS | {Status.QUEUED},
    **{end: frozenset() for end in _ENDS},
}

# How a turn that winds down ends, by its cause.
ENDED_BY_CAUSE: Final[Mapping[str, Status]] = {
    "steering": Status.SUPERSEDED,
    "operator_cancel": Status.CANCELLED,
    "timeout": Status.TIMED_OUT,
    "budget": Status.TIMED_OUT,
}
