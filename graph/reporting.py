"""The report on the thread's present topic, from its state."""

from __future__ import annotations

from typing import TYPE_CHECKING

from graph.report import Report, ReportMaterial, compose
from graph.topic import findings_of_line
from graph.usage import Spent, spent_of_line

if TYPE_CHECKING:
    from graph.context import Context
    from graph.prices import Prices
    from graph.state import Cause, State

_STOPPED = {
    "steering": "the run was steered to something else before it was done",
    "operator_cancel": "the run was cancelled before it was done",
    "timeout": "the run reached its time limit before it was done",
    "budget": "the run reached its token budget before it was done",
}
UNDER_WAY = "the run is still under way"


def why_partial(cause: Cause | None) -> str | None:
    """Why the report of a turn that was stopped by `cause` is partial, as the end of a sentence."""
    return None if cause is None else _STOPPED[cause]


def report_of(
    state: State,
    context: Context,
    *,
    partial: str | None,
    now: float,
    closing: str = "",
    closing_spent: list[Spent] | None = None,
    prices: Prices | None = None,
) -> Report:
    """The report on what the state holds; `now` is Unix seconds, `closing` the synthesis of a run that ended early."""
    line = state.get("line")
    return compose(
        ReportMaterial(
            topic=state.get("topic", ""),
            plan=state.get("plan", []),
            findings=findings_of_line(state),
            calls_per_phase=context.calls_per_phase,
            sources=state.get("sources", []),
            gaps=[gap for gap in state.get("gaps", []) if gap["line"] == line],
            asked=state.get("asked", []),
            partial=partial,
            now=now,
            closing=closing,
            spent=[*spent_of_line(state), *(closing_spent or [])],
            prices=prices,
        )
    )
