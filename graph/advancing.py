"""Where a run stands behind a subcall, and behind an answered pause."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from graph.state import Finding, Pause, Stage, State
from graph.topic import usage_of_turn

if TYPE_CHECKING:
    from graph.context import Context
    from graph.directive import Directive
    from graph.state import Usage

# The part of a token budget that is kept for the closing synthesis.
KEPT_BACK = 0.1


def advanced(state: State, context: Context, finding: Finding) -> State:
    """The finding, the next subcall's place, and the cooldown or the stop that comes before it."""
    phase, index = state["phase"], state["index"] + 1
    stage: Stage = "intra_phase"
    rest = context.intra_phase_cooldown_sec
    if index > context.calls_per_phase:
        phase, index, stage, rest = phase + 1, 1, "inter_phase", context.inter_phase_cooldown_sec
    pause: Pause | None = None
    if rest > 0 and phase <= len(state["plan"]):
        until = finding["ended_at"] + rest
        pause = Pause(stage=stage, duration_sec=rest, resume_at=until, phase=phase, subcall=index)
    update = State(findings=[finding], phase=phase, index=index, cooldown=pause)
    if context.token_budget is not None and phase <= len(state["plan"]):
        spent, last = tokens(usage_of_turn(state)) + tokens(finding["usage"]), tokens(finding["usage"])
        # The next call costs about as much as the last one did.
        if spent + last > context.token_budget * (1 - KEPT_BACK):
            update["stop"] = "budget"
    return update


def obeyed(directive: Directive) -> State:
    """What an answered pause changes."""
    update = State()
    if directive.action == "stop":
        update["stop"] = directive.cause
    elif directive.action == "steer":
        update |= State(message=directive.message, steering=directive.steering)
    return update


def phase_to_review(state: State) -> dict[str, Any]:
    """What somebody is asked who is to look at the phase that has just ended."""
    plan, phase = state["plan"], state["phase"] - 1
    return {
        "kind": "review",
        "phase": phase,
        "total": len(plan),
        "title": plan[phase - 1],
        "text": state["findings"][-1]["text"],
        "next": plan[phase] if phase < len(plan) else None,
    }


def tokens(usage: Usage) -> int:
    """Tokens in and out."""
    return usage["input_tokens"] + usage["output_tokens"]
