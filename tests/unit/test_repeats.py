"""What counts as a call that was made again for nothing: by the stream, and by what the model saw."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.acceptance.client import Json
from tests.acceptance.repeats import Repeats, check_repeats
from tests.acceptance.transcript import BrokenPromise
from tests.openai_stub.model import Call
from tests.unit.good_transcript import end, numbered, phase_start, recovered, retrying, run_start, start

BEGUN = [run_start("fresh"), phase_start(1), start(1, 1)]
RECOVERED = [run_start("recovered"), recovered(0, 0)]


@pytest.mark.parametrize(
    "events",
    [
        [*BEGUN, *RECOVERED, start(1, 1, 2), end(1, 1, 2)],
        [*BEGUN, *RECOVERED, start(1, 1, 2), *RECOVERED, start(1, 1, 3)],
        [*BEGUN, retrying(1, 1), start(1, 1, 2), retrying(1, 1), start(1, 1, 3)],
        [*BEGUN, *RECOVERED, start(1, 1, 2), retrying(1, 1), start(1, 1, 3)],
    ],
)
def test_a_call_a_crash_and_what_the_model_failed_at(events: list[Json]) -> None:
    check_repeats(numbered(events))


def test_two_calls_a_crash() -> None:
    events = [*BEGUN, *RECOVERED, start(1, 1, 2), end(1, 1, 2), start(1, 2, 2)]
    with pytest.raises(BrokenPromise, match="repeated a second subcall"):
        check_repeats(numbered(events))


def call(prompt: str, at: float, *, run: str = "one", fault: str = "ok") -> Call:
    return Call(
        number=1,
        prompt=prompt,
        last_user=run,
        asked=run,
        model="stub",
        started_at=at,
        started_monotonic=at,
        fault=fault,
    )


@pytest.mark.parametrize(
    ("calls", "most"),
    [
        ([call("a", 1), call("b", 2)], 0),
        ([call("a", 1), call("a", 11)], 1),
        ([call("a", 1), call("b", 1, run="two"), call("a", 11), call("b", 11, run="two")], 1),
        ([call("a", 1), call("a", 11), call("a", 21)], 1),
        ([call("a", 1), call("b", 2), call("a", 11), call("b", 12)], 2),
        ([call("a", 1, fault="cut"), call("a", 2), call("b", 3, fault="status"), call("b", 4)], 0),
    ],
)
def test_what_the_model_saw_again(calls: list[Call], most: int) -> None:
    repeats = Repeats(lambda call: call.last_user)
    for call in calls:
        repeats.take([call], [0, 10, 20])
    assert repeats.most()[0] == most


def test_a_call_that_a_client_wanted_again_is_allowed() -> None:
    repeats = Repeats(lambda call: call.last_user)
    repeats.take([call("a", 1), call("a", 11), call("a", 12)], [0, 10])
    assert repeats.most() == (2, "one")
    assert repeats.most(Counter({"one": 1})) == (1, "one")
