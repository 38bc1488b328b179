"""A turn that is broken off behind each of its events, and gone on with by another process: its stream stays sound."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langgraph.errors import GraphDrained

from graph.context import Context
from graph.control import TurnControl
from graph.directive import Directive
from graph.events import Event
from graph.failure import ModelFailed
from graph.state import Input
from tests.acceptance.transcript import check_stream
from tests.fakes import FakeModel, VirtualLoop, answers
from tests.integration.turn_line import SUBCALLS, Killed, Line, MortalMemory, as_deployed, in_memory, on_disk
from tests.unit.good_transcript import stream


def kinds(log: Sequence[Event]) -> list[str]:
    return [event["type"] for event in log]


def uninterrupted() -> Line:
    line = Line(in_memory())
    line.process()
    return line


# Without its run_start.
EVENTS = len(uninterrupted().log) - 1


def test_a_turn_without_a_crash() -> None:
    line = uninterrupted()
    line.check(crashes=0)
    subcall = ["subcall_start", "token", "token", "subcall_end"]
    phase = ["phase_start", "sources", *subcall, "cooldown", *subcall, "phase_end"]
    assert kinds(line.log) == ["run_start", *phase, "cooldown", *phase]


@pytest.mark.parametrize("dies_after", range(EVENTS + 1))
def test_a_crash_behind_any_event_is_healed(dies_after: int, tmp_path: Path) -> None:
    line = Line(on_disk(tmp_path))
    line.process(dies_after=dies_after)
    line.process()
    line.check(crashes=1)
    assert kinds(line.log).count("recovered") == 1


@pytest.mark.parametrize("lost", [1, 2, 5, 11])
@pytest.mark.parametrize("dies_after", range(EVENTS + 1))
def test_a_crash_that_loses_the_last_events_is_healed(dies_after: int, lost: int) -> None:
    line = Line(in_memory())
    line.process(dies_after=dies_after)
    line.forget(min(lost, dies_after))
    line.process()
    line.check(crashes=1)


@settings(deadline=None, max_examples=40)
@given(st.lists(st.tuples(st.integers(0, EVENTS), st.integers(0, 4)), min_size=2, max_size=4))
def test_crash_upon_crash_is_healed(crashes: list[tuple[int, int]]) -> None:
    line = Line(in_memory())
    died = 0
    for dies_after, lost in crashes:
        before = len(line.log)
        # A recovery tells at least that it is one: `run_start` is written by another part than this.
        least = 1 if before else 0
        line.process(dies_after=max(dies_after, least))
        if line.result is not None:
            break
        died += 1
        line.forget(min(lost, len(line.log) - before - 1 - least))
    if line.result is None:
        line.process()
    line.check(crashes=died)


@pytest.mark.parametrize("steps", range(0, 24, 3))
def test_a_turn_that_is_cancelled_while_a_subcall_ends_goes_on_where_it_was(steps: int, tmp_path: Path) -> None:
    """Not a crash: the process lives on, and stores what LangGraph makes of the cancellation.

    The task is cancelled some steps of the event loop behind the model's last token.
    """
    line = Line(as_deployed(tmp_path), context=Context(num_phases=2, calls_per_phase=2))

    async def cancelled() -> None:
        loop = asyncio.get_running_loop()

        def script(call: int) -> Iterator[str]:
            yield from answers(call)
            if call == 1:
                _behind_steps(loop, steps, task.cancel)

        line.model.script = script
        task = asyncio.create_task(line.run(now=lambda: 1_000.0))
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancelled())
    line.model.script = answers
    line.process()
    line.check(crashes=1)


def _behind_steps(loop: asyncio.AbstractEventLoop, steps: int, act: Callable[[], object]) -> None:
    if steps:
        loop.call_soon(_behind_steps, loop, steps - 1, act)
    else:
        act()


def test_a_turn_that_was_done_before_the_crash_only_tells_what_is_missing() -> None:
    line = uninterrupted()
    prompts = len(line.model.prompts)
    line.forget(2)
    line.process()
    assert kinds(line.log)[-4:] == ["run_start", "recovered", "subcall_end", "phase_end"]
    assert len(line.model.prompts) == prompts
    line.check(crashes=1)


def test_after_a_crash_only_the_rest_of_a_cooldown_is_waited() -> None:
    line = Line(in_memory())
    line.process(dies_after=7)
    assert line.log[-1]["type"] == "cooldown"
    line.moment += 3000.0
    began = line.moment
    line.process(dies_after=2)
    assert kinds(line.log)[-2:] == ["recovered", "subcall_start"]
    assert line.moment - began == pytest.approx(600.0, abs=1.0)


def test_a_cooldown_that_ended_while_nothing_ran_is_not_waited() -> None:
    line = Line(in_memory())
    line.process(dies_after=7)
    line.moment += 5000.0
    began = line.moment
    line.process(dies_after=2)
    assert line.moment - began < 1.0


def run_by(line: Line, clock: Callable[[float, int], float]) -> float:
    """Runs a turn by `clock`, which is given the seconds passed and the events told; how long it took in truth."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        loop = runner.get_loop()
        runner.run(line.run(now=lambda: clock(loop.time(), len(line.log))))
        return loop.time()


def test_a_clock_that_is_set_back_prolongs_nothing() -> None:
    line = Line(in_memory())
    took = run_by(line, lambda passed, told: 10_000_000.0 + passed - told * 100_000)
    assert took == pytest.approx(3600 + 7200 + 3600, abs=1.0)
    assert all(event["duration_sec"] >= 0 for event in line.log if "duration_sec" in event)


