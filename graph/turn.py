"""Drives one turn through the graph: parts of the graph in, the protocol's events out, pauses waited for.

Boundary events are made from what is committed alone, so that the same code heals what a crash left unsaid.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, cast

from langgraph.errors import GraphDrained
from langgraph.types import Command

from graph.clock import iso
from graph.context import Context, roles
from graph.control import TurnControl
from graph.directive import Directive
from graph.events import Event
from graph.nodes import findings_of_line, usage_of
from graph.seen import Seen
from graph.state import Cause, Finding, Input, Output, Pause, SourceList, State, Usage

if TYPE_CHECKING:
    from langchain_core.runnables import RunnableConfig
    from langgraph.graph.state import CompiledStateGraph
    from langgraph.types import Interrupt, StateSnapshot


@dataclass(frozen=True)
class TurnResult:
    """How a turn ended. `cause` is None where the whole plan was done; `report` is Markdown, empty without findings."""

    cause: Cause | None
    phases_completed: int
    total_phases: int
    usage: Usage
    report: str


@dataclass(frozen=True)
class Progress:
    """How far a thread's present topic has come."""

    completed_phases: int
    total_phases: int
    completed_subcalls: int
    in_progress_phase: int | None


class Turn:
    """One turn on a thread; `run_id` marks its checkpoints, so that a later process finds what this one began.

    Iterate over `events()`, then read `result`. An error of the graph is raised as it is, a drain as `GraphDrained`.
    """

    def __init__(
        self,
        graph: CompiledStateGraph[State, Context, Input, Output],
        *,
        thread_id: str,
        run_id: str,
        input: Input,
        context: Context,
        control: TurnControl,
        seen: Seen | None,
        now: Callable[[], float],
    ) -> None:
        self._graph = graph
        self._run_id = run_id
        self._config: RunnableConfig = {"configurable": {"thread_id": thread_id}, "metadata": {"run_id": run_id}}
        self._input = input
        self._context = context
        self._control = control
        self._recovers = seen is not None
        self._seen = seen or Seen()
        self._now = now
        self._state = State()
        self._findings = 0
        self._sources = 0

    @property
    def result(self) -> TurnResult:
        """How the turn ended; to be read behind the last event."""
        progress = self.progress
        return TurnResult(
            cause=self._state.get("stop"),
            phases_completed=progress.completed_phases,
            total_phases=progress.total_phases,
            usage=self.usage,
            report=self._state.get("report", ""),
        )

    @property
    def usage(self) -> Usage:
        """The tokens of this turn's committed subcalls."""
        turn = self._state.get("turn")
        return usage_of([finding for finding in self._state.get("findings", []) if finding["turn"] == turn])

    @property
    def progress(self) -> Progress:
        """How far the committed state has come."""
        return progress_of(self._state)

    async def events(self) -> AsyncIterator[Event]:
        """Every event of the turn between its `run_start` and its terminal event, without numbers."""
        snapshot = await self._graph.aget_state(self._config)
        begun = (snapshot.metadata or {}).get("run_id") == self._run_id
        for event in self._recovered(snapshot, begun=begun):
            yield event
        if begun and not snapshot.next:
            return
        question = snapshot.interrupts[0] if begun and snapshot.interrupts else None
        step: Input | Command[Any] | None = None if begun else self._input
        while True:
            if question is not None:
                step = Command(resume=(await self._answer(question)).model_dump())
            question = None
            async for kind, data in self._parts(step):
                if kind == "interrupt":
                    question = data
                    continue
                for event in self._translated(kind, data):
                    yield event
            if question is None:
                return

    def _recovered(self, snapshot: StateSnapshot, *, begun: bool) -> Iterator[Event]:
        planned = begun and _planned(snapshot.next)
        if planned:
            self._state = cast(State, snapshot.values)
        if self._recovers:
            progress = self.progress
            yield {
                "type": "recovered",
                "completed_phases": progress.completed_phases,
                "total_phases": progress.total_phases or len(self._context.phase_titles) or self._context.num_phases,
                "completed_subcalls": progress.completed_subcalls,
                "in_progress_phase": progress.in_progress_phase,
            }
        if planned:
            yield from self._committed(cast(State, snapshot.values), _checkpoint_id(snapshot.config), snapshot.next)

    async def _answer(self, question: Interrupt) -> Directive:
        """What the pending interrupt is answered: a cooldown waits for its end, or for somebody's wish."""
        asked = question.value
        while asked.get("kind") == "cooldown" and not self._control.pending:
            if self._control.drain_requested:
                raise GraphDrained(self._control.drain_reason or "shutdown")
            rest = asked.get("resume_at", 0.0) - self._now()
            if rest <= 0:
                break
            await self._control.wait(rest)
        return self._control.take() or Directive()

    async def _parts(
        self, step: Input | Command[Any] | None
    ) -> AsyncIterator[tuple[Literal["custom", "checkpoint", "interrupt"], Any]]:
        async for part in self._graph.astream(
            step,
            self._config,
            context=self._context,
            stream_mode=["custom", "checkpoints", "updates"],
            durability="sync",
            control=self._control,
            version="v2",
        ):
            if part["type"] == "custom":
                yield "custom", part["data"]
            elif part["type"] == "checkpoints":
                yield "checkpoint", part["data"]
            elif part["type"] == "updates" and (interrupts := part["data"].get("__interrupt__")):
                yield "interrupt", interrupts[0]

    def _translated(self, kind: str, data: Any) -> Iterator[Event]:
        if kind == "checkpoint":
            if _planned(data["next"]):
                yield from self._committed(data["values"], _checkpoint_id(data["config"]), data["next"])
            return
        event: Event = data
        if event["type"] == "subcall_start":
            event = {**event, "attempt": self._seen.next_attempt(event["phase"], event["index"])}
        elif event["type"] == "retrying":
            event = {**event, "attempt": self._seen.attempt}
        yield from self._once(event)

    def _once(self, event: Event) -> Iterator[Event]:
        if not self._seen.knows(event):
            self._seen.note(event)
            yield event

    def _committed(self, state: State, checkpoint_id: str, following: Collection[str]) -> Iterator[Event]:
        """The boundary events that the committed state implies and the stream does not show yet."""
        self._state = state
        turn = state.get("turn")
        sources, findings = state.get("sources", []), state.get("findings", [])
        entered = [entry for entry in sources[self._sources :] if entry["turn"] == turn]
        finished = [finding for finding in findings[self._findings :] if finding["turn"] == turn]
        self._sources, self._findings = len(sources), len(findings)
        for finding in finished:
            while entered and entered[0]["phase"] <= finding["phase"]:
                yield from self._phase_entered(entered.pop(0))
            yield from self._subcall_ended(finding, checkpoint_id)
        for entry in entered:
            yield from self._phase_entered(entry)
        if "cooldown" in following and (pause := state.get("cooldown")):
            yield from self._once(_cooldown_event(pause, len(state["plan"]), len(roles(self._context.calls_per_phase))))

    def _phase_entered(self, entry: SourceList) -> Iterator[Event]:
        phase, plan = entry["phase"], self._state["plan"]
        yield from self._once({"type": "phase_start", "phase": phase, "total": len(plan), "title": plan[phase - 1]})
        if entry["items"]:
            yield from self._once({"type": "sources", "phase": phase, "items": entry["items"]})

    def _subcall_ended(self, finding: Finding, checkpoint_id: str) -> Iterator[Event]:
        phase, index = finding["phase"], finding["index"]
        of = len(roles(self._context.calls_per_phase))
        where = {"phase": phase, "role": finding["role"], "index": index, "of": of}
        end: Event = {"type": "subcall_end", **where}
        if self._seen.knows(end):
            return
        yield from self._text_completed(finding, where)
        end |= {
            "attempt": self._seen.attempt,
            "duration_sec": round(finding["ended_at"] - finding["started_at"], 3),
            "usage": finding["usage"],
            "checkpoint_id": checkpoint_id,
        }
        yield from self._once(end)
        if index == of:
            yield from self._once(
                {
                    "type": "phase_end",
                    "phase": phase,
                    "total": len(self._state["plan"]),
                    "title": self._state["plan"][phase - 1],
                    "duration_sec": round(finding["ended_at"] - finding["phase_started_at"], 3),
                }
            )

    def _text_completed(self, finding: Finding, where: Event) -> Iterator[Event]:
        """What of a committed subcall's text the stream does not show: a crash may come between the two writes."""
        phase, index, text = finding["phase"], finding["index"], finding["text"]
        shown = "".join(self._seen.text)
        if self._seen.subcall != (phase, index) or not text.startswith(shown):
            shown = ""
            attempt = self._seen.next_attempt(phase, index)
            yield from self._once({"type": "subcall_start", **where, "attempt": attempt})
        if rest := text[len(shown) :]:
            yield from self._once({"type": "token", "content": rest, "phase": phase, "index": index})


def progress_of(state: State) -> Progress:
    """How far the thread's present topic has come, by its committed state; zeros where it has none."""
    total = len(state.get("plan", []))
    phase = state.get("phase", 1)
    return Progress(
        completed_phases=min(phase - 1, total),
        total_phases=total,
        completed_subcalls=len(findings_of_line(state)),
        in_progress_phase=phase if phase <= total else None,
    )


def _planned(following: Collection[str]) -> bool:
    """Whether a checkpoint shows the turn's own state: before its plan is made, it shows the last turn's."""
    return not {"__start__", "plan"} & set(following)


def _checkpoint_id(config: RunnableConfig | None) -> str:
    return str((config or {}).get("configurable", {}).get("checkpoint_id", ""))


def _cooldown_event(pause: Pause, total: int, of: int) -> Event:
    event: Event = {
        "type": "cooldown",
        "duration_sec": pause["duration_sec"],
        "stage": pause["stage"],
        "phase": pause["phase"],
        "total": total,
        "resume_at": iso(pause["resume_at"]),
    }
    return event | {"subcall": pause["subcall"], "of": of} if pause["stage"] == "intra_phase" else event
