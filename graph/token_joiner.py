"""Joins the tokens that come close together, so that one event carries them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

WINDOW_SEC = 0.025
# Between two events of a stream; at 50 tokens/s and below each token so goes at once.
GAP_SEC = 0.015


class TokenJoiner:
    """Hands on text at once when the last was handed on 15 ms ago; what comes sooner waits, at most 25 ms in all."""

    def __init__(
        self, emit: Callable[[str], None], *, window_sec: float = WINDOW_SEC, gap_sec: float = GAP_SEC
    ) -> None:
        self._emit = emit
        self._window = window_sec
        self._gap = gap_sec
        self._loop = asyncio.get_running_loop()
        self._waiting: list[str] = []
        self._timer: asyncio.TimerHandle | None = None
        self._free_at = 0.0
        self._all: list[str] = []

    @property
    def text(self) -> str:
        """Everything that was added."""
        return "".join(self._all)

    def add(self, piece: str) -> None:
        """Takes the next piece of text."""
        self._all.append(piece)
        self._waiting.append(piece)
        if self._loop.time() >= self._free_at:
            self.flush()
        elif self._timer is None:
            self._timer = self._loop.call_at(self._free_at - GAP_SEC + WINDOW_SEC, self.flush)

    def flush(self) -> None:
        """Hands on what waits. To be called when the text has ended, or was broken off."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._waiting:
            joined = "".join(self._waiting)
            self._waiting.clear()
            self._free_at = self._loop.time() + GAP_SEC
            self._emit(joined)
