"""The names under which an event may stand only once in a stream."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

Event = dict[str, Any]

TERMINAL: Final = frozenset({"run_complete", "winding_down", "run_failed"})

_PARTS: Final[Mapping[str, tuple[str, ...]]] = {
    "phase_start": ("phase",),
    "phase_end": ("phase",),
    "sources": ("phase",),
    "subcall_start": ("phase", "index", "attempt"),
    "subcall_end": ("phase", "index"),
    "cooldown": ("stage", "phase", "subcall"),
}


def boundary_key(event: Mapping[str, Any]) -> str | None:
    """The event's unique key within its stream, as `subcall_end:3:2`; None for those that may come again."""
    kind = event["type"]
    if kind in TERMINAL:
        return "terminal"
    parts = _PARTS.get(kind)
    return None if parts is None else ":".join([kind, *(str(event.get(part, "")) for part in parts)])
