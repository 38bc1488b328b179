"""What a stream already shows, so that a recovered turn neither repeats nor forgets an event."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from graph.events import boundary_key


@dataclass
class Seen:
    """The boundary keys of a stream, and the last subcall that it shows as begun with the text it got so far."""

    keys: set[str] = field(default_factory=set)
    subcall: tuple[int, int] | None = None
    attempt: int = 0
    text: list[str] = field(default_factory=list)

    def knows(self, event: Mapping[str, Any]) -> bool:
        """Whether the event stands in the stream and may not come again."""
        key = boundary_key(event)
        return key is not None and key in self.keys

    def note(self, event: Mapping[str, Any]) -> None:
        """Takes in the next event of the stream."""
        if (key := boundary_key(event)) is not None:
            self.keys.add(key)
        if event["type"] == "subcall_start":
            self.subcall = (event["phase"], event["index"])
            self.attempt = event["attempt"]
            self.text = []
        elif event["type"] == "token":
            self.text.append(event["content"])

    def next_attempt(self, phase: int, index: int) -> int:
        """The number of the attempt at this subcall that would begin now."""
        return self.attempt + 1 if self.subcall == (phase, index) else 1

    @classmethod
    def from_tail(cls, keys: Iterable[str], tail: Iterable[Mapping[str, Any]]) -> Seen:
        """From a log: all of its boundary keys, and its events from the last `subcall_start` on."""
        seen = cls(keys=set(keys))
        for event in tail:
            seen.note(event)
        return seen
