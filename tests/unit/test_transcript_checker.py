"""The checker passes good transcripts, and finds each way of breaking one."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest

from tests.acceptance.client import Frame, Frames, Json, ResearchClient
from tests.acceptance.transcript import (
    BrokenPromise,
    check_invocation,
    check_same,
    check_stream,
    model_calls_repeated,
    subcall_texts,
)
from tests.unit.good_transcript import (
    COMPLETE,
    FAILED,
    GOOD,
    PING,
    RETRY,
    STEERING,
    done,
    end,
    event,
    numbered,
    phase_end,
    phase_start,
    retrying,
    run_start,
    start,
    stream,
    token,
    winding_down,
)


def check(events: list[Json], status: str = "completed") -> None:
    check_stream(stream(events, status), ended=True)


BEGUN = GOOD[:5]
ONE_PHASE = GOOD[:19]
RESUMED_INSIDE = [run_start("resumed"), start(1, 2, 3), token(1, 2, "x"), end(1, 2, 3), phase_end(1)]
PHASE_TWO = [phase_start(2), start(2, 1), end(2, 1), start(2, 2), end(2, 2), phase_end(2)]


@pytest.mark.parametrize(
    ("events", "status"),
    [
        (GOOD, "completed"),
        ([*BEGUN, STEERING, winding_down("steering")], "superseded"),
        ([*ONE_PHASE, winding_down("operator_cancel", 1)], "cancelled"),
        ([*BEGUN, winding_down("timeout")], "timed_out"),
        ([*BEGUN, winding_down("budget")], "timed_out"),
        ([*BEGUN, winding_down("budget")], "completed"),
        ([*BEGUN, FAILED], "failed"),
        ([*BEGUN, event("invented_later", whatever=1), FAILED], "failed"),
        ([*RESUMED_INSIDE, *PHASE_TWO, COMPLETE], "completed"),
        ([run_start("resumed"), *PHASE_TWO, COMPLETE], "completed"),
        ([run_start("resumed"), COMPLETE], "completed"),
        ([winding_down("steering")], "superseded"),
    ],
)
def test_a_good_transcript_passes(events: list[Json], status: str) -> None:
    check(events, status)


def test_comments_and_an_open_end_are_fine() -> None:
    frames = [PING, *itertools.chain.from_iterable((frame, PING) for frame in stream(GOOD)[:-1])]
    for length in range(1, len(frames)):
        if RETRY in frames[:length]:
            check_stream(frames[:length], ended=False)


def test_retry_may_share_the_first_event_s_frame() -> None:
    first, *rest = numbered(GOOD)
    check_stream([Frame(first.id, None, first.data, 1000), *rest, done("completed")], ended=True)


def changed(at: int, **fields: object) -> list[Json]:
    """GOOD with other fields in one event; `...` takes a field away."""
    fresh = {name: value for name, value in (GOOD[at] | fields).items() if value is not ...}
    return [*GOOD[:at], fresh, *GOOD[at + 1 :]]


def inserted(at: int, *events: Json) -> list[Json]:
    return [*GOOD[:at], *events, *GOOD[at:]]


def without(*places: int) -> list[Json]:
    return [event for at, event in enumerate(GOOD) if at not in places]


BROKEN: list[tuple[str, list[Json], str]] = [
    ("no run_start", without(0), "before run_start"),
    ("first run_start recovered", changed(0, entry_mode="recovered"), "first run_start"),
    ("later run_start fresh", changed(13, entry_mode="fresh"), "a later run_start is"),
    ("later run_start of another topic", changed(13, topic="u"), "another topic"),
    ("run_start without recovered", without(14), "`recovered` follows"),
    ("recovered without run_start", without(13), "`recovered` follows"),
    ("something between run_start and recovered", inserted(14, token(1, 1, "x")), "`recovered` follows"),
    ("recovered forgets a phase", changed(24, completed_phases=0), "fewer phases are complete"),
    ("recovered with another total", changed(14, total_phases=3), "not as in run_start"),
    ("no terminal event", GOOD[:-1], "without run_complete"),
    ("two terminal events", [*GOOD, COMPLETE], "behind the last event"),
    ("an event behind the terminal one", [*GOOD, STEERING], "behind the last event"),
    ("phase_start twice", inserted(2, phase_start(1)), "E2"),
    ("phase_start after its end", inserted(19, phase_start(1)), "comes again"),
    ("phase skipped", changed(1, phase=2), "phase 2 comes behind 0"),
    ("phase starts in another", inserted(3, phase_start(2)), "before phase 1 has ended"),
    ("too many phases", [*GOOD[:-1], phase_start(3)], "phase 3 of 2"),
    ("phase total changes", changed(1, total=3), "not as in run_start"),
    ("phase_end twice", inserted(19, phase_end(1)), "E2"),
    ("phase_end missing", without(18, 19), "before phase 1 has ended"),
    ("phase_end of another", changed(18, phase=2), "not open"),
    ("phase_end while a subcall runs", inserted(17, phase_end(1)), "before all 2"),
    ("phase_end before the last subcall", inserted(10, phase_end(1)), "before all 2"),
    ("phase_end with another title", changed(18, title="x"), "another title"),
    ("subcall_end twice", inserted(10, end(1, 1, 2)), "has ended"),
    ("subcall_end missing", without(9, 10), "before the one before it ended"),
    ("subcall_end of another attempt", changed(9, attempt=1), "differs"),
    ("subcall_end of another role", changed(9, role="refine"), "differs"),
    ("subcall_start after its end", inserted(10, start(1, 1, 3)), "after its subcall_end"),
    ("subcall_start again for no reason", inserted(8, start(1, 1, 3)), "without `recovered` or `retrying`"),
    ("subcall_start again with the same attempt", changed(15, attempt=1), "attempt 1 comes behind 1"),
    ("subcall_start again two higher", changed(15, attempt=3), "attempt 3 comes behind 1"),
    ("subcall_start again with another role", changed(15, role="refine"), "another role"),
    ("subcall_start again after a retry of the same attempt", changed(6, attempt=1), "attempt 1 comes behind 1"),
    ("first subcall_start with attempt 2", changed(3, attempt=2), "starts first"),
    ("a committed subcall starts again", inserted(26, start(2, 1, 2)), "without `recovered`"),
    ("subcall skipped", changed(3, index=2), "comes behind 0"),
    ("subcall beyond `of`", changed(3, index=3), "only 2"),
    ("`of` changes", changed(3, of=3), "`of` is 3"),
    ("subcall outside of its phase", inserted(19, start(2, 1)), "not open"),
    ("token before its subcall", inserted(3, token(1, 1, "x")), "has not started"),
    ("token after its subcall", inserted(10, token(1, 1, "x")), "has ended"),
    ("token of another subcall", changed(7, index=2), "has not started"),
    ("token between retrying and the new start", inserted(6, token(1, 1, "x")), "has to start again"),
    ("retrying what has ended", inserted(10, retrying(1, 1)), "has ended"),
    ("retrying another attempt", changed(5, attempt=4), "differs"),
    ("cooldown while a subcall runs", inserted(4, GOOD[10]), "while a subcall runs"),
    ("cooldown inside, between phases", changed(19, stage="intra_phase", subcall=1, of=2), "not open"),
    ("cooldown between, inside a phase", changed(10, stage="inter_phase"), "while phase 1 is open"),
    ("cooldown before another subcall", changed(10, subcall=1), "comes not next"),
    ("cooldown inside without subcall", changed(10, subcall=...), "wrong fields"),
    ("cooldown without a time", changed(10, resume_at="soon"), "wrong fields"),
    ("cooldown without a zone", changed(10, resume_at="2026-11-23T10:13:05"), "wrong fields"),
    ("sources of no phase", changed(2, phase=3), "sources of phase 3"),
    ("complete with an open phase", without(30), "has not ended"),
    ("complete too early", [*ONE_PHASE, COMPLETE], "behind phase 1 of 2"),
    ("complete with another count", changed(31, phases_completed=1), "phases_completed is 1"),
    ("seconds in the time", changed(1, server_time_utc="2026-11-23T10:13:00Z"), "wrong fields"),
    ("a zone in the time", changed(1, server_time_utc="2026-11-23T10:13:00.123+00:00"), "wrong fields"),
    ("no such day", changed(1, server_time_utc="2026-13-23T10:13:00.123Z"), "wrong fields"),
    ("uptime is text", changed(1, server_uptime_sec="1"), "wrong fields"),
    ("a bool for a number", changed(1, phase=True), "wrong fields"),
    ("unknown role", changed(3, role="writer"), "wrong fields"),
    ("empty token", changed(4, content=""), "wrong fields"),
    ("usage without tokens", changed(9, usage={}), "wrong fields"),
    ("type is no text", changed(1, type=1), "wrong fields"),
]


@pytest.mark.parametrize(("events", "sentence"), [case[1:] for case in BROKEN], ids=[case[0] for case in BROKEN])
def test_a_broken_order_is_found(events: list[Json], sentence: str) -> None:
    with pytest.raises(BrokenPromise, match=sentence):
        check(events)


REQUIRED = [
    (at, name)
    for at, event in enumerate([*GOOD, STEERING, winding_down("timeout"), FAILED])
    for name in event
    if at not in (6, 7, 8, 13, 15, 16, 17, 22, 23, 24, 25, 26, 27, 28, 29, 30)
]


@pytest.mark.parametrize(("at", "name"), REQUIRED)
def test_each_required_field_is_missed(at: int, name: str) -> None:
    events = [*GOOD, STEERING, winding_down("timeout"), FAILED]
    events[at] = {field: value for field, value in events[at].items() if field != name}
    with pytest.raises(BrokenPromise, match="wrong fields"):
        check([run_start("fresh"), events[at]] if at else events)


@pytest.mark.parametrize(
    ("events", "status"),
    [
        (GOOD, "failed"),
        ([*BEGUN, FAILED], "completed"),
        ([*BEGUN, winding_down("budget")], "cancelled"),
        ([*BEGUN, STEERING, winding_down("steering")], "cancelled"),
        ([*BEGUN, winding_down("operator_cancel")], "superseded"),
        ([*BEGUN, winding_down("timeout")], "completed"),
    ],
)
def test_a_status_that_does_not_fit_is_found(events: list[Json], status: str) -> None:
    with pytest.raises(BrokenPromise, match=f"status is {status}"):
        check(events, status)


@pytest.mark.parametrize(
    ("events", "sentence"),
    [
        ([*BEGUN, winding_down("steering")], "no `steering` has told"),
        ([*BEGUN, winding_down("timeout", 1)], "1 phases complete, 0 ended"),
        ([*ONE_PHASE, FAILED], "0 phases complete, 1 ended"),
    ],
)
def test_a_wrong_wind_down_is_found(events: list[Json], sentence: str) -> None:
    with pytest.raises(BrokenPromise, match=sentence):
        check(events)


FRAMES = stream(GOOD)
FOREIGN = Frame(event="done", data='{"type":"done","invocation_id":"inv_9","status":"completed"}')


def replaced(at: int, frame: Frame) -> list[Frame]:
    frames = list(FRAMES)
    frames[at] = frame
    return frames


@pytest.mark.parametrize(
    ("frames", "sentence"),
    [
        ([], "begin with `retry: 1000`"),
        (FRAMES[1:], "begin with `retry: 1000`"),
        (replaced(0, Frame(retry=2000)), "begin with `retry: 1000`"),
        ([*FRAMES[:3], RETRY, *FRAMES[3:]], "`retry` comes again"),
        (FRAMES[:-1], "without the frame `event: done`"),
        ([*FRAMES, FRAMES[-1]], "something follows"),
        ([*FRAMES, PING], "something follows"),
        (replaced(-1, Frame("33", "done", FRAMES[-1].data)), "has a number"),
        (replaced(-1, Frame(event="gone", data="{}")), "event: gone"),
        (replaced(-1, Frame(event="done", data='{"type":"done"}')), "wrong fields"),
        ([*FRAMES[:-1], FOREIGN], "invocation_id is inv_9"),
        (replaced(4, Frame(FRAMES[4].id, "message", FRAMES[4].data)), "event: message"),
        (replaced(4, Frame(None, None, FRAMES[4].data)), "the number is None"),
        (replaced(4, Frame("04", None, FRAMES[4].data)), "the number is 04"),
        (replaced(4, Frame("4", None, FRAMES[5].data)), "sequence_number is 5"),
        (replaced(4, Frame("4")), "not one line"),
        (replaced(4, Frame("4", None, '{"type":\n"token"}')), "not one line"),
        (replaced(4, Frame("4", None, "{")), "not JSON"),
        (replaced(4, Frame("4", None, '{"sequence_number": 4, "type": NaN}')), "not JSON"),
        (replaced(4, Frame("4", None, "[]")), "wrong fields"),
        (replaced(4, Frame()), "E1"),
    ],
)
def test_a_broken_frame_is_found(frames: list[Frame], sentence: str) -> None:
    with pytest.raises(BrokenPromise, match=sentence):
        check_stream(frames, ended=True)


def test_done_without_a_terminal_event_is_found_on_an_open_stream() -> None:
    with pytest.raises(BrokenPromise, match="without run_complete"):
        check_stream([*FRAMES[:5], FRAMES[-1]], ended=False)


def mutations(length: int) -> list[list[int]]:
    """Every order with one place deleted, one doubled, or two swapped."""
    places = list(range(length))
    deleted = [places[:at] + places[at + 1 :] for at in places]
    doubled = [[*places[:at], at, *places[at:]] for at in places]
    swapped = [[{a: b, b: a}.get(at, at) for at in places] for a, b in itertools.combinations(places, 2)]
    return deleted + doubled + swapped


def passes(frames: list[Frame]) -> bool:
    try:
        check_stream(frames, ended=True)
    except BrokenPromise:
        return False
    return True


def test_any_frame_deleted_doubled_or_swapped_is_found() -> None:
    assert [order for order in mutations(len(FRAMES)) if passes([FRAMES[at] for at in order])] == []


def told(events: list[Json], *silent: str) -> list[object]:
    """What an order tells, without the text of tokens and without the types that are silent."""
    heard = [event for event in events if event["type"] not in silent]
    return [(e["phase"], e["index"]) if e["type"] == "token" else e for e in heard]


def is_harmless(events: list[Json]) -> bool:
    """`sources` may come anywhere, and one token or cooldown more or less makes another good transcript."""
    more_or_less = ("sources", "token", "cooldown") if len(events) != len(GOOD) else ("sources",)
    return told(events, *more_or_less) == told(GOOD, *more_or_less)


def test_an_event_deleted_doubled_or_swapped_is_found_under_fresh_numbers() -> None:
    mutants = ([GOOD[at] for at in order] for order in mutations(len(GOOD)))
    assert [events for events in mutants if not is_harmless(events) and passes(stream(events))] == []


def test_readers_that_saw_the_same() -> None:
    check_same(FRAMES, FRAMES[7:])
    with pytest.raises(BrokenPromise, match="two readers"):
        check_same(FRAMES, replaced(4, Frame("4", None, str(FRAMES[4].data) + " ")))


def test_texts_are_those_of_the_last_start() -> None:
    assert subcall_texts(FRAMES) == {(1, 1): "a b", (1, 2): "c", (2, 1): "d e", (2, 2): "f"}
    assert model_calls_repeated(FRAMES) == 2


class Served(ResearchClient):
    """A server that has one ended invocation."""

    def __init__(self, frames: list[Frame], **record: object) -> None:
        self.frames, self.text, self.skip = frames, "# Report", 0
        last = {"status": "completed", "last_event_id": len(GOOD), "phases_completed": 2, "ended_at": "2026"}
        self.kept: Json = last | record

    def record(self, invocation_id: str) -> Json:
        return self.kept

    def report(self, invocation_id: str) -> str:
        return self.text

    def read_stream(
        self,
        invocation_id: str,
        from_: int | None = None,
        until: Callable[[Frame], bool] | None = None,
        timeout: float = 60,
        *,
        via: str = "query",
    ) -> Frames:
        after = from_ + self.skip if from_ else 0
        frames = Frames((f for f in self.frames if f.id is None or int(f.id) > after), "done")
        frames.headers = {"content-type": "text/event-stream", "cache-control": "no-store", "x-accel-buffering": "no"}
        stop = next((at for at, frame in enumerate(frames, 1) if until and until(frame)), None)
        return Frames(frames[:stop], "stopped") if stop else frames


def test_an_invocation_whose_stream_record_and_report_agree() -> None:
    for name in ("inv_1", "inv_2", "inv_3"):
        assert list(check_invocation(Served(FRAMES), name)) == FRAMES


@pytest.mark.parametrize(
    ("name", "value"), [("status", "failed"), ("last_event_id", 3), ("phases_completed", 1), ("ended_at", None)]
)
def test_a_record_that_differs_is_found(name: str, value: object) -> None:
    with pytest.raises(BrokenPromise, match=name):
        check_invocation(Served(FRAMES, **{name: value}), "inv_1")


def test_an_empty_report_and_a_wrong_resumption_are_found() -> None:
    served = Served(FRAMES)
    served.text = " "
    with pytest.raises(BrokenPromise, match="empty report"):
        check_invocation(served, "inv_1")
    served.skip = 1
    with pytest.raises(BrokenPromise, match="goes on with"):
        check_invocation(served, "inv_1")
