"""What the state tells of the thread's present topic and turn."""

from __future__ import annotations

from typing import TYPE_CHECKING

from graph.report.parts import split_open
from graph.usage import spent_of_turn, total

if TYPE_CHECKING:
    from graph.state import Finding, State, Usage


def findings_of_line(state: State) -> list[Finding]:
    """The findings on the thread's present topic."""
    return [finding for finding in state.get("findings", []) if finding["line"] == state.get("line")]


def open_questions(state: State) -> list[str]:
    """What the finished phases of the present topic left open, in order."""
    ends = [f["text"] for f in findings_of_line(state) if f["index"] == f.get("of", 0)]
    return [said for text in ends if (said := split_open(text)[0])]


def usage_of_turn(state: State) -> Usage:
    """The tokens that the present turn cost, in and out: its subcalls, and its searches where a model made them."""
    return total(spent_of_turn(state))
