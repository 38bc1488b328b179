from __future__ import annotations

import pytest

from graph.context import Context
from graph.plan import PLAN, focus_of, plan_titles

BUILT_IN = [phase.title for phase in PLAN]


def test_the_built_in_plan_has_15_phases_and_ends_with_synthesis() -> None:
    assert plan_titles(Context()) == BUILT_IN
    assert len(BUILT_IN) == 15
    assert BUILT_IN[-2:] == ["Synthesis of the findings", "Recommendations"]


@pytest.mark.parametrize("number", range(1, 15))
def test_a_shorter_plan_is_a_selection_in_order(number: int) -> None:
    titles = plan_titles(Context(num_phases=number))
    assert len(titles) == number
    assert titles == [title for title in BUILT_IN if title in titles]
    assert titles[-2:] == BUILT_IN[-2:][-number:]


@pytest.mark.parametrize("number", [16, 28, 29, 41, 150, 1000])
def test_a_longer_plan_looks_again_under_distinct_titles(number: int) -> None:
    titles = plan_titles(Context(num_phases=number))
    assert len(titles) == len(set(titles)) == number
    assert titles[:13] == BUILT_IN[:13]
    assert titles[13] == "Decomposing the topic, second look"
    assert titles[-2:] == BUILT_IN[-2:]


def test_the_looks_are_counted() -> None:
    titles = plan_titles(Context(num_phases=13 * 12 + 2))
    assert [title for title in titles if title.startswith("Current state")][::5] == [
        "Current state",
        "Current state, sixth look",
        "Current state, look 11",
    ]


def test_own_titles_replace_the_plan_and_its_number() -> None:
    assert plan_titles(Context(num_phases=3, phase_titles=("One", "Two"))) == ["One", "Two"]


@pytest.mark.parametrize("title", plan_titles(Context(num_phases=200)))
def test_every_planned_phase_has_a_focus_of_its_own(title: str) -> None:
    focus = focus_of(title)
    assert focus.endswith(".")
    assert any(focus.startswith(phase.focus) for phase in PLAN if title.startswith(phase.title))


def test_an_own_title_has_a_general_focus() -> None:
    assert focus_of("Costs and benefits, in Peru") == (
        "What is known about Costs and benefits, in Peru, and what supports it."
    )
