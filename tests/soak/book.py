"""What the soak has seen so far, written by many threads."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterable


class Book:
    """Counts and latencies; `broken` is the first promise that was not kept."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.latencies: dict[str, list[tuple[float, float]]] = {}  # monotonic seconds, milliseconds
        self.resumed: Counter[str] = Counter()  # by thread
        self.ended = 0
        self.broken: str | None = None
        self._lock = threading.Lock()

    def count(self, name: str, more: int = 1) -> None:
        with self._lock:
            self.counts[name] += more

    def took(self, name: str, seconds: Iterable[float]) -> None:
        """Notes latencies."""
        with self._lock:
            self.latencies.setdefault(name, []).extend((time.monotonic(), value * 1000) for value in seconds)

    def end_turn(self, status: str, events: int) -> None:
        """Notes a turn that has ended, and was checked."""
        with self._lock:
            self.ended += 1
            self.counts[f"turns {status}"] += 1
            self.counts["events"] += events

    def resume(self, thread: str) -> None:
        """A client wants a call again that it had broken off: one repeated call more is nobody's fault."""
        with self._lock:
            self.resumed[thread] += 1

    def note_broken(self, sentence: str) -> None:
        with self._lock:
            self.broken = self.broken or sentence