def test_a_cooldown_that_a_suspended_machine_slept_through_is_over() -> None:
    line = Line(in_memory())
    # While the machine sleeps, its timers stand still, and its clock goes on.
    assert run_by(line, lambda passed, told: 1_000.0 + passed * 1_000) < 60


def test_what_is_recovered_is_told() -> None:
    line = Line(in_memory())
    line.process(dies_after=12)
    line.process()
    (told,) = (event for event in line.log if event["type"] == "recovered")
    counts = {name: told[name] for name in ("completed_phases", "total_phases", "completed_subcalls")}
    assert counts == {"completed_phases": 1, "total_phases": 2, "completed_subcalls": 2}
    assert told["in_progress_phase"] == 2


def test_a_crash_before_anything_was_committed_still_tells_the_plan_of_the_turn() -> None:
    line = Line(in_memory())
    line.process(dies_after=0)
    line.process()
    (told,) = (event for event in line.log if event["type"] == "recovered")
    assert (told["completed_phases"], told["total_phases"], told["completed_subcalls"]) == (0, 2, 0)


@pytest.mark.parametrize("kind", ["subcall_start", "token", "subcall_end", "cooldown"])
def test_a_stop_is_taken_behind_the_subcall_and_ends_a_cooldown_at_once(kind: str) -> None:
    line = Line(in_memory())

    def stop(control: TurnControl, event: Event) -> None:
        if event["type"] == kind:
            control.request(Directive(action="stop", cause="operator_cancel"))

    began = line.moment
    line.process(control=stop)
    assert line.result is not None
    assert (line.result.cause, line.result.phases_completed) == ("operator_cancel", 0)
    assert "This report is partial" in line.result.report
    assert line.result.usage["output_tokens"] > 0
    assert line.moment - began < 3600 or kind == "subcall_end"


def test_a_stop_behind_the_last_subcall_comes_too_late() -> None:
    line = Line(in_memory())

    def stop(control: TurnControl, event: Event) -> None:
        if event["type"] == "phase_end" and event["phase"] == 2:
            control.request(Directive(action="stop"))

    line.process(control=stop)
    line.check(crashes=0)


@pytest.mark.parametrize("kind", ["phase_start", "subcall_start", "token", "subcall_end", "cooldown"])
def test_a_drain_leaves_the_turn_to_the_next_process_without_a_model_call_lost(kind: str) -> None:
    line = Line(in_memory())

    def drain(control: TurnControl, event: Event) -> None:
        if event["type"] == kind:
            control.request_drain("shutdown")

    with pytest.raises(GraphDrained):
        line.process(control=drain)
    line.process()
    line.check(crashes=0)


@pytest.mark.parametrize("dies_after", [0, 1, 5, 12, EVENTS])
def test_a_second_turn_on_the_thread_is_healed_from_its_own_events(dies_after: int) -> None:
    first = uninterrupted()
    assert first.result is not None
    follow_up = Input(message="Winds", steering="new_topic")
    line = Line(
        first.open_saver, input=follow_up, run_id="inv_2", entry_mode="resumed", model=FakeModel(script=answers)
    )
    line.process(dies_after=dies_after)
    line.process()
    line.check(crashes=1)
    assert "Winds" in (line.result.report if line.result else "")
    (told,) = (event for event in line.log if event["type"] == "recovered")
    assert told["completed_subcalls"] == (0 if dies_after < 2 else told["completed_subcalls"])
    assert told["completed_subcalls"] <= SUBCALLS


@pytest.mark.parametrize("puts", range(12))
@pytest.mark.parametrize("turn", [1, 2])
def test_a_crash_at_any_checkpoint_is_healed(turn: int, puts: int) -> None:
    saver = MortalMemory()
    line = Line(in_memory(saver))
    if turn == 2:
        line.process()
        follow_up = Input(message="Winds", steering="new_topic")
        line = Line(in_memory(saver), input=follow_up, run_id="inv_2", entry_mode="resumed")
    saver.puts_left = puts
    with pytest.raises(Killed):
        line.process()
    line.process()
    line.check(crashes=1)
    (told,) = (event for event in line.log if event["type"] == "recovered")
    done = sum(event["type"] == "subcall_end" for event in line.log[: line.log.index(told)])
    assert done <= told["completed_subcalls"] <= done + 1


def test_a_model_that_fails_for_good_is_raised_with_the_progress_kept() -> None:
    line = Line(in_memory(), model=FakeModel(script=lambda call: answers(call) if call < 3 else [ValueError("no")]))
    with pytest.raises(ModelFailed):
        line.process()
    assert kinds(line.log).count("phase_end") == 1
    line.model.script = answers
    line.process()
    line.check(crashes=1)


def test_a_retry_is_told_and_its_attempts_are_counted_over_a_crash() -> None:
    def script(call: int) -> list[str | BaseException]:
        return ["lost ", ConnectionError("cut")] if call in (1, 3) else list(answers(call))

    line = Line(in_memory(), model=FakeModel(script=script))
    line.process(dies_after=7)
    assert kinds(line.log)[-5:] == ["subcall_start", "token", "retrying", "subcall_start", "token"]
    line.process()
    numbers = [
        (e["type"], e["attempt"]) for e in line.log if e.get("index") == 1 and "attempt" in e and e["phase"] == 1
    ]
    assert numbers[:6] == [
        ("subcall_start", 1),
        ("retrying", 1),
        ("subcall_start", 2),
        ("subcall_start", 3),
        ("retrying", 3),
        ("subcall_start", 4),
    ]
    check_stream(stream(line.whole()), ended=True)
