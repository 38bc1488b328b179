"""What a stream already shows."""

from __future__ import annotations

import pytest

from graph.events import boundary_key
from graph.seen import Seen
from tests.acceptance.client import Json
from tests.unit.good_transcript import COMPLETE, GOOD, end, phase_start, retrying, start, token


def seen_of(events: list[Json]) -> Seen:
    seen = Seen()
    for event in events:
        seen.note(event)
    return seen


def tail_of(events: list[Json]) -> list[Json]:
    """The events from the last `subcall_start` on, or all where there is none: what the event log reads."""
    starts = [at for at, event in enumerate(events) if event["type"] == "subcall_start"]
    return events[starts[-1] :] if starts else events


def test_only_a_boundary_that_stands_there_is_known() -> None:
    seen = seen_of([phase_start(1), start(1, 1), token(1, 1, "a"), end(1, 1)])
    assert seen.knows(phase_start(1))
    assert seen.knows(start(1, 1))
    assert seen.knows(end(1, 1, attempt=2)), "a subcall ends once, whatever its attempt"
    assert not seen.knows(start(1, 1, attempt=2))
    assert not seen.knows(phase_start(2))
    assert not seen.knows(token(1, 1, "a"))
    assert not seen.knows(retrying(1, 1))
    assert not seen.knows(COMPLETE)


def test_text_is_what_follows_the_last_start() -> None:
    seen = seen_of(
        [start(1, 1), token(1, 1, "lost"), retrying(1, 1), start(1, 1, 2), token(1, 1, "a"), token(1, 1, "b")]
    )
    assert (seen.subcall, seen.attempt, "".join(seen.text)) == ((1, 1), 2, "ab")


@pytest.mark.parametrize(("phase", "index", "attempt"), [(1, 1, 3), (1, 2, 1), (2, 1, 1)])
def test_the_next_attempt(phase: int, index: int, attempt: int) -> None:
    assert seen_of([start(1, 1, 2)]).next_attempt(phase, index) == attempt


def test_the_first_attempt_of_all() -> None:
    assert Seen().next_attempt(1, 1) == 1


@pytest.mark.parametrize("length", range(len(GOOD) + 1))
def test_the_tail_of_a_log_tells_as_much_as_the_whole(length: int) -> None:
    events = GOOD[:length]
    keys = [key for event in events if (key := boundary_key(event)) is not None]
    assert Seen.from_tail(keys, tail_of(events)) == seen_of(events)
