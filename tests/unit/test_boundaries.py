"""For every beginning of a stream and every committed state: healing gives exactly what is missing, once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graph.boundaries import Boundaries
from graph.context import roles
from graph.events import Event, boundary_key
from graph.seen import Seen
from graph.state import Finding, Pause, Source, SourceList, State

TOTAL, CALLS, TURN = 3, 2, 4
PLAN = [f"Title {phase}" for phase in range(1, TOTAL + 1)]
SUBCALLS = [(phase, index) for phase in range(1, TOTAL + 1) for index in range(1, CALLS + 1)]
# What earlier turns left on the thread: none of this turn's events come of it.
OLD_SOURCES = [SourceList(line=1, turn=TURN - 1, phase=1, items=[])]


def finding(phase: int, index: int, turn: int = TURN) -> Finding:
    return Finding(
        line=1,
        turn=turn,
        phase=phase,
        index=index,
        role=roles(CALLS)[index - 1],
        text=f"Text of {phase}.{index}.",
        model="offline",
        usage={"input_tokens": 2, "output_tokens": 3},
        phase_started_at=10.0 * phase,
        started_at=10.0 * phase + index,
        ended_at=10.0 * phase + index + 0.5,
    )


OLD_FINDINGS = [finding(1, 1, TURN - 1)]


def sources(phase: int) -> SourceList:
    """Every other phase has found something."""
    items = [Source(id=phase, title="T", url="u", snippet="s")] if phase % 2 else []
    return SourceList(line=1, turn=TURN, phase=phase, items=items)


@dataclass(frozen=True)
class Commit:
    """A checkpoint: its state, and the node that comes next."""

    state: State
    following: tuple[str, ...]


def commits() -> list[Commit]:
    """Every checkpoint of a turn, in order."""
    entered: list[SourceList] = []
    finished: list[Finding] = []
    result = [Commit(_state(entered, finished), ("phase",))]
    for phase, index in SUBCALLS:
        if index == 1:
            entered = [*entered, sources(phase)]
            result.append(Commit(_state(entered, finished), ("subcall",)))
        finished = [*finished, finding(phase, index)]
        result.append(Commit(_state(entered, finished), ("cooldown",)))
    return result


def _state(entered: Sequence[SourceList], finished: Sequence[Finding]) -> State:
    count = len(finished)
    phase, index = SUBCALLS[count] if count < len(SUBCALLS) else (TOTAL + 1, 1)
    stage = "inter_phase" if index == 1 else "intra_phase"
    pause = Pause(stage=stage, duration_sec=5.0, resume_at=50.0, phase=phase, subcall=index)  # type: ignore[typeddict-item]
    return State(
        plan=PLAN,
        turn=TURN,
        phase=phase,
        index=index,
        sources=[*OLD_SOURCES, *entered],
        findings=[*OLD_FINDINGS, *finished],
        cooldown=pause if 0 < count < len(SUBCALLS) else None,
    )


COMMITS = commits()


def told_live(phase: int, index: int) -> list[Event]:
    """What the nodes tell of one subcall while it runs."""
    text = finding(phase, index)["text"]
    where = {"phase": phase, "index": index}
    begun = {"type": "subcall_start", **where, "role": roles(CALLS)[index - 1], "of": CALLS, "attempt": 1}
    return [begun, *({"type": "token", "content": piece, **where} for piece in (text[:4], text[4:]))]


def whole_stream() -> list[tuple[Event, int]]:
    """The events of a turn without a crash, each with the number of commits behind which it comes."""
    boundaries, stream = Boundaries(Seen(), CALLS), list[tuple[Event, int]]()
    for count, commit in enumerate(COMMITS, start=1):
        stream += [(event, count) for event in boundaries.committed(commit.state, f"c{count}", commit.following)]
        done = len(commit.state["findings"]) - len(OLD_FINDINGS)
        if "phase" not in commit.following and done < len(SUBCALLS):
            phase, index = SUBCALLS[done]
            if len(commit.state["sources"]) - len(OLD_SOURCES) == phase:
                stream += [(event, count) for event in live(boundaries, told_live(phase, index))]
    return stream


def live(boundaries: Boundaries, events: Sequence[Event]) -> list[Event]:
    return [made for event in events for made in boundaries.live(event)]


STREAM = whole_stream()
EVENTS = [event for event, _ in STREAM]


def keys(events: Sequence[Event]) -> list[str]:
    return [key for event in events if (key := boundary_key(event)) is not None]


def texts(events: Sequence[Event]) -> dict[tuple[int, int], str]:
    found: dict[tuple[int, int], str] = {}
    for event in events:
        if event["type"] == "subcall_start":
            found[event["phase"], event["index"]] = ""
        elif event["type"] == "token":
            found[event["phase"], event["index"]] += event["content"]
    return found


def healed(shown: Sequence[Event], count: int) -> list[Event]:
    """What a recovery adds to `shown` where the first `count` checkpoints are committed."""
    seen = Seen()
    for event in shown:
        seen.note(event)
    commit = COMMITS[count - 1]
    return list(Boundaries(seen, CALLS).committed(commit.state, f"c{count}", commit.following))


# A stream shows nothing that is not committed, so behind each beginning of it these states are possible.
POSSIBLE = [
    (length, count)
    for length in range(len(EVENTS) + 1)
    for count in range(1, len(COMMITS) + 1)
    if all(behind <= count for _, behind in STREAM[:length])
]


def test_the_whole_stream_is_what_the_protocol_wants() -> None:
    kinds = [event["type"] for event in EVENTS]
    first = ["phase_start", "sources", *["subcall_start", "token", "token", "subcall_end", "cooldown"]]
    assert kinds[: len(first)] == first
    assert [kinds.count(kind) for kind in ("phase_start", "phase_end", "subcall_end")] == [TOTAL, TOTAL, len(SUBCALLS)]
    found = [len(event["items"]) for event in EVENTS if event["type"] == "sources"]
    assert found == [1, 0, 1], "a phase that found nothing says so"
    assert kinds[-2:] == ["subcall_end", "phase_end"]
    assert len(keys(EVENTS)) == len(set(keys(EVENTS)))


def test_what_earlier_turns_left_is_none_of_this_one() -> None:
    assert healed([], 1) == []


@pytest.mark.parametrize(("length", "count"), POSSIBLE)
def test_healing_gives_what_is_missing_once(length: int, count: int) -> None:
    shown = EVENTS[:length]
    added = healed(shown, count)
    joined = [*shown, *added]
    assert len(keys(joined)) == len(set(keys(joined)))
    committed = [event for event, behind in STREAM if behind <= count]
    wanted = {key for key in keys(committed) if key.partition(":")[0] in ("phase_start", "phase_end", "subcall_end")}
    assert wanted <= set(keys(joined))
    done = {(f["phase"], f["index"]): f["text"] for f in COMMITS[count - 1].state["findings"] if f["turn"] == TURN}
    assert {key: text for key, text in texts(joined).items() if key in done} == done


@pytest.mark.parametrize(("length", "count"), POSSIBLE)
def test_healing_keeps_the_order(length: int, count: int) -> None:
    order = {key: at for at, key in enumerate(keys(EVENTS))}
    joined = [key for key in keys([*EVENTS[:length], *healed(EVENTS[:length], count)]) if "subcall_start" not in key]
    assert joined == sorted(joined, key=order.__getitem__)


@given(st.sampled_from(POSSIBLE))
def test_healing_twice_adds_nothing(case: tuple[int, int]) -> None:
    length, count = case
    once = [*EVENTS[:length], *healed(EVENTS[:length], count)]
    assert healed(once, count) == []


@given(st.data())
def test_a_second_crash_inside_the_healing_is_healed_as_well(data: st.DataObject) -> None:
    length, count = data.draw(st.sampled_from(POSSIBLE))
    added = healed(EVENTS[:length], count)
    cut = data.draw(st.integers(0, len(added)))
    joined = [*EVENTS[:length], *added[:cut]]
    joined += healed(joined, count)
    assert joined == [*EVENTS[:length], *added] or texts(joined) == texts([*EVENTS[:length], *added])
    assert sorted(keys(joined)) == sorted(keys([*EVENTS[:length], *added]))


def test_the_checkpoint_of_an_end_is_the_one_that_is_committed() -> None:
    first = [event for event in healed([], 3) if event["type"] == "subcall_end"]
    assert [event["checkpoint_id"] for event in first] == ["c3"]
    assert first[0]["duration_sec"] == 0.5
    assert first[0]["usage"] == {"input_tokens": 2, "output_tokens": 3}


def test_a_text_that_differs_from_the_committed_one_is_told_again_as_the_next_attempt() -> None:
    where = {"phase": 1, "index": 1}
    shown: list[Event] = [
        *EVENTS[:2],
        {"type": "subcall_start", **where, "role": "research", "of": CALLS, "attempt": 1},
        {"type": "token", "content": "Other text", **where},
    ]
    added = healed(shown, 3)
    assert [event["type"] for event in added[:3]] == ["subcall_start", "token", "subcall_end"]
    assert [added[0]["attempt"], added[2]["attempt"]] == [2, 2]
    assert texts([*shown, *added])[1, 1] == finding(1, 1)["text"]


def test_attempts_are_counted_over_a_crash_and_told_by_retries() -> None:
    seen = Seen()
    for event in EVENTS[:4]:
        seen.note(event)
    boundaries = Boundaries(seen, CALLS)
    begun = told_live(1, 1)[0]
    retry: Event = {"type": "retrying", "phase": 1, "index": 1, "role": "research", "attempt": 1, "delay_sec": 0}
    again = live(boundaries, [begun, retry, begun | {"attempt": 2}])
    assert [event["attempt"] for event in again] == [2, 2, 3]


def test_a_cooldown_is_told_only_where_it_comes_next() -> None:
    state = COMMITS[2].state
    told = [
        list(Boundaries(Seen(), CALLS).committed(state, "c", following)) for following in (("cooldown",), ("steering",))
    ]
    assert [sum(event["type"] == "cooldown" for event in events) for events in told] == [1, 0]
    inside = told[0][-1]
    assert (inside["stage"], inside["subcall"], inside["of"]) == ("intra_phase", 2, CALLS)
    assert inside["resume_at"] == "1970-01-01T00:00:50.000Z"


def test_between_phases_a_cooldown_names_no_subcall() -> None:
    added = [event for event in healed([], 4) if event["type"] == "cooldown"]
    assert [event["stage"] for event in added] == ["inter_phase"]
    assert not {"subcall", "of"} & added[0].keys()
