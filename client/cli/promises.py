"""Whether event streams keep what the protocol promises (E1 to E4), by what a reader saw of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from client.events import TERMINAL
from client.fields import Fields, whole
from client.records import Invocation

ONCE = ("phase_start", "phase_end", "subcall_end")


@dataclass(frozen=True)
class Verdict:
    """One promise, and whether it was kept."""

    promise: str
    kept: bool
    found: str


@dataclass(frozen=True)
class Seen:
    """What a reader saw of one turn: live over every crash, and once more from the start when it had ended."""

    live: Sequence[Fields]
    again: Sequence[Fields]
    record: Invocation
    crashes: int = 0


def verdicts(seen: Sequence[Seen]) -> Iterator[Verdict]:
    """One for each promise, over all turns."""
    events = sum(len(turn.live) for turn in seen)
    yield Verdict(
        "no event lost, none twice", all(_without_gap(turn.live) for turn in seen), f"{events:,} events, numbered"
    )
    yield Verdict("every reader sees the same", all(turn.live == turn.again for turn in seen), "read a second time")
    ends = sum(event.get("type") == "subcall_end" for turn in seen for event in turn.live)
    yield Verdict("every call and phase ends once", all(_once(turn.live) for turn in seen), f"{ends} calls")
    repeated, crashes = sum(map(_repeated, seen)), sum(turn.crashes for turn in seen)
    yield Verdict("a crash repeats one call at most", repeated <= crashes, f"{repeated} repeated, {crashes} crash")
    ended = all(turn.record.ended and _one_end(turn.live) for turn in seen)
    yield Verdict("every run comes to an end", ended, ", ".join(turn.record.status for turn in seen))


def _without_gap(events: Sequence[Fields]) -> bool:
    return [event.get("sequence_number") for event in events] == list(range(1, len(events) + 1))


def _once(events: Sequence[Fields]) -> bool:
    keys = Counter(
        (event["type"], whole(event, "phase"), whole(event, "index")) for event in events if event.get("type") in ONCE
    )
    return all(times == 1 for times in keys.values())


def _repeated(turn: Seen) -> int:
    starts = [
        (whole(event, "phase"), whole(event, "index")) for event in turn.live if event.get("type") == "subcall_start"
    ]
    return len(starts) - len(set(starts))


def _one_end(events: Sequence[Fields]) -> bool:
    """Exactly one terminal event, as the last."""
    return [event.get("type") in TERMINAL for event in events] == [False] * (len(events) - 1) + [True]
