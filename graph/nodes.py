"""The nodes: each reads the state, calls one port, returns an update. Made by `Nodes` so that ports are passed in."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

from langgraph.runtime import Runtime
from langgraph.types import interrupt

from graph.context import Context, roles, settled
from graph.control import is_pending
from graph.digest import count_tokens, cut, digest
from graph.directive import Directive
from graph.failure import Failure, ModelFailed
from graph.model_call import Answer, call_model
from graph.plan import focus_of, plan_titles
from graph.ports import Ports
from graph.prompts import SubcallRequest, closing_messages, subcall_messages
from graph.report import ReportMaterial, compose_report
from graph.routing import review_due
from graph.state import Asked, Cause, Finding, Gap, Pause, Source, SourceList, Stage, State, Usage

if TYPE_CHECKING:
    from langchain_core.documents import Document

_STOPPED = {
    "steering": "the run was steered to something else before it was done",
    "operator_cancel": "the run was cancelled before it was done",
    "timeout": "the run reached its time limit before it was done",
    "budget": "the run reached its token budget before it was done",
}
UNDER_WAY = "the run is still under way"
EARLIER_TOPIC_TOKENS = 400
# The part of a token budget that is kept for the closing synthesis.
KEPT_BACK = 0.1


class TopicMissing(ValueError):
    """A turn needs a topic: give `topic`, or a `message`."""


class Nodes:
    """The six nodes of the graph over one set of ports."""

    def __init__(self, ports: Ports) -> None:
        self._ports = ports

    async def plan(self, state: State, runtime: Runtime[Context]) -> State:
        """Begins a turn: a new topic from phase 1, or the old one from where it is."""
        now = self._ports.now()
        turn = state.get("turn", 0) + 1
        message = state.get("message", "").strip()
        if state.get("steering", "new_topic") != "new_topic" and state.get("line"):
            return _go_on(state, settled(runtime.context), turn, message, now)
        topic = message or state.get("topic", "").strip()
        if not topic:
            raise TopicMissing(TopicMissing.__doc__)
        line = state.get("line", 0) + 1
        asked = Asked(turn=turn, line=line, steering="new_topic", message=topic, topic=topic, at=now)
        return _begun(line, turn, asked) | State(
            topic=topic, plan=plan_titles(settled(runtime.context)), phase=1, index=1
        )

    async def phase(self, state: State, runtime: Runtime[Context]) -> State:
        """Begins a phase: searches its sources, numbered over the whole thread."""
        phase, total = state["phase"], len(state["plan"])
        title = state["plan"][phase - 1]
        runtime.stream_writer({"type": "phase_start", "phase": phase, "total": total, "title": title})
        started = self._ports.now()
        found: Sequence[Document] = []
        gaps: list[Gap] = []
        try:
            found = await (await self._ports.sources()).ainvoke(_query(state, title))
        except Exception as error:  # noqa: BLE001 - any search may fail in any way; the report says that it did
            message = f"The search for phase {phase} failed ({type(error).__name__})."
            gaps.append(Gap(line=state["line"], phase=phase, message=message))
        items = _numbered(found, [item for entry in state["sources"] for item in entry["items"]])
        entry = SourceList(line=state["line"], turn=state["turn"], phase=phase, items=items)
        return State(sources=[entry], gaps=gaps, phase_started_at=started, cooldown=None)

    async def subcall(self, state: State, runtime: Runtime[Context]) -> State:
        """One model call, the unit that is checkpointed; its update says where the run stands behind it."""
        context = settled(runtime.context)
        of = roles(context.calls_per_phase)
        role = of[state["index"] - 1]
        report = SubcallEvents(runtime, state["phase"], state["index"], role, len(of))
        started = self._ports.now()
        answer = await call_model(
            self._ports.model(context.model),
            subcall_messages(_request(state, context)),
            report,
            endpoint=self._ports.endpoint(context.model),
            patience=self._ports.patience,
            sleep=self._ports.sleep,
        )
        finding = Finding(
            line=state["line"],
            turn=state["turn"],
            phase=state["phase"],
            index=state["index"],
            of=len(of),
            role=role,
            text=answer.text,
            model=context.model,
            usage=answer.usage,
            phase_started_at=state["phase_started_at"],
            started_at=started,
            ended_at=self._ports.now(),
        )
        return _done(state, context, finding)

    async def cooldown(self, state: State) -> State:
        """Rests: whoever drives the graph answers when the time has come, or earlier."""
        pause = state.get("cooldown")
        question = {"kind": "cooldown", **pause} if pause else {"kind": "cooldown"}
        return State(cooldown=None) | _obeyed(interrupt(question, response_schema=Directive))

    async def steering(self, state: State, runtime: Runtime[Context]) -> State:
        """Asks whoever wanted the run's attention, or is to review its phases, what to do."""
        question: dict[str, Any]
        question = {"kind": "steering", "phase": state["phase"], "total": len(state["plan"]), "index": state["index"]}
        if review_due(state, settled(runtime.context)) and not is_pending(runtime.control):
            question = _phase_to_review(state)
        return _obeyed(interrupt(question, response_schema=Directive))

    async def report(self, state: State, runtime: Runtime[Context]) -> State:
        """Writes the report of what there is; a turn that stopped with nothing leaves none."""
        context, stop = settled(runtime.context), state.get("stop")
        usage = usage_of_turn(state)
        closing = await self._closing(state, context) if stop == "budget" else None
        if closing is not None:
            usage = usage_of([{"usage": usage}, {"usage": closing.usage}])
        text = ""
        if findings_of_line(state):
            now = self._ports.now()
            text = report_of(
                state, context, partial=why_partial(stop), now=now, closing=closing.text if closing else ""
            )
        return State(report=text, usage=usage, cooldown=None)

    async def _closing(self, state: State, context: Context) -> Answer | None:
        """The closing synthesis out of what the budget kept back; None where that is too little, or the model fails."""
        left = (context.token_budget or 0) - total_of(usage_of_turn(state))
        request = closing_request(state, context, left // 3)
        messages = closing_messages(request)
        if sum(count_tokens(str(message.content)) for message in messages) + request.target_output_tokens > left:
            return None
        try:
            return await call_model(
                self._ports.model(context.model),
                messages,
                _Silent(),
                endpoint=self._ports.endpoint(context.model),
                patience=self._ports.patience,
                sleep=self._ports.sleep,
            )
        except ModelFailed:
            return None


class _Silent:
    """Hears of a call that the stream does not show."""

    def started(self, attempt: int) -> None: ...

    def token(self, text: str) -> None: ...

    def retrying(self, attempt: int, delay_sec: float, failure: Failure) -> None: ...


class SubcallEvents:
    """Tells the stream what happens in one subcall."""

    def __init__(self, runtime: Runtime[Context], phase: int, index: int, role: str, of: int) -> None:
        self._write = runtime.stream_writer
        self._where: dict[str, Any] = {"phase": phase, "role": role, "index": index}
        self._of = of

    def started(self, attempt: int) -> None:
        self._write({"type": "subcall_start", **self._where, "of": self._of, "attempt": attempt})

    def token(self, text: str) -> None:
        self._write({"type": "token", "content": text, "phase": self._where["phase"], "index": self._where["index"]})

    def retrying(self, attempt: int, delay_sec: float, failure: Failure) -> None:
        error = {"type": failure.type, "message": failure.message}
        self._write(
            {"type": "retrying", **self._where, "attempt": attempt, "delay_sec": round(delay_sec, 3), "error": error}
        )


def findings_of_line(state: State) -> list[Finding]:
    """The findings on the thread's present topic."""
    return [finding for finding in state.get("findings", []) if finding["line"] == state.get("line")]


def why_partial(cause: Cause | None) -> str | None:
    """Why the report of a turn that was stopped by `cause` is partial, as the end of a sentence."""
    return None if cause is None else _STOPPED[cause]


def usage_of_turn(state: State) -> Usage:
    """The tokens that the present turn's subcalls cost."""
    return usage_of([finding for finding in state.get("findings", []) if finding["turn"] == state.get("turn")])


def total_of(usage: Usage) -> int:
    """Tokens in and out."""
    return usage["input_tokens"] + usage["output_tokens"]


def usage_of(findings: Iterable[Mapping[Literal["usage"], Usage] | Finding]) -> Usage:
    """The tokens that `findings` cost together."""
    findings = list(findings)
    return Usage(
        input_tokens=sum(finding["usage"]["input_tokens"] for finding in findings),
        output_tokens=sum(finding["usage"]["output_tokens"] for finding in findings),
    )


def report_of(state: State, context: Context, *, partial: str | None, now: float, closing: str = "") -> str:
    """The report on the thread's present topic as Markdown, from what the state holds; `now` is Unix seconds."""
    line = state.get("line")
    return compose_report(
        ReportMaterial(
            topic=state.get("topic", ""),
            plan=state.get("plan", []),
            findings=findings_of_line(state),
            calls_per_phase=context.calls_per_phase,
            sources=[entry for entry in state.get("sources", []) if entry["line"] == line],
            gaps=[gap for gap in state.get("gaps", []) if gap["line"] == line],
            asked=state.get("asked", []),
            partial=partial,
            now=now,
            closing=closing,
        )
    )


def _begun(line: int, turn: int, asked: Asked) -> State:
    return State(
        line=line,
        turn=turn,
        asked=[asked],
        message="",
        steering="new_topic",
        report="",
        usage=Usage(input_tokens=0, output_tokens=0),
        cooldown=None,
        stop=None,
    )


def _go_on(state: State, context: Context, turn: int, message: str, now: float) -> State:
    steering, topic = state["steering"], state["topic"]
    asked = Asked(turn=turn, line=state["line"], steering=steering, message=message, topic=topic, at=now)
    phase, index, total = state["phase"], state["index"], len(state["plan"])
    if index > context.calls_per_phase:
        phase, index = phase + 1, 1
    if phase > total and steering == "guidance":
        # All was done: what is said now is taken up by the phases that synthesize.
        phase = max(1, total - 1)
    return _begun(state["line"], turn, asked) | State(phase=phase, index=index)


def _query(state: State, title: str) -> str:
    guidance = " ".join(asked["message"] for asked in state["asked"] if asked["line"] == state["line"])
    return f"{guidance} {title} {focus_of(title)}"


def _numbered(found: Sequence[Document], known: Sequence[Source]) -> list[Source]:
    """`found` as sources: a passage that the thread knows keeps its number, a new one takes the next."""
    numbers = {(source["url"], source["snippet"]): source["id"] for source in known}
    free = max((source["id"] for source in known), default=0) + 1
    items: dict[int, Source] = {}
    for document in found:
        url, text = str(document.metadata.get("url", "")), document.page_content
        number = numbers.setdefault((url, text), free)
        free = max(free, number + 1)
        title = str(document.metadata.get("title") or url)
        items[number] = Source(id=number, title=title, url=url, snippet=text)
    return list(items.values())


def _request(state: State, context: Context) -> SubcallRequest:
    phase, index, line = state["phase"], state["index"], state["line"]
    findings = findings_of_line(state)
    title = state["plan"][phase - 1]
    here = [entry for entry in state["sources"] if entry["line"] == line and entry["phase"] == phase]
    asked = state["asked"]
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
        guidance=[a["message"] for a in asked if a["line"] == line and a["steering"] == "guidance"],
        earlier_topics=_earlier_topics(state),
    )


