"""A model endpoint as all runs of this process share it: when it limits one of them, all of them slow down."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

FIRST_SPACING_SEC = 0.05
MAX_SPACING_SEC = 5.0


class Endpoint:
    """Spaces out the calls to one endpoint after it answered 429, and forgets that while calls succeed.

    Without a 429 calls are not held back at all. Each 429 doubles the space between two calls, up to 5 s, and each
    success takes a tenth of it away, as congestion control does.
    """

    def __init__(
        self, *, now: Callable[[], float] = time.monotonic, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    ) -> None:
        self._now = now
        self._sleep = sleep
        self._next_slot = 0.0
        self._paused_until = 0.0
        self._spacing = 0.0

    async def ready(self) -> None:
        """Returns when the caller may send its request; callers leave in the order in which they came."""
        while True:
            slot = max(self._now(), self._next_slot, self._paused_until)
            self._next_slot = slot + self._spacing
            while (rest := slot - self._now()) > 0:
                await self._sleep(rest)
            # While it slept, another call may have been told to hold back.
            if self._paused_until <= slot:
                return

    def limited(self, pause_sec: float) -> None:
        """The endpoint answered 429 and wants `pause_sec` of rest."""
        self._spacing = min(MAX_SPACING_SEC, max(FIRST_SPACING_SEC, self._spacing * 2))
        self._paused_until = max(self._paused_until, self._now() + pause_sec)

    def succeeded(self) -> None:
        """A call was answered."""
        self._spacing = self._spacing * 0.9 if self._spacing > FIRST_SPACING_SEC / 2 else 0.0
