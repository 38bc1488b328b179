"""The graph over fake ports and real checkpointers: supersteps, prompts, pauses, steering, the next turn."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import aiosqlite
import pytest
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver, ChannelVersions, Checkpoint, CheckpointMetadata
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from langgraph.graph.state import CompiledStateGraph
from langgraph.types import Command, Interrupt
from pydantic import ValidationError

from graph.context import Context
from graph.directive import Directive
from graph.failure import ModelFailed
from graph.graph import build_graph
from graph.state import Input, Output, State
from tests.fakes import FakeClock, FakeModel, FakeRetriever, answers, fake_ports, words

pytestmark = pytest.mark.anyio

Graph = CompiledStateGraph[State, Context, Input, Output]
THREAD: RunnableConfig = {"configurable": {"thread_id": "t"}}
SMALL = Context(num_phases=3, calls_per_phase=2)
COOLING = Context(num_phases=2, calls_per_phase=2, intra_phase_cooldown_sec=30, inter_phase_cooldown_sec=60)


class Bench:
    """A graph over fakes, and what they saw."""

    def __init__(self, saver: BaseCheckpointSaver[str] | None = None, model: FakeModel | None = None) -> None:
        self.model = model or FakeModel(script=answers)
        self.retriever = FakeRetriever()
        self.clock = FakeClock()
        self.graph: Graph = build_graph(saver, ports=fake_ports(self.model, self.retriever, self.clock))

    @property
    def prompts(self) -> list[str]:
        return self.model.prompts

    async def run(self, step: Input | Command[Any] | None, context: Context = SMALL) -> dict[str, Any]:
        result: dict[str, Any] = await self.graph.ainvoke(step, THREAD, context=context, durability="sync")
        return result

    async def answer(self, context: Context = COOLING, **directive: Any) -> dict[str, Any]:
        """Answers the pause that waits."""
        return await self.run(Command(resume=Directive(**directive).model_dump()), context)

    async def state(self) -> dict[str, Any]:
        values: dict[str, Any] = (await self.graph.aget_state(THREAD)).values
        return values

    async def question(self) -> Interrupt:
        (question,) = (await self.graph.aget_state(THREAD)).interrupts
        return question


@pytest.fixture
def bench() -> Bench:
    return Bench(InMemorySaver())


@pytest.fixture
def open_saver(tmp_path: Path) -> Callable[[], AbstractAsyncContextManager[AsyncSqliteSaver]]:
    return lambda: AsyncSqliteSaver.from_conn_string(str(tmp_path / "checkpoints.sqlite"))


@pytest.fixture
async def saver(
    open_saver: Callable[[], AbstractAsyncContextManager[AsyncSqliteSaver]],
) -> AsyncIterator[AsyncSqliteSaver]:
    async with open_saver() as saver:
        yield saver


async def test_a_plain_call_without_a_checkpointer_runs_to_the_end() -> None:
    bench = Bench()
    result = await bench.graph.ainvoke({"topic": "Tides"}, context=SMALL)
    assert set(result) == {"topic", "report", "usage"}
    assert len(bench.prompts) == 6
    assert result["topic"] == "Tides"
    assert "# Research report: Tides" in result["report"]
    assert "partial" not in result["report"]
    assert result["usage"]["output_tokens"] > 0


@pytest.mark.parametrize("empty", [{}, {"topic": "  "}, {"message": "\n"}])
async def test_a_turn_without_a_topic_is_refused(empty: Input) -> None:
    with pytest.raises(ValueError, match="topic"):
        await Bench().graph.ainvoke(empty, context=SMALL)


async def test_one_subcall_is_one_superstep_with_its_checkpoint(saver: AsyncSqliteSaver) -> None:
    bench = Bench(saver)
    await bench.run({"topic": "Tides"})
    following = [list(snapshot.next) async for snapshot in bench.graph.aget_state_history(THREAD)][::-1]
    phase = [["phase"], ["subcall"], ["subcall"]]
    assert following == [["__start__"], ["plan"], *phase, *phase, *phase, ["report"], []]
    findings = [len(s.values.get("findings", [])) async for s in bench.graph.aget_state_history(THREAD)][::-1]
    assert sorted(set(findings)) == list(range(7))


async def test_prompts_hold_the_earlier_phases_and_the_last_two_hold_all_of_them() -> None:
    bench = Bench(model=FakeModel(script=lambda call: words(f"Finding number {call} stands here.")))
    await bench.graph.ainvoke({"topic": "Tides"}, context=Context(num_phases=6, calls_per_phase=1))
    for phase, prompt in enumerate(bench.prompts, start=1):
        told = [number for number in range(1, 7) if f"Finding number {number} stands" in prompt]
        assert told == list(range(1, phase)), f"phase {phase}"


async def test_even_of_many_long_phases_the_last_two_are_told() -> None:
    long = FakeModel(script=lambda call: [f"Finding number {call} stands here. " + "More is said. " * 400])
    bench = Bench(model=long)
    await bench.graph.ainvoke({"topic": "Tides"}, context=Context(num_phases=14, calls_per_phase=1))
    told = [sum(f"Finding number {n} stands" in prompt for n in range(1, 15)) for prompt in bench.prompts]
    assert told[-2:] == [12, 13]
    assert max(map(len, bench.prompts)) < 40_000


async def test_a_later_subcall_is_told_the_drafts_and_the_sources_of_its_phase() -> None:
    bench = Bench()
    await bench.graph.ainvoke({"topic": "Tides"}, context=SMALL)
    assert "Answer number 1." in bench.prompts[1]
    assert "Passage 1 about storage." in bench.prompts[0]
    assert "Passage 2 about storage." in bench.prompts[2]
    assert "Passage 2 about storage." not in bench.prompts[1]


async def test_a_search_that_fails_becomes_a_gap_of_the_report() -> None:
    bench = Bench()
    bench.retriever.error = OSError("secret path")
    result = await bench.graph.ainvoke({"topic": "Tides"}, context=SMALL)
    assert "Phase 1: The search by documents failed: OSError." in result["report"]
    assert "The search for this phase found nothing" in result["report"]
    assert len(bench.retriever.queries) == 3 * 3, "each search is tried three times"
    assert "secret path" not in result["report"]


async def test_a_model_that_fails_for_good_ends_the_run_and_a_later_process_goes_on(saver: AsyncSqliteSaver) -> None:
    failing = Bench(saver, FakeModel(script=lambda call: answers(call) if call < 4 else [ValueError("no")]))
    with pytest.raises(ModelFailed):
        await failing.run({"topic": "Tides"})
    bench = Bench(saver)
    await bench.run(None)
    assert len(bench.prompts) == 3
    assert len((await bench.state())["findings"]) == 6


async def test_a_cooldown_asks_with_a_schema_and_an_absolute_end(bench: Bench) -> None:
    began = bench.clock.time
    await bench.run({"topic": "Tides"}, COOLING)
    question = await bench.question()
    assert question.value["kind"] == "cooldown"
    assert question.value["stage"] == "intra_phase"
    assert question.value["resume_at"] == began + 30
    assert question.value["duration_sec"] == 30
    assert question.response_schema == Directive.model_json_schema()
    assert (await bench.state())["cooldown"]["resume_at"] == began + 30


async def test_the_end_of_a_cooldown_outlives_the_process(saver: AsyncSqliteSaver) -> None:
    first = Bench(saver)
    await first.run({"topic": "Tides"}, COOLING)
    before = (await first.question()).value
    second = Bench(saver)
    second.clock.time += 20
    assert (await second.question()).value == before


async def test_continue_goes_on_and_there_is_no_cooldown_behind_the_last_subcall(bench: Bench) -> None:
    await bench.run({"topic": "Tides"}, COOLING)
    stages = [(await bench.question()).value["stage"]]
    while (await bench.answer(action="continue")).get("__interrupt__"):
        stages.append((await bench.question()).value["stage"])
    assert stages == ["intra_phase", "inter_phase", "intra_phase"]
    assert len(bench.prompts) == 4
    assert (await bench.graph.aget_state(THREAD)).next == ()


@pytest.mark.parametrize("wrong", [{"action": "jump"}, {"action": "steer"}, {"more": 1}])
async def test_an_answer_that_is_no_directive_is_refused_and_changes_nothing(
    bench: Bench, wrong: dict[str, Any]
) -> None:
    await bench.run({"topic": "Tides"}, COOLING)
    before = (await bench.question()).value
    with pytest.raises(ValidationError):
        await bench.run(Command(resume=wrong), COOLING)
    assert (await bench.question()).value == before
    assert len(bench.prompts) == 1


async def test_stop_leaves_a_partial_report_without_another_model_call(bench: Bench) -> None:
    await bench.run({"topic": "Tides"}, COOLING)
    result = await bench.answer(action="stop", cause="timeout")
    assert len(bench.prompts) == 1
    assert "**This report is partial:** the run reached its time limit" in result["report"]
    assert "Answer number 1." in result["report"]
    assert (await bench.state())["stop"] == "timeout"


async def test_a_new_topic_starts_at_phase_one_and_is_told_the_old_one(bench: Bench) -> None:
    await bench.run({"topic": "Tides"}, COOLING)
    await bench.answer(action="steer", message="Winds", steering="new_topic")
    state = await bench.state()
    assert (state["topic"], state["line"], state["phase"], state["index"]) == ("Winds", 2, 1, 2)
    assert [finding["line"] for finding in state["findings"]] == [1, 2]
    assert "<earlier_topic>" in bench.prompts[1]
    assert "Tides" in bench.prompts[1]
    assert "Winds" in bench.prompts[1]
    assert "Winds" in bench.retriever.queries[-1]


async def test_guidance_keeps_what_is_done_and_appears_in_every_later_prompt(bench: Bench) -> None:
    await bench.run({"topic": "Tides"}, COOLING)
    await bench.answer(action="continue")
    step = await bench.answer(action="steer", message="Look at the moon", steering="guidance")
    while step.get("__interrupt__"):
        step = await bench.answer(action="continue")
    assert ["Look at the moon" in prompt for prompt in bench.prompts] == [False, False, True, True]
    state = await bench.state()
    assert [(f["phase"], f["index"]) for f in state["findings"]] == [(1, 1), (1, 2), (2, 1), (2, 2)]
    assert state["topic"] == "Tides"
    assert "Look at the moon" in bench.retriever.queries[-1]


async def test_a_follow_up_on_a_new_topic_keeps_the_earlier_findings_and_names_the_earlier_topic(
    saver: AsyncSqliteSaver,
) -> None:
    await Bench(saver).run({"topic": "Tides"})
    bench = Bench(saver, FakeModel(script=lambda call: words(f"Reply number {call}.")))
    result = await bench.run({"message": "Winds", "steering": "new_topic"})
    state = await bench.state()
    assert [f["line"] for f in state["findings"]] == [1] * 6 + [2] * 6
    assert [f["turn"] for f in state["findings"]] == [1] * 6 + [2] * 6
    assert all("Tides" in prompt and "Winds" in prompt for prompt in bench.prompts)
    assert "Tides" not in result["report"].splitlines()[0]
    assert "Answer number" not in result["report"]
    assert "Answer number" not in bench.prompts[1].partition("<draft")[2]
    ids = [item["id"] for entry in state["sources"] for item in entry["items"]]
    assert sorted(set(ids)) == list(range(1, len(set(ids)) + 1))


async def test_a_shorter_plan_shows_nothing_of_the_longer_one_before_it(bench: Bench) -> None:
    await bench.run({"topic": "Tides"})
    result = await bench.run({"message": "Winds"}, Context(num_phases=2, calls_per_phase=2))
    assert [f"Answer number {call}." in result["report"] for call in (6, 10)] == [False, True]
    assert "Phases: 2 of 2 finished, with 4 model calls" in result["report"]


async def test_guidance_behind_the_end_is_taken_up_by_the_two_last_phases(bench: Bench) -> None:
    await bench.run({"topic": "Tides"})
    done = len(bench.prompts)
    await bench.run({"message": "Look at the moon", "steering": "guidance"})
    assert len(bench.prompts) - done == 4
    assert all("Look at the moon" in prompt for prompt in bench.prompts[done:])
    assert [f["phase"] for f in (await bench.state())["findings"]][done:] == [2, 2, 3, 3]


async def test_a_stopped_turn_is_resumed_where_it_was(bench: Bench) -> None:
    await bench.run({"topic": "Tides"}, COOLING)
    await bench.answer(action="stop")
    rest = Context(num_phases=2, calls_per_phase=2)
    result = await bench.run({"message": "", "steering": "resume"}, rest)
    assert len(bench.prompts) == 4
    assert "partial" not in result["report"]
    assert result["topic"] == "Tides"


async def test_threads_know_nothing_of_each_other(bench: Bench) -> None:
    await bench.run({"topic": "Tides"})
    other: RunnableConfig = {"configurable": {"thread_id": "u"}}
    done = len(bench.prompts)
    await bench.graph.ainvoke({"topic": "Winds"}, other, context=SMALL)
    assert not any("Tides" in prompt for prompt in bench.prompts[done:])


class KilledBeforeCheckpoint(AsyncSqliteSaver):
    """Dies before checkpoint number `dies_at`, when the writes that belong to it are on disk already."""

    dies_at = 0
    puts = 0

    async def aput(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        self.puts += 1
        if self.puts == self.dies_at:
            raise sqlite3.OperationalError("killed")
        return await super().aput(config, checkpoint, metadata, new_versions)


@pytest.mark.parametrize("dies_at", range(2, 13))
async def test_a_write_that_waits_for_its_checkpoint_is_not_run_again(
    dies_at: int, open_saver: Callable[[], AbstractAsyncContextManager[AsyncSqliteSaver]], tmp_path: Path
) -> None:
    async with aiosqlite.connect(tmp_path / "checkpoints.sqlite") as connection:
        dying = KilledBeforeCheckpoint(connection)
        dying.dies_at = dies_at
        first = Bench(dying)
        with pytest.raises(sqlite3.OperationalError, match="killed"):
            await first.run({"topic": "Tides"})
    async with open_saver() as saver:
        second = Bench(saver)
        await second.run(None)
        state = await second.state()
    assert len(first.prompts) + len(second.prompts) == 6, "no model call was run twice"
    assert [(f["phase"], f["index"]) for f in state["findings"]] == [(p, i) for p in (1, 2, 3) for i in (1, 2)]


def test_every_setting_has_a_title_and_a_description_for_studio() -> None:
    schema = build_graph().get_context_jsonschema()
    assert schema is not None
    assert set(schema["properties"]) >= {"model", "num_phases", "calls_per_phase", "phase_titles"}
    assert all(setting.get("title") and setting.get("description") for setting in schema["properties"].values())


def test_the_input_has_a_title_and_a_description_for_studio() -> None:
    fields = build_graph().get_input_jsonschema()["properties"]
    assert set(fields) == {"topic", "message", "steering"}
    assert all(field.get("title") and field.get("description") for field in fields.values())


async def stored_bytes(path: Path, phases: int) -> int:
    async with AsyncSqliteSaver.from_conn_string(str(path)) as saver:
        bench = Bench(saver, FakeModel(script=lambda call: [f"Finding {call}. " + "More is said. " * 400]))
        await bench.run({"topic": "Tides"}, Context(num_phases=phases, calls_per_phase=1))
        total = 0
        for table, columns in (("checkpoints", "checkpoint"), ("writes", "value")):
            query = f"SELECT coalesce(sum(length({columns})), 0) FROM {table}"
            async with saver.conn.execute(query) as cursor:
                row = await cursor.fetchone()
            total += int(row[0]) if row else 0
        return total


async def test_checkpoints_grow_with_the_work_and_not_with_its_square(tmp_path: Path) -> None:
    few, many = [await stored_bytes(tmp_path / f"{phases}.sqlite", phases) for phases in (10, 40)]
    assert many <= 4.6 * few


async def test_a_run_without_a_context_has_the_default_one(bench: Bench) -> None:
    stream = bench.graph.astream({"topic": "Tides"}, THREAD, stream_mode="updates")
    async for update in stream:  # the first is the plan
        assert len(update["plan"]["plan"]) == 15
        break
    await stream.aclose()  # type: ignore[attr-defined]  # LangGraph's type hides that it is a generator


async def test_a_state_may_be_written_by_hand_and_gone_on_from(bench: Bench) -> None:
    await bench.run({"topic": "Tides"})
    history = [snapshot async for snapshot in bench.graph.aget_state_history(THREAD)]
    before = next(s for s in history if s.next == ("phase",) and len(s.values["findings"]) == 2)
    forked = await bench.graph.aupdate_state(before.config, {"plan": ["One", "Another way", "The end"]})
    assert (await bench.graph.aget_state(forked)).next == ("phase",)
    result = await bench.graph.ainvoke(None, forked, context=SMALL)
    assert "Another way" in result["report"]
    assert len(bench.prompts) == 6 + 4


async def test_a_review_asks_behind_each_phase_and_leaves_the_rest_that_is_due(bench: Bench) -> None:
    context = Context(num_phases=2, calls_per_phase=1, inter_phase_cooldown_sec=60, review="phase")
    await bench.run({"topic": "Tides"}, context)
    asked = (await bench.question()).value
    assert (asked["kind"], asked["phase"], asked["text"]) == ("review", 1, "Answer number 1. ")
    await bench.answer(context, action="continue")
    assert (await bench.question()).value["kind"] == "cooldown"
    await bench.answer(context, action="continue")
    assert (await bench.question()).value["phase"] == 2
    assert (await bench.answer(context, action="continue"))["report"]