def closing_request(state: State, context: Context, tokens: int) -> SubcallRequest:
    """What a closing synthesis is told: all phases in `tokens` tokens, and as many to answer in."""
    findings = findings_of_line(state)
    reached = min(state["phase"], len(state["plan"]))
    return replace(
        _request(State(**{**state, "phase": reached}), context),
        target_output_tokens=max(16, min(context.target_output_tokens, tokens)),
        excerpts=[],
        drafts=[],
        notes=digest(state["plan"], findings, len(state["plan"]) + 1, budget_tokens=tokens),
    )


def _earlier_topics(state: State) -> list[str]:
    """The thread's earlier topics, the last two with what was found on them."""
    earlier = [a for a in state["asked"] if a["line"] < state["line"] and a["steering"] == "new_topic"]
    told = []
    for asked in earlier[-2:]:
        texts = [f["text"] for f in state.get("findings", []) if f["line"] == asked["line"] and f["role"] != "critique"]
        told.append(f"{asked['topic']}\n{cut(texts[-1], EARLIER_TOPIC_TOKENS)}" if texts else asked["topic"])
    return [asked["topic"] for asked in earlier[:-2]] + told


def _done(state: State, context: Context, finding: Finding) -> State:
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
        spent, last = total_of(usage_of_turn(state)) + total_of(finding["usage"]), total_of(finding["usage"])
        # The next call costs about as much as the last one did.
        if spent + last > context.token_budget * (1 - KEPT_BACK):
            update["stop"] = "budget"
    return update


def _phase_to_review(state: State) -> dict[str, Any]:
    plan, phase = state["plan"], state["phase"] - 1
    return {
        "kind": "review",
        "phase": phase,
        "total": len(plan),
        "title": plan[phase - 1],
        "text": state["findings"][-1]["text"],
        "next": plan[phase] if phase < len(plan) else None,
    }


def _obeyed(directive: Directive) -> State:
    update = State()
    if directive.action == "stop":
        update["stop"] = directive.cause
    elif directive.action == "steer":
        update |= State(message=directive.message, steering=directive.steering)
    return update
