"""What one subcall is told, from the state."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from graph.context import roles
from graph.digest import cut, digest
from graph.plan import focus_of
from graph.prompts import SubcallRequest
from graph.search.queries import Queries, planned
from graph.state import State
from graph.topic import findings_of_line, open_questions

if TYPE_CHECKING:
    from graph.context import Context

EARLIER_TOPIC_TOKENS = 400


def request_of(state: State, context: Context) -> SubcallRequest:
    """What the subcall that comes next is told."""
    phase, index, line = state["phase"], state["index"], state["line"]
    findings = findings_of_line(state)
    title = state["plan"][phase - 1]
    here = [entry for entry in state["sources"] if entry["line"] == line and entry["phase"] == phase]
    order = roles(context.calls_per_phase)
    return SubcallRequest(
        topic=state["topic"],
        phase=phase,
        total=len(state["plan"]),
        title=title,
        focus=focus_of(title),
        role=order[index - 1],
        index=index,
        of=len(order),
        target_output_tokens=context.target_output_tokens,
        excerpts=here[-1]["items"] if here else [],
        drafts=[finding for finding in findings if finding["phase"] == phase and finding["index"] < index],
        notes=digest(state["plan"], findings, phase),
        guidance=_guidance(state),
        earlier_topics=_earlier_topics(state),
    )


def closing_request(state: State, context: Context, tokens: int) -> SubcallRequest:
    """What a closing synthesis is told: all phases in `tokens` tokens, and as many to answer in."""
    findings = findings_of_line(state)
    reached = min(state["phase"], len(state["plan"]))
    return replace(
        request_of(State(**{**state, "phase": reached}), context),
        target_output_tokens=max(16, min(context.target_output_tokens, tokens)),
        excerpts=[],
        drafts=[],
        notes=digest(state["plan"], findings, len(state["plan"]) + 1, budget_tokens=tokens),
    )


def queries_of(state: State) -> Queries:
    """What the searches of the present phase are asked."""
    title = state["plan"][state["phase"] - 1]
    return planned(
        state["topic"],
        title,
        focus_of(title),
        asked=[asked["message"] for asked in state["asked"] if asked["line"] == state["line"]],
        guidance=_guidance(state),
        open_=open_questions(state),
    )


def _guidance(state: State) -> list[str]:
    return [
        asked["message"]
        for asked in state["asked"]
        if asked["line"] == state["line"] and asked["steering"] == "guidance"
    ]


def _earlier_topics(state: State) -> list[str]:
    """The thread's earlier topics, the last two with what was found on them."""
    earlier = [a for a in state["asked"] if a["line"] < state["line"] and a["steering"] == "new_topic"]
    told = []
    for asked in earlier[-2:]:
        texts = [f["text"] for f in state.get("findings", []) if f["line"] == asked["line"] and f["role"] != "critique"]
        told.append(f"{asked['topic']}\n{cut(texts[-1], EARLIER_TOPIC_TOKENS)}" if texts else asked["topic"])
    return [asked["topic"] for asked in earlier[:-2]] + told
