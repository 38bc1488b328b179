"""How far the research of a thread has come, by its committed state."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from graph.state import State
from graph.topic import findings_of_line


@dataclass(frozen=True)
class Progress:
    """How far a thread's present topic has come."""

    completed_phases: int
    total_phases: int
    completed_subcalls: int
    in_progress_phase: int | None


def progress_of(state: State) -> Progress:
    """How far the thread's present topic has come, by its committed state; zeros where it has none."""
    total = len(state.get("plan", []))
    phase = state.get("phase", 1)
    return Progress(
        completed_phases=min(phase - 1, total),
        total_phases=total,
        completed_subcalls=len(findings_of_line(state)),
        in_progress_phase=phase if phase <= total else None,
    )


def is_planned(following: Collection[str]) -> bool:
    """Whether a checkpoint shows the turn's own state: before its plan is made, it shows the last turn's."""
    return not {"__start__", "plan"} & set(following)
