"""Where progress is written: a terminal with one line that is updated in place, or a pipe with plain lines."""

from __future__ import annotations

import contextlib
import os
import unicodedata
from collections.abc import Mapping
from typing import Literal, TextIO, TypeAlias

Colour: TypeAlias = Literal["green", "yellow", "red", "cyan"]

_CODES: dict[Colour, int] = {"green": 32, "yellow": 33, "red": 31, "cyan": 36}
_CLEAR_LINE = "\r\x1b[2K"
_USUAL_COLUMNS = 80


class Screen:
    """Takes clean text only. A reader that has gone does not end the run: what cannot be written is dropped."""

    def __init__(self, stream: TextIO, environ: Mapping[str, str]) -> None:
        self._stream = stream
        self.live = stream.isatty() and environ.get("TERM") != "dumb"
        self._colours = self.live and not environ.get("NO_COLOR")
        self._has_status = False

    @property
    def columns(self) -> int:
        """The widest status line: one less than the terminal, since a full line wraps on some."""
        try:
            columns = os.get_terminal_size(self._stream.fileno()).columns
        except (OSError, ValueError):
            columns = 0
        return (columns or _USUAL_COLUMNS) - 1

    def line(self, text: str, colour: Colour | None = None) -> None:
        """A line that stays."""
        self._write(f"{self._cleared()}{self._painted(text, colour)}\n")

    def status(self, text: str) -> None:
        """The line that the next one replaces; a pipe has none."""
        if self.live:
            self._write(f"{_CLEAR_LINE}{self._painted(fit(text, self.columns), 'cyan')}")
            self._has_status = True

    def clear(self) -> None:
        self._write(self._cleared())

    def _cleared(self) -> str:
        had_status, self._has_status = self._has_status, False
        return _CLEAR_LINE if had_status else ""

    def _painted(self, text: str, colour: Colour | None) -> str:
        return f"\x1b[{_CODES[colour]}m{text}\x1b[0m" if colour and self._colours else text

    def _write(self, text: str) -> None:
        with contextlib.suppress(OSError):
            self._stream.write(text)
            self._stream.flush()


def fit(text: str, columns: int) -> str:
    """The text, cut to so many columns; what is cut off is marked."""
    if sum(map(_columns, text)) <= columns:
        return text
    kept, used = [], 1
    for character in text:
        used += _columns(character)
        if used > columns:
            break
        kept.append(character)
    return "".join(kept) + "…"


def _columns(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1
