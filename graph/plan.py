"""The built-in plan of research, and how it is made shorter or longer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from graph.context import Context

# How many phases at the end of every plan synthesize what the others found.
SYNTHESIS_PHASES = 2


@dataclass(frozen=True)
class PlannedPhase:
    """A phase of the plan: its title, and one sentence on what it finds out (prompt text and search words)."""

    title: str
    focus: str


PLAN: tuple[PlannedPhase, ...] = (
    PlannedPhase("Decomposing the topic", "Which questions the topic consists of, and which terms need defining."),
    PlannedPhase("Background and history", "How the subject arose, and which events and ideas shaped it."),
    PlannedPhase("Current state", "What is known and done today, and how widely."),
    PlannedPhase("Actors and interests", "Who is involved or affected, and what each of them wants."),
    PlannedPhase("Mechanisms and causes", "How it works, and what causes the effects that are observed."),
    PlannedPhase("Evidence and data", "Which measurements and studies support the claims, and how strongly."),
    PlannedPhase("Cases and examples", "What happened in concrete cases, successes as well as failures."),
    PlannedPhase("Competing views", "Where experts and sources disagree, and what each side argues."),
    PlannedPhase("Alternatives compared", "Which other approaches exist, and how they compare."),
    PlannedPhase("Costs and benefits", "What it costs and what it gains, for whom, and over what time."),
    PlannedPhase("Risks and limits", "What can go wrong, under which conditions it fails, and what remains uncertain."),
    PlannedPhase("Rules and ethics", "Which laws, standards and ethical questions apply."),
    PlannedPhase("Trends and outlook", "How the subject is changing, and what is expected of the coming years."),
    PlannedPhase("Synthesis of the findings", "What all findings say together, and where they conflict."),
    PlannedPhase("Recommendations", "Which concrete actions should follow from the findings, in order of priority."),
)

_MIDDLE = PLAN[:-SYNTHESIS_PHASES]
_LAST = tuple(phase.title for phase in PLAN[-SYNTHESIS_PHASES:])
_FOCUS = {phase.title: phase.focus for phase in PLAN}
# The middle phases by weight: a short plan keeps the first of these.
_BY_WEIGHT = (0, 5, 2, 10, 7, 8, 4, 9, 1, 6, 12, 3, 11)
_LOOKS = ("second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth")


def plan_titles(context: Context) -> list[str]:
    """The titles of the phases to do, in order: the context's own, or `num_phases` of the built-in plan."""
    if context.phase_titles:
        return list(context.phase_titles)
    middle = context.num_phases - SYNTHESIS_PHASES
    if middle < 0:
        return list(_LAST[-context.num_phases :])
    rounds, rest = divmod(middle, len(_MIDDLE))
    whole = [title for look in range(rounds) for title in _looked_at(len(_MIDDLE), look)]
    return [*whole, *_looked_at(rest, rounds), *_LAST]


def focus_of(title: str) -> str:
    """What the phase called `title` finds out: one sentence, a general one where the title is not built in."""
    first, _, look = title.rpartition(", ")
    if title not in _FOCUS and first in _FOCUS and "look" in look.split():
        return f"{_FOCUS[first]} Looks for what the earlier looks left open."
    return _FOCUS.get(title, f"What is known about {title}, and what supports it.")


def _looked_at(count: int, look: int) -> list[str]:
    chosen = sorted(_BY_WEIGHT[:count])
    suffix = f", {_look_name(look)}" if look else ""
    return [_MIDDLE[i].title + suffix for i in chosen]


def _look_name(look: int) -> str:
    """The name of look number `look`, counted from 0 for the first."""
    return f"{_LOOKS[look - 1]} look" if look <= len(_LOOKS) else f"look {look + 1}"
