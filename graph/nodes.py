"""The nodes: each reads the state, calls one port, returns an update. Made by `Nodes` so that ports are passed in."""

from __future__ import annotations

import asyncio
import time
from typing import Any, cast

from langgraph.runtime import Runtime
from langgraph.types import interrupt

from graph.advancing import advanced, obeyed, phase_to_review, tokens
from graph.asking import ask
from graph.beginning import begun
from graph.context import Context, roles, settled
from graph.control import is_pending
from graph.digest import count_tokens
from graph.directive import Directive
from graph.failure import ModelFailed
from graph.model_call import Answer
from graph.numbering import gaps_of, source_list
from graph.ports import Ports
from graph.prompts import closing_messages, subcall_messages
from graph.report import markdown_of
from graph.reporting import report_of, why_partial
from graph.requesting import closing_request, queries_of, request_of
from graph.routing import review_due
from graph.search.engine import Progress
from graph.state import Finding, State
from graph.subcall_events import Silent, SubcallEvents
from graph.topic import findings_of_line, usage_of_turn
from graph.usage import CLOSING, Spent, spent_of_turn, total

INDEXING_EVERY_SEC = 0.5


class Nodes:
    """The six nodes of the graph over one set of ports."""

    def __init__(self, ports: Ports) -> None:
        self._ports = ports

    async def plan(self, state: State, runtime: Runtime[Context]) -> State:
        """Begins a turn: a new topic from phase 1, or the old one from where it is."""
        return begun(state, settled(runtime.context), self._ports.now())

    async def phase(self, state: State, runtime: Runtime[Context]) -> State:
        """Begins a phase: searches its sources, numbered over the whole thread."""
        phase, total_phases = state["phase"], len(state["plan"])
        title = state["plan"][phase - 1]
        runtime.stream_writer({"type": "phase_start", "phase": phase, "total": total_phases, "title": title})
        started = self._ports.now()
        own, progress = settled(runtime.context).documents, _indexing(runtime, phase)
        found = await self._ports.searcher.search(queries_of(state), phase, progress, own)
        return State(
            sources=[source_list(state, found)], gaps=gaps_of(state, found), phase_started_at=started, cooldown=None
        )

    async def subcall(self, state: State, runtime: Runtime[Context]) -> State:
        """One model call, the unit that is checkpointed; its update says where the run stands behind it."""
        context = settled(runtime.context)
        of = roles(context.calls_per_phase)
        role = of[state["index"] - 1]
        events = SubcallEvents(runtime, state["phase"], state["index"], role, len(of))
        started = self._ports.now()
        line = self._ports.line(role, context.model_of(role))
        answer = await ask(self._ports, line, request_of(state, context), subcall_messages, events)
        finding = Finding(
            line=state["line"],
            turn=state["turn"],
            phase=state["phase"],
            index=state["index"],
            of=len(of),
            role=role,
            text=answer.text,
            model=line.name,
            usage=answer.usage,
            phase_started_at=state["phase_started_at"],
            started_at=started,
            ended_at=self._ports.now(),
        )
        return advanced(state, context, finding)

    async def cooldown(self, state: State) -> State:
        """Rests: whoever drives the graph answers when the time has come, or earlier."""
        pause = state.get("cooldown")
        question = {"kind": "cooldown", **pause} if pause else {"kind": "cooldown"}
        return State(cooldown=None) | obeyed(interrupt(question, response_schema=Directive))

    async def steering(self, state: State, runtime: Runtime[Context]) -> State:
        """Asks whoever wanted the run's attention, or is to review its phases, what to do."""
        question: dict[str, Any]
        question = {"kind": "steering", "phase": state["phase"], "total": len(state["plan"]), "index": state["index"]}
        if review_due(state, settled(runtime.context)) and not is_pending(runtime.control):
            question = phase_to_review(state)
        return obeyed(interrupt(question, response_schema=Directive))

    async def report(self, state: State, runtime: Runtime[Context]) -> State:
        """Writes the report of what there is; a turn that stopped with nothing leaves none."""
        context, stop = settled(runtime.context), state.get("stop")
        closing = await self._closing(state, context) if stop == "budget" else None
        extra = [_closing_spent(closing, context.model_of("synthesize"))] if closing else []
        spent = [*spent_of_turn(state), *extra]
        update = State(report="", document={}, spent=spent, usage=total(spent), cooldown=None)
        if not findings_of_line(state):
            return update
        document = report_of(
            state,
            context,
            partial=why_partial(stop),
            now=self._ports.now(),
            closing=closing.text if closing else "",
            closing_spent=extra,
            prices=self._ports.prices,
        )
        return update | State(report=markdown_of(document), document=cast(dict[str, object], document))

    async def _closing(self, state: State, context: Context) -> Answer | None:
        """The closing synthesis out of what the budget kept back; None where that is too little, or the model fails."""
        left = (context.token_budget or 0) - tokens(usage_of_turn(state))
        request = closing_request(state, context, left // 3)
        messages = closing_messages(request)
        if sum(count_tokens(str(message.content)) for message in messages) + request.target_output_tokens > left:
            return None
        line = self._ports.line("synthesize", context.model_of("synthesize"))
        try:
            return await ask(self._ports, line, request, closing_messages, Silent())
        except ModelFailed:
            return None


def _closing_spent(closing: Answer, model: str) -> Spent:
    return Spent(phase=0, role=CLOSING, model=model, calls=1, **closing.usage)


def _indexing(runtime: Runtime[Context], phase: int) -> Progress:
    """Tells the stream of documents that are read, now and then; to be called from the thread that reads them."""
    loop, write = asyncio.get_running_loop(), runtime.stream_writer
    told_at = time.monotonic()

    def progress(done: int, of: int) -> None:
        nonlocal told_at
        if time.monotonic() - told_at >= INDEXING_EVERY_SEC:
            told_at = time.monotonic()
            loop.call_soon_threadsafe(write, {"type": "indexing", "phase": phase, "done": done, "of": of})

    return progress
