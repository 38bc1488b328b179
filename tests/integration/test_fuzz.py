"""A small part of `make fuzz`."""

from __future__ import annotations

from tests.fuzz.fuzz import fuzz_requests, fuzz_streams


def test_some_hundred_random_requests() -> None:
    statuses = fuzz_requests(400, 1)
    # It is no fuzz where nothing is let through, or nothing refused.
    assert {"200", "202", "401", "404", "422"} <= set(statuses), statuses


def test_some_hundred_random_streams() -> None:
    fuzz_streams(400, 1)
