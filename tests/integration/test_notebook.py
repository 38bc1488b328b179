"""`research`: the events of a run without a server, left at any event and gone on with, steered, reviewed, failing."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any

import orjson
import pytest
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.memory import InMemorySaver

from graph import Context, Directive, TurnControl, research
from graph.beginning import TopicMissing
from graph.events import TERMINAL, Event, boundary_key
from graph.notebook import ThreadBusy
from graph.ports import Ports
from tests.acceptance.client import Frame
from tests.acceptance.transcript import check_stream, model_calls_repeated
from tests.fakes import FakeModel, FakeRetriever, Silence, answers, fake_ports

pytestmark = pytest.mark.anyio

SMALL = Context(num_phases=2, calls_per_phase=2)
STATUS = {"run_complete": "completed", "run_failed": "failed", "steering": "superseded", "operator_cancel": "cancelled"}


class Notebook:
    """A kernel: what it has computed, and the saver that outlives its cells."""

    def __init__(self, saver: BaseCheckpointSaver[str] | Path | None = None, model: FakeModel | None = None) -> None:
        self.saver = InMemorySaver() if saver is None else saver
        self.model = model or FakeModel(script=answers)
        self.ports: Ports = fake_ports(self.model, FakeRetriever())
        # Cooldowns are waited for in true time here.
        self.ports.now = time.time

    async def cell(
        self, topic: str | None = "Tides", *, leave: Callable[[Event], bool] = lambda _: False, **options: Any
    ) -> list[Event]:
        """Runs a loop to its end, or to the event at which it is left."""
        got: list[Event] = []
        arguments = {"context": SMALL, "checkpointer": self.saver, "ports": self.ports, "thread_id": "t"} | options
        async for event in research(topic, **arguments):
            got.append(event)
            if leave(event):
                break
        return got


def kinds(events: Sequence[Event]) -> list[str]:
    return [event["type"] for event in events if event["type"] != "token"]


def frames(events: Sequence[Event]) -> list[Frame]:
    """The events as the server would send them; it alone has an address for the report."""
    sent = [event | ({"report_url": "/"} if "report_url" in event else {}) for event in events]
    last = sent[-1]
    done = {
        "type": "done",
        "invocation_id": sent[0]["invocation_id"],
        "status": STATUS[last.get("cause") or last["type"]],
    }
    numbered = [Frame(id=str(event["sequence_number"]), data=orjson.dumps(event).decode()) for event in sent]
    return [Frame(retry=1000), *numbered, Frame(event="done", data=orjson.dumps(done).decode())]


def check(events: Sequence[Event]) -> None:
    """The promises that the HTTP stream keeps."""
    check_stream(frames(events), ended=True)


async def test_a_run_is_a_sound_stream_and_ends_with_its_report() -> None:
    events = await Notebook().cell()
    check(events)
    subcall = ["subcall_start", "subcall_end"]
    phase = ["phase_start", "sources", *subcall, *subcall, "phase_end"]
    assert kinds(events) == ["run_start", *phase, *phase, "run_complete"]
    assert events[-1]["report"].startswith("# Research report: Tides")
    assert events[-1]["report_url"] is None


async def test_nothing_but_a_topic_is_needed() -> None:
    async with aclosing(research("How do agents survive crashes?")) as events:
        first = await anext(events)
    assert (first["type"], first["total_phases"], first["model"]) == ("run_start", 15, "offline")


# Each subcall: its start, two pieces of text, its end.
EVENTS = 2 + 2 * (2 + 2 * 4 + 1)


@pytest.mark.parametrize("left_at", range(1, EVENTS))
async def test_left_at_any_event_it_goes_on_behind_what_the_caller_has(left_at: int) -> None:
    notebook = Notebook()
    had = await notebook.cell(leave=lambda event: event["sequence_number"] == left_at)
    whole = had + await notebook.cell(behind=had)
    check(whole)
    assert kinds(whole).count("recovered") == 1
    assert model_calls_repeated(frames(whole)) <= 1
    assert len(notebook.model.prompts) <= 5
    assert len({event["invocation_id"] for event in whole if event["type"] == "run_start"}) == 1


@pytest.mark.parametrize("left_at", range(1, EVENTS))
async def test_without_its_events_what_is_committed_is_not_told_again(left_at: int, tmp_path: Path) -> None:
    notebook = Notebook(tmp_path / "new" / "threads.sqlite")
    had = await notebook.cell(leave=lambda event: event["sequence_number"] == left_at)
    rest = await notebook.cell()
    if rest[0]["entry_mode"] == "fresh":  # nothing was committed yet
        assert left_at == 1
        return
    assert kinds(rest)[:2] == ["run_start", "recovered"]
    assert [event["sequence_number"] for event in rest] == list(range(1, len(rest) + 1))
    ends = [(e["phase"], e["index"]) for e in had + rest if e["type"] == "subcall_end"]
    assert len(ends) == len(set(ends))
    # An event that was committed, and not yet told when its loop was left, is counted by `recovered`.
    assert rest[1]["completed_subcalls"] + kinds(rest).count("subcall_end") == 4
    assert rest[-1]["type"] == "run_complete"
    assert len(notebook.model.prompts) <= 5


async def test_a_cell_that_is_interrupted_in_a_model_call_goes_on(tmp_path: Path) -> None:
    model = FakeModel(script=lambda call: answers(call) if call != 3 else ["half", Silence()])
    notebook = Notebook(tmp_path / "threads.sqlite", model)
    reached, had = asyncio.Event(), list[Event]()

    def seen(event: Event) -> bool:
        had.append(event)
        if event.get("content") == "half":
            reached.set()
        return False

    cell = asyncio.create_task(notebook.cell(leave=seen))
    await reached.wait()
    cell.cancel()
    await asyncio.wait([cell])
    model.script = answers
    whole = had + await notebook.cell(None, context=None, behind=had)
    check(whole)
    assert len(model.prompts) == 5
    assert [e["attempt"] for e in whole if e["type"] == "subcall_start" and e["phase"] == 2] == [1, 2, 1]


async def test_an_unfinished_turn_keeps_its_settings() -> None:
    notebook = Notebook()
    await notebook.cell(leave=lambda event: event["type"] == "subcall_end")
    rest = await notebook.cell(None, context=None)
    assert (rest[0]["total_phases"], rest[0]["calls_per_phase"]) == (2, 2)
    assert rest[0]["topic"] == "Tides"
    assert kinds(rest).count("subcall_end") == 3


async def test_a_further_turn_on_a_thread() -> None:
    notebook = Notebook()
    await notebook.cell()
    second = await notebook.cell("Winds")
    check(second)
    start = second[0]
    assert (start["entry_mode"], start["prior_topic"], start["topic"]) == ("resumed", "Tides", "Winds")
    guided = await notebook.cell("Only the trade winds", steering="guidance")
    assert (guided[0]["topic"], guided[0]["total_phases"]) == ("Winds", 2)
    assert "Only the trade winds" in notebook.model.prompts[-1]


async def test_another_topic_overtakes_an_unfinished_turn() -> None:
    notebook = Notebook()
    await notebook.cell(leave=lambda event: event["type"] == "phase_end")
    second = await notebook.cell("Winds")
    assert (second[0]["entry_mode"], second[0]["topic"]) == ("resumed", "Winds")
    assert kinds(second).count("phase_end") == 2


async def test_a_steer_ends_its_stream_and_the_next_turn_s_follows() -> None:
    notebook, control = Notebook(), TurnControl()

    def steer(event: Event) -> bool:
        if event["type"] == "phase_end" and event["phase"] == 1 and not notebook.model.prompts[2:]:
            control.request(Directive(action="steer", message="Only spring tides", steering="guidance"))
        return False

    events = await notebook.cell(control=control, leave=steer)
    cut = next(at for at, event in enumerate(events) if at and event["sequence_number"] == 1)
    first, second = events[:cut], events[cut:]
    check(first)
    check(second)
    assert kinds(first)[-2:] == ["steering", "winding_down"]
    assert first[-1]["cause"] == "steering"
    assert "partial" in first[-1]["report"].lower()
    told = first[-2]
    assert (told["message"], told["invocation_id"]) == ("Only spring tides", second[0]["invocation_id"])
    assert second[0]["topic"] == "Tides"
    assert second[-1]["type"] == "run_complete"
    assert "Only spring tides" in notebook.model.prompts[-1]


async def test_a_stop_ends_with_a_partial_report() -> None:
    control = TurnControl()
    control.request(Directive(action="stop"))
    events = await Notebook().cell(control=control)
    check(events)
    assert events[-1]["cause"] == "operator_cancel"
    assert "Answer number 1" in events[-1]["report"]


async def test_a_review_behind_each_phase_says_what_was_found_and_what_comes() -> None:
    asked: list[Mapping[str, Any]] = []

    async def review(question: Mapping[str, Any]) -> Directive:
        asked.append(question)
        return Directive()

    context = Context(num_phases=2, calls_per_phase=2, review="phase", inter_phase_cooldown_sec=0.01)
    notebook = Notebook()
    events = await notebook.cell(context=context, review=review)
    check(events)
    assert [(q["kind"], q["phase"], q["total"]) for q in asked] == [("review", 1, 2), ("review", 2, 2)]
    assert "Answer number 2" in asked[0]["text"]
    assert [q["next"] for q in asked] == [asked[1]["title"], None]
    # What was to be rested behind the phase is rested behind the review.
    assert kinds(events).count("cooldown") == 1


async def test_a_review_may_steer() -> None:
    async def review(question: Mapping[str, Any]) -> Directive:
        if question["phase"] == 1 and len(notebook.model.prompts) == 2:
            return Directive(action="steer", message="Winds")
        return Directive()

    notebook = Notebook()
    events = await notebook.cell(context=Context(num_phases=2, calls_per_phase=2, review="phase"), review=review)
    topics = [event["topic"] for event in events if event["type"] == "run_start"]
    assert topics == ["Tides", "Winds"]
    assert kinds(events).count("run_complete") == 1


async def test_a_review_that_was_interrupted_is_asked_again() -> None:
    context = Context(num_phases=2, calls_per_phase=1, review="phase")
    notebook, asked = Notebook(), []

    async def interrupted(question: Mapping[str, Any]) -> Directive:
        raise KeyError("somebody pressed stop")

    async def review(question: Mapping[str, Any]) -> Directive:
        asked.append(question["phase"])
        return Directive()

    with pytest.raises(KeyError):
        await notebook.cell(context=context, review=interrupted)
    rest = await notebook.cell(context=context, review=review)
    assert asked == [1, 2]
    assert rest[-1]["type"] == "run_complete"
    assert len(notebook.model.prompts) == 2


async def test_a_model_that_fails_ends_the_stream_and_the_turn_can_be_gone_on_with() -> None:
    error = ConnectionError("no route")
    model = FakeModel(script=lambda call: [error] if call in (2, 3) else answers(call))
    notebook = Notebook(model=model)
    failed = await notebook.cell()
    check(failed)
    assert failed[-1]["type"] == "run_failed"
    assert failed[-1]["error"]["type"] == "ConnectionError"
    assert "Answer number 1" in failed[-1]["report"]
    resumed = await notebook.cell(behind=failed)
    check(resumed)
    assert resumed[0]["entry_mode"] == "resumed"
    assert resumed[0]["invocation_id"] != failed[0]["invocation_id"]
    assert [(e["phase"], e["index"]) for e in resumed if e["type"] == "subcall_end"] == [(1, 2), (2, 1), (2, 2)]


async def test_an_error_that_no_run_is_meant_to_meet_is_raised_behind_run_failed() -> None:
    def no_model(_: str) -> Any:
        raise LookupError("a bug")

    notebook, got = Notebook(), list[Event]()
    notebook.ports.model = no_model

    def keep(event: Event) -> bool:
        got.append(event)
        return False

    with pytest.raises(LookupError, match="a bug"):
        await notebook.cell(leave=keep)
    assert got[-1]["type"] == "run_failed"
    assert "a bug" not in str(got)


async def test_a_drain_leaves_the_turn_to_be_gone_on_with() -> None:
    control = TurnControl()
    notebook = Notebook()

    def drain(event: Event) -> bool:
        if event["type"] == "subcall_end":
            control.request_drain()
        return False

    had = await notebook.cell(control=control, leave=drain)
    assert not TERMINAL & set(kinds(had))
    check(had + await notebook.cell(behind=had))
    assert len(notebook.model.prompts) == 4


async def test_the_events_of_something_else_are_refused() -> None:
    notebook = Notebook()
    first = await notebook.cell(leave=lambda event: event["type"] == "phase_end")
    for behind, thread in ((first, "other"), (first[1:], "t")):
        with pytest.raises(ValueError, match="behind"):
            await notebook.cell(behind=behind, thread_id=thread)
    await notebook.cell("Winds", leave=lambda event: event["type"] == "phase_end")
    with pytest.raises(ValueError, match="behind"):
        await notebook.cell(behind=first)


@pytest.mark.parametrize("topic", [None, "", " \n"])
async def test_nothing_to_research_is_an_error(topic: str | None) -> None:
    with pytest.raises(TopicMissing):
        await Notebook().cell(topic)


async def test_a_review_without_anybody_to_answer_is_refused() -> None:
    with pytest.raises(ValueError, match="review"):
        await Notebook().cell(context=Context(review="phase"))


async def test_two_loops_on_one_thread_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("graph.notebook.LEAVING_SEC", 0.05)
    notebook = Notebook()
    options: dict[str, Any] = {"thread_id": "t", "checkpointer": notebook.saver, "ports": notebook.ports}
    async with aclosing(research("Tides", context=SMALL, **options)) as events:
        await anext(events)
        with pytest.raises(ThreadBusy):
            await notebook.cell()
    assert (await notebook.cell())[-1]["type"] == "run_complete"


async def test_every_boundary_stands_once() -> None:
    keys = [key for event in await Notebook().cell() if (key := boundary_key(event))]
    assert len(keys) == len(set(keys))
