"""Joins the tokens that come close together, so that one event carries them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

WINDOW_SEC = 0.025


class TokenJoiner:
    """Hands on text at once when the last piece is 25 ms old or older; what comes sooner waits for the rest of them."""

    def __init__(self, emit: Callable[[str], None], *, window_sec: float = WINDOW_SEC) -> None:
        self._emit = emit
        self._window = window_sec
        self._loop = asyncio.get_running_loop()
        self._waiting: list[str] = []
        self._timer: asyncio.TimerHandle | None = None
        self._all: list[str] = []

    @property
    def text(self) -> str:
        """Everything that was added."""
        return "".join(self._all)

    def add(self, piece: str) -> None:
        """Takes the next piece of text."""
        self._all.append(piece)
        if self._timer is None:
            self._emit(piece)
            self._timer = self._loop.call_later(self._window, self._window_ended)
        else:
            self._waiting.append(piece)

    def _window_ended(self) -> None:
        self._timer = None
        if self._waiting:
            self._hand_on()
            self._timer = self._loop.call_later(self._window, self._window_ended)

    def _hand_on(self) -> None:
        joined = "".join(self._waiting)
        self._waiting.clear()
        self._emit(joined)

    def flush(self) -> None:
        """Hands on what waits. To be called when the text has ended, or was broken off."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._waiting:
            self._hand_on()
