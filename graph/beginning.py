"""How a turn begins: a new topic from phase 1, or the old one from where it is."""

from __future__ import annotations

from graph.context import Context
from graph.plan import plan_titles
from graph.state import Asked, State, Usage


class TopicMissing(ValueError):
    """A turn needs a topic: give `topic`, or a `message`."""


def begun(state: State, context: Context, now: float) -> State:
    """The state of the turn that begins `now` (Unix seconds). Raises `TopicMissing`."""
    turn = state.get("turn", 0) + 1
    message = state.get("message", "").strip()
    if state.get("steering", "new_topic") != "new_topic" and state.get("line"):
        return _gone_on(state, context, turn, message, now)
    topic = message or state.get("topic", "").strip()
    if not topic:
        raise TopicMissing(TopicMissing.__doc__)
    line = state.get("line", 0) + 1
    asked = Asked(turn=turn, line=line, steering="new_topic", message=topic, topic=topic, at=now)
    return _turn(line, turn, asked) | State(topic=topic, plan=plan_titles(context), phase=1, index=1)


def _gone_on(state: State, context: Context, turn: int, message: str, now: float) -> State:
    steering, topic = state["steering"], state["topic"]
    asked = Asked(turn=turn, line=state["line"], steering=steering, message=message, topic=topic, at=now)
    phase, index, total = state["phase"], state["index"], len(state["plan"])
    if index > context.calls_per_phase:
        phase, index = phase + 1, 1
    if phase > total and steering == "guidance":
        # All was done: what is said now is taken up by the phases that synthesize.
        phase = max(1, total - 1)
    return _turn(state["line"], turn, asked) | State(phase=phase, index=index)


def _turn(line: int, turn: int, asked: Asked) -> State:
    return State(
        line=line,
        turn=turn,
        asked=[asked],
        message="",
        steering="new_topic",
        report="",
        document={},
        spent=[],
        usage=Usage(input_tokens=0, output_tokens=0),
        cooldown=None,
        stop=None,
    )
