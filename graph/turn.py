"""Drives one turn through the graph: parts of the graph in, the protocol's events out, pauses waited for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, cast

from langgraph.errors import GraphDrained
from langgraph.types import Command

from graph.boundaries import Boundaries
from graph.context import Context, roles
from graph.control import TurnControl
from graph.directive import Directive
from graph.events import Event
from graph.progress import Progress, is_planned, progress_of
from graph.report import Report, markdown_of
from graph.reporting import report_of, why_partial
from graph.seen import Seen
from graph.state import Cause, Input, Output, State, Usage
from graph.topic import findings_of_line, usage_of_turn
from graph.usage import Spent, spent_of_turn

if TYPE_CHECKING:
    from langchain_core.runnables import RunnableConfig
    from langgraph.graph.state import CompiledStateGraph
    from langgraph.types import Interrupt, StateSnapshot

    from graph.prices import Prices


# How often a cooldown is measured anew.
LOOK_SEC: Final = 10.0

# Answers the question that stands behind a phase: {"kind": "review", phase, total, title, text, next}.
Review = Callable[[Mapping[str, Any]], Awaitable[Directive]]


@dataclass(frozen=True)
class TurnResult:
    """How a turn ended. `cause` is None where the whole plan was done; `document` is None without findings.

    `report` is the document as Markdown; `spent` says for what `usage` was.
    """

    cause: Cause | None
    phases_completed: int
    total_phases: int
    usage: Usage
    spent: list[Spent]
    document: Report | None

    @property
    def report(self) -> str:
        return markdown_of(self.document) if self.document else ""


class Turn:
    """One turn on a thread; `run_id` marks its checkpoints, so that a later process finds what this one began.

    `metadata` is kept with each checkpoint as well, for whoever drives the turn.

    Iterate over `events()`, then read `result`. An error of the graph is raised as it is, a drain as `GraphDrained`.
    A steer ends the turn: `steered_by` is what the thread's next turn is to begin with.
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
        review: Review | None = None,
        metadata: Mapping[str, str] | None = None,
        prices: Prices | None = None,
    ) -> None:
        self._graph = graph
        self._run_id = run_id
        kept = {**(metadata or {}), "run_id": run_id}
        self._config: RunnableConfig = {"configurable": {"thread_id": thread_id}, "metadata": kept}
        self._input = input
        self._context = context
        self._control = control
        self._recovers = seen is not None
        self._boundaries = Boundaries(seen or Seen(), len(roles(context.calls_per_phase)))
        self._now = now
        self._review = review
        self.steered_by: Directive | None = None
        self._prices = prices
        self._state = State()
        self._broken_off_by: Cause | None = None

    @property
    def result(self) -> TurnResult:
        """How the turn ended; to be read behind the last event."""
        progress, state = self.progress, self._state
        broken_off = self._broken_off_by is not None
        written = None if broken_off else cast("Report | None", state.get("document"))
        return TurnResult(
            cause=self._broken_off_by or state.get("stop"),
            phases_completed=progress.completed_phases,
            total_phases=progress.total_phases or self._planned_phases,
            usage=usage_of_turn(state) if broken_off else state["usage"],
            spent=(not broken_off and state.get("spent")) or spent_of_turn(state),
            document=written or self.report_so_far(why_partial(self._broken_off_by or state.get("stop"))),
        )

    def report_so_far(self, partial: str | None) -> Report | None:
        """A report of what is committed, which says why it is partial; None where there are no findings."""
        if not findings_of_line(self._state):
            return None
        return report_of(self._state, self._context, partial=partial, now=self._now(), prices=self._prices)

    @property
    def _planned_phases(self) -> int:
        return len(self._context.phase_titles) or self._context.num_phases

    @property
    def progress(self) -> Progress:
        """How far the committed state has come."""
        return progress_of(self._state)

    async def events(self) -> AsyncGenerator[Event, None]:
        """Every event of the turn between its `run_start` and its terminal event, without numbers."""
        newest, committed = await self._checkpoint()
        for event in self._recovered(committed):
            yield event
        if committed and not committed.next:
            return
        question = newest.interrupts[0] if committed and newest.interrupts else None
        step: Input | Command[Any] | None = None if committed else self._input
        while True:
            if question is not None:
                step = Command(resume=(await self._answer(question)).model_dump())
            question = None
            async with aclosing(self._parts(step)) as parts:
                async for kind, data in parts:
                    if kind == "interrupt":
                        question = data
                        continue
                    for event in self._translated(kind, data):
                        yield event
            if question is None:
                return

    async def settle(self, cause: Cause) -> AsyncGenerator[Event, None]:
        """What is committed but not told yet of a turn that was broken off for `cause`; behind it, `result` stands."""
        _, committed = await self._checkpoint()
        self._broken_off_by = cause
        for event in self._recovered(committed):
            yield event

    async def _checkpoint(self) -> tuple[StateSnapshot, StateSnapshot | None]:
        """The thread's newest state; and it as it was committed, where this turn has come to a checkpoint."""
        newest = await self._graph.aget_state(self._config)
        if (newest.metadata or {}).get("run_id") != self._run_id:
            return newest, None
        # By its id, a checkpoint is shown without the writes that wait to be applied to it.
        return newest, await self._graph.aget_state(newest.config)

    def _recovered(self, committed: StateSnapshot | None) -> Iterator[Event]:
        if committed is not None and not is_planned(committed.next):
            committed = None
        if committed is not None:
            self._state = cast(State, committed.values)
        if self._recovers:
            self._recovers = False
            progress = self.progress
            yield {
                "type": "recovered",
                "completed_phases": progress.completed_phases,
                "total_phases": progress.total_phases or self._planned_phases,
                "completed_subcalls": progress.completed_subcalls,
                "in_progress_phase": progress.in_progress_phase,
            }
        if committed is not None:
            yield from self._boundaries.committed(self._state, _checkpoint_id(committed.config), committed.next)

    async def _answer(self, question: Interrupt) -> Directive:
        """What the pending interrupt is answered: a cooldown waits for its end, or for somebody's wish."""
        asked = question.value
        if asked.get("kind") == "review" and self._review is not None and not self._control.pending:
            self._control.request(await self._review(asked))
        if asked.get("kind") == "cooldown":
            await self._rest(asked)
        directive = self._control.take() or Directive()
        if directive.action == "steer":
            # Its events belong to a stream of their own.
            self.steered_by, directive = directive, Directive(action="stop", cause="steering")
        return directive

    async def _rest(self, pause: Mapping[str, Any]) -> None:
        """Waits for a cooldown's end, or for somebody's wish.

        By two clocks, whichever is there first: one may be set back, the other stands still in a suspended machine.
        """
        timer = asyncio.get_running_loop().time
        ends = timer() + pause.get("duration_sec", 0.0)
        while not self._control.pending:
            if self._control.drain_requested:
                raise GraphDrained(self._control.drain_reason or "shutdown")
            rest = min(pause.get("resume_at", 0.0) - self._now(), ends - timer())
            if rest <= 0:
                break
            await self._control.wait(min(rest, LOOK_SEC))

    async def _parts(
        self, step: Input | Command[Any] | None
    ) -> AsyncGenerator[tuple[Literal["custom", "checkpoint", "interrupt"], Any], None]:
        stream = self._graph.astream(
            step,
            self._config,
            context=self._context,
            stream_mode=["custom", "checkpoints", "updates"],
            durability="sync",
            control=self._control,
            version="v2",
        )
        # Whoever stops reading stops the run: left open, it would go on beside the claim that takes the turn up.
        async with aclosing(stream) as parts:  # type: ignore[type-var]  # LangGraph's type hides that it is a generator
            async for part in parts:
                if part["type"] == "custom":
                    yield "custom", part["data"]
                elif part["type"] == "checkpoints":
                    yield "checkpoint", part["data"]
                elif part["type"] == "updates" and (interrupts := part["data"].get("__interrupt__")):
                    yield "interrupt", interrupts[0]

    def _translated(self, kind: str, data: Any) -> Iterator[Event]:
        if kind == "custom":
            yield from self._boundaries.live(data)
        elif is_planned(data["next"]):
            self._state = data["values"]
            yield from self._boundaries.committed(self._state, _checkpoint_id(data["config"]), data["next"])


def _checkpoint_id(config: RunnableConfig | None) -> str:
    return str((config or {}).get("configurable", {}).get("checkpoint_id", ""))
