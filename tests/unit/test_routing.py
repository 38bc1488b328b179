"""Where the run goes next, as tables."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from graph.context import Context, Role, roles
from graph.routing import after_pause, after_plan, after_subcall, next_step
from graph.state import Pause, State

PAUSE = Pause(stage="intra_phase", duration_sec=1.0, resume_at=2.0, phase=1, subcall=2)


def at(phase: int, index: int, **more: Any) -> State:
    state: State = {"plan": ["One", "Two"], "phase": phase, "index": index, **more}  # type: ignore[typeddict-item]
    return state


@pytest.mark.parametrize(
    ("state", "step"),
    [
        (at(1, 1), "phase"),
        (at(1, 2), "subcall"),
        (at(2, 1), "phase"),
        (at(2, 9), "subcall"),
        (at(3, 1), "report"),
        (State(plan=[], phase=1, index=1), "report"),
    ],
)
def test_the_next_step_follows_from_the_position(state: State, step: str) -> None:
    assert next_step(state) == step


@pytest.mark.parametrize(("state", "step"), [(at(1, 1), "phase"), (at(2, 2), "phase"), (at(3, 1), "report")])
def test_a_turn_enters_its_phase_anew_even_inside_it(state: State, step: str) -> None:
    assert after_plan(state) == step


@pytest.mark.parametrize(
    ("state", "wanted", "step"),
    [
        (at(1, 2), False, "subcall"),
        (at(2, 1), False, "phase"),
        (at(1, 2, cooldown=None), False, "subcall"),
        (at(1, 2, cooldown=PAUSE), False, "cooldown"),
        (at(2, 1, cooldown=PAUSE), False, "cooldown"),
        (at(1, 2), True, "steering"),
        (at(1, 2, cooldown=PAUSE), True, "steering"),
        (at(3, 1), False, "report"),
        (at(3, 1), True, "steering"),
        (at(3, 1, stop="budget"), True, "report"),
        (at(2, 1, stop="budget"), False, "report"),
    ],
)
def test_behind_a_subcall(state: State, wanted: bool, step: str) -> None:
    assert after_subcall(state, wanted=wanted) == step


@pytest.mark.parametrize(
    ("state", "step"),
    [
        (at(1, 2), "subcall"),
        (at(2, 1), "phase"),
        (at(3, 1), "report"),
        (at(1, 2, message="", stop=None), "subcall"),
        (at(1, 2, message="new"), "plan"),
        (at(1, 2, stop="timeout"), "report"),
        (at(1, 2, stop="steering", message="new"), "report"),
    ],
)
def test_behind_a_pause(state: State, step: str) -> None:
    assert after_pause(state) == step


@pytest.mark.parametrize(
    ("calls", "order"),
    [
        (1, ("research",)),
        (2, ("research", "synthesize")),
        (3, ("research", "critique", "synthesize")),
        (4, ("research", "critique", "refine", "synthesize")),
        (6, ("research", "critique", "refine", "critique", "refine", "synthesize")),
    ],
)
def test_roles(calls: int, order: tuple[Role, ...]) -> None:
    assert roles(calls) == order


@pytest.mark.parametrize("calls", [1, 2, 7, 100])
def test_there_are_as_many_roles_as_calls(calls: int) -> None:
    assert len(roles(calls)) == calls


@pytest.mark.parametrize(
    "wrong",
    [
        {"num_phases": 0},
        {"num_phases": 1001},
        {"calls_per_phase": 0},
        {"calls_per_phase": 101},
        {"target_output_tokens": 15},
        {"intra_phase_cooldown_sec": -1},
        {"inter_phase_cooldown_sec": 86_401},
        {"inter_phase_cooldown_sec": float("nan")},
        {"phase_titles": [""]},
        {"model": "gpt-5"},
        {"unknown": 1},
    ],
)
def test_a_context_out_of_range_is_refused_by_its_field(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        Context(**wrong)
