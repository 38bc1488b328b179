"""Where the run goes next. Pure functions of the state, so that tables can test them."""

from __future__ import annotations

from typing import Literal

from graph.context import Context
from graph.state import State

Step = Literal["phase", "subcall", "report"]


def next_step(state: State) -> Step:
    """The next piece of work by the state's position alone."""
    if state["phase"] > len(state["plan"]):
        return "report"
    return "phase" if state["index"] == 1 else "subcall"


def after_plan(state: State) -> Literal["phase", "report"]:
    """A turn enters its phase anew even in the middle of it: its sources are searched in the light of what was said."""
    return "report" if next_step(state) == "report" else "phase"


def after_subcall(state: State, *, wanted: bool) -> Literal["cooldown", "steering", "phase", "subcall", "report"]:
    """What follows a subcall; `wanted` tells that somebody waits to steer, stop or review the run."""
    if state.get("stop"):
        return "report"
    if wanted:
        return "steering"
    return "cooldown" if state.get("cooldown") else next_step(state)


def review_due(state: State, context: Context) -> bool:
    """Whether somebody is to look at the phase that has just ended, behind its last subcall."""
    return context.review == "phase" and state["index"] == 1


def after_pause(state: State) -> Literal["cooldown", "plan", "phase", "subcall", "report"]:
    """What follows an answered interrupt; a rest that was due behind it is still due."""
    if state.get("stop"):
        return "report"
    if state.get("message"):
        return "plan"
    return "cooldown" if state.get("cooldown") else next_step(state)
