"""Where the run goes next. Pure functions of the state, so that tables can test them."""

from __future__ import annotations

from typing import Literal

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
    """What follows a subcall; `wanted` tells that somebody waits to steer or stop the run."""
    if state.get("stop"):
        return "report"
    if wanted:
        return "steering"
    return "cooldown" if state.get("cooldown") else next_step(state)


def after_pause(state: State) -> Literal["plan", "phase", "subcall", "report"]:
    """What follows an answered interrupt."""
    if state.get("stop"):
        return "report"
    return "plan" if state.get("message") else next_step(state)
