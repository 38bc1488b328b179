"""The states of an invocation, against the words of protocol.md."""

from __future__ import annotations

import pytest

from server.status import ENDED_BY_CAUSE, FOLLOWING, Status
from tests.acceptance.event_shapes import STATUS

ENDS = {"completed", "failed", "cancelled", "timed_out", "superseded"}


def test_the_states_are_those_of_the_protocol() -> None:
    assert {status.value for status in Status} == ENDS | {"queued", "running"}


@pytest.mark.parametrize("status", list(Status))
def test_the_table_is_whole_and_an_end_is_an_end(status: Status) -> None:
    assert status.ended == (status.value in ENDS)
    assert (FOLLOWING[status] == frozenset()) == status.ended


def test_every_end_can_be_reached_from_the_queue() -> None:
    reached = {Status.QUEUED}
    for _ in Status:
        reached |= {following for status in reached for following in FOLLOWING[status]}
    assert reached == set(Status)


def test_a_crash_puts_a_running_turn_back() -> None:
    assert Status.QUEUED in FOLLOWING[Status.RUNNING]


def test_only_a_running_turn_completes() -> None:
    assert [status for status in Status if Status.COMPLETED in FOLLOWING[status]] == [Status.RUNNING]


@pytest.mark.parametrize("cause", ["steering", "operator_cancel", "timeout", "budget"])
def test_a_turn_that_winds_down_ends_as_its_cause_says(cause: str) -> None:
    assert ENDED_BY_CAUSE[cause].value in STATUS[cause]
