"""What a key may do several times at once, but not without end: each holds memory, or a connection."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from server.problems import Problem

if TYPE_CHECKING:
    from prometheus_client import Counter as Metric


class AtOnce:
    """Lets each key do something `most` times at once, in this process. `what` says what; `met` counts refusals."""

    def __init__(self, most: int, what: str, met: Metric) -> None:
        self._most = most
        self._what = what
        self._met = met
        self._under_way: Counter[str] = Counter()

    @contextmanager
    def one(self, key: str) -> Iterator[None]:
        """One more of `key`, while the context is open. Raises `Problem` 429."""
        if self._under_way[key] >= self._most:
            self._met.inc()
            raise Problem(429, f"{self._most:,} {self._what} already.", headers={"Retry-After": "2"})
        self._under_way[key] += 1
        try:
            yield
        finally:
            self._under_way[key] -= 1
            if not self._under_way[key]:
                del self._under_way[key]
