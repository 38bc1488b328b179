"""How a call of `research` begins: with a new turn on the thread, or with the one that was left unfinished."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, cast

from pydantic import TypeAdapter

from graph.beginning import TopicMissing
from graph.boundaries import Boundaries
from graph.context import Context, roles
from graph.events import TERMINAL, Event
from graph.plan import plan_titles
from graph.progress import is_planned
from graph.seen import Seen
from graph.state import Input, Output, State, Steering
from graph.turn_events import EntryMode, run_start

if TYPE_CHECKING:
    from langgraph.graph.state import CompiledStateGraph
    from langgraph.types import StateSnapshot

CONTEXT = "context"
_CONTEXTS = TypeAdapter(Context)


@dataclass(frozen=True)
class Asked:
    """What a caller wants of a thread; a `message` of None goes on with what is unfinished.

    `run_id` is what a new turn is to be called.
    """

    thread_id: str
    message: str | None
    steering: Steering
    context: Context | None
    run_id: str
    behind: tuple[Event, ...] = ()


@dataclass(frozen=True)
class Opening:
    """Where a turn begins, or goes on: `shown` is the last number that its stream has, `seen` None for a new turn.

    `began` is when the turn did, in Unix seconds.
    """

    run_id: str
    input: Input
    context: Context
    run_start: Event
    began: float
    seen: Seen | None = None
    shown: int = 0

    @property
    def metadata(self) -> dict[str, str]:
        """What is kept with the turn's checkpoints, so that it goes on as it began."""
        return {CONTEXT: _CONTEXTS.dump_json(self.context).decode()}


async def open_turn(graph: CompiledStateGraph[State, Context, Input, Output], asked: Asked, *, now: float) -> Opening:
    """Finds out what the thread is to do. Raises `TopicMissing`, and `ValueError` where `behind` does not fit."""
    snapshot = await graph.aget_state({"configurable": {"thread_id": asked.thread_id}})
    stream = _last_stream(asked)
    if stream and stream[-1]["type"] in TERMINAL:
        if stream[-1]["type"] == "run_failed" and snapshot.values.get("line") and _means(snapshot, stream, asked):
            asked = replace(asked, message=None, steering="resume")
            return _new_turn(snapshot, asked, now)
        stream = []
    run_id = _unfinished(snapshot, stream)
    if run_id is not None and _means(snapshot, stream, asked):
        # By its id, a checkpoint is shown without the writes that wait to be applied to it.
        committed = await graph.aget_state(snapshot.config) if _run_id(snapshot) == run_id else None
        return _recovery(snapshot, committed, stream, asked, run_id, now)
    return _new_turn(snapshot, asked, now)


def _last_stream(asked: Asked) -> list[Event]:
    """The events of `behind` that belong to its last turn. Raises `ValueError` for another thread's."""
    events = list(asked.behind)
    first = max((at for at, event in enumerate(events) if event["sequence_number"] == 1), default=0)
    stream = events[first:]
    if stream and (stream[0]["type"] != "run_start" or stream[0]["thread_id"] != asked.thread_id):
        raise ValueError(f"behind: these are not the events of a turn on thread {asked.thread_id}, from its first on")
    return stream


def _unfinished(snapshot: StateSnapshot, stream: list[Event]) -> str | None:
    """The run that is to be gone on with, where there is one."""
    run_id = _run_id(snapshot) if snapshot.next else None
    if not stream:
        return run_id
    told = str(stream[0]["invocation_id"])
    if run_id is not None and run_id != told:
        raise ValueError(f"behind: turn {told} is not the one that is under way on the thread, which is {run_id}")
    return told


def _means(snapshot: StateSnapshot, stream: list[Event], asked: Asked) -> bool:
    """Whether what is asked is what the unfinished turn was asked, so that it is meant."""
    if asked.message is None or "__start__" in snapshot.next:
        return True
    state = cast(State, snapshot.values)
    turn = state.get("turn")
    known = {state.get("message"), *(entry["message"] for entry in state.get("asked", []) if entry["turn"] == turn)}
    known |= {event["topic"] for event in stream[:1]}
    return asked.message.strip() in known


def _recovery(
    snapshot: StateSnapshot,
    committed: StateSnapshot | None,
    stream: list[Event],
    asked: Asked,
    run_id: str,
    now: float,
) -> Opening:
    state = cast(State, committed.values if committed and is_planned(committed.next) else {})
    stored = str((snapshot.metadata or {}).get(CONTEXT, "")) if committed else ""
    context = asked.context or (_CONTEXTS.validate_json(stored) if stored else Context())
    told = stream[0] if stream else {}
    topic = state.get("topic") or told.get("topic") or asked.message or _waiting(snapshot)
    start = _run_start(topic, "recovered", run_id, asked.thread_id, context, len(state.get("plan", [])))
    return Opening(
        run_id,
        Input(message=asked.message or topic, steering=asked.steering),
        context,
        start | {"prior_topic": told["prior_topic"]} if "prior_topic" in told else start,
        began=state["asked"][-1]["at"] if state.get("asked") else now,
        seen=_seen(stream, state, context),
        shown=stream[-1]["sequence_number"] if stream else 0,
    )


def _seen(stream: Iterable[Event], state: State, context: Context) -> Seen:
    """What need not be told again: the events that the caller has, else all that is committed."""
    seen = Seen()
    for event in stream:
        seen.note(event)
    if not seen.keys and state:
        # With nothing to follow, a cooldown that is under way is told again.
        for _ in Boundaries(seen, len(roles(context.calls_per_phase))).committed(state, "", ()):
            pass
    return seen


def _new_turn(snapshot: StateSnapshot, asked: Asked, now: float) -> Opening:
    state = cast(State, snapshot.values)
    message = (asked.message or "").strip()
    old_topic = state.get("topic")
    on_old = asked.steering != "new_topic" and bool(state.get("line"))
    if not message and not (on_old and asked.steering == "resume"):
        raise TopicMissing(TopicMissing.__doc__)
    context = asked.context or Context()
    topic, phases = (old_topic or message, len(state["plan"])) if on_old else (message, 0)
    mode: EntryMode = "resumed" if state.get("turn") else "fresh"
    start = _run_start(topic, mode, asked.run_id, asked.thread_id, context, phases)
    if old_topic:
        start["prior_topic"] = old_topic
    return Opening(asked.run_id, Input(message=message, steering=asked.steering), context, start, began=now)


def _run_start(topic: str, mode: EntryMode, run_id: str, thread_id: str, context: Context, phases: int) -> Event:
    return run_start(
        topic=topic,
        entry_mode=mode,
        thread_id=thread_id,
        invocation_id=run_id,
        total_phases=phases or len(plan_titles(context)),
        calls_per_phase=context.calls_per_phase,
        model=context.model,
    )


def _waiting(snapshot: StateSnapshot) -> str:
    values: dict[str, Any] = snapshot.values
    return str(values.get("message") or values.get("topic") or "")


def _run_id(snapshot: StateSnapshot) -> str | None:
    run_id = (snapshot.metadata or {}).get("run_id")
    return None if run_id is None else str(run_id)
