"""A run's events on a screen."""

from __future__ import annotations

import time
from collections.abc import Callable

from client.event import Event, printable
from client.lines import line_of
from client.screen import Colour, Screen
from client.status import Status

_TOKEN_REFRESH_SEC = 0.1

_COLOURS: dict[str, Colour] = {"phase_end": "green", "retrying": "yellow", "recovered": "yellow"}


class Progress:
    """`take` each event; `say` what is not an event. Tokens redraw the status at most ten times a second."""

    def __init__(self, screen: Screen, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._screen = screen
        self._monotonic = monotonic
        self._status = Status()
        self._redraw_tokens_at = 0.0

    def take(self, event: Event) -> None:
        self._status.take(event)
        line = line_of(event)
        if line is not None:
            self._screen.line(line, _COLOURS.get(str(event.get("type"))))
        if self._screen.live and self._is_due(event):
            self._screen.status(self._status.line(self._screen.columns))

    def say(self, sentence: str, colour: Colour | None = None) -> None:
        self._screen.line(printable(sentence), colour)

    def close(self) -> None:
        self._screen.clear()

    def _is_due(self, event: Event) -> bool:
        now = self._monotonic()
        if event.get("type") == "token" and now < self._redraw_tokens_at:
            return False
        self._redraw_tokens_at = now + _TOKEN_REFRESH_SEC
        return True
