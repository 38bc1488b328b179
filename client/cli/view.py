"""How a run is shown while it goes on: as lines in a pipe, as JSON, or live on a terminal (`live.py`)."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from typing import BinaryIO, Protocol, TextIO

from client.cli.lines import line_of
from client.fields import Fields, printable


class View(Protocol):
    """Takes what happens, one after the other."""

    def take(self, event: Fields) -> None:
        """The next event."""

    def say(self, sentence: str) -> None:
        """What is not an event."""

    def away(self, seconds: float) -> None:
        """The server does not answer; it is asked again in so many seconds."""

    def close(self) -> None:
        """Nothing comes any more."""


class Lines:
    """Plain lines. A reader that has gone does not end the run: what cannot be written is dropped."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def take(self, event: Fields) -> None:
        line = line_of(event)
        if line is not None:
            self._write(line)

    def say(self, sentence: str) -> None:
        self._write(printable(sentence))

    def away(self, seconds: float) -> None:
        """A pipe has no line that changes."""

    def close(self) -> None:
        """Every line is out already."""

    def _write(self, line: str) -> None:
        with contextlib.suppress(OSError):
            self._stream.write(f"{line}\n")
            self._stream.flush()


class JsonLines(Lines):
    """Each event as one line of JSON on stdout; sentences go to stderr."""

    def __init__(self, out: BinaryIO, stream: TextIO) -> None:
        super().__init__(stream)
        self._out = out

    def take(self, event: Fields) -> None:
        write_json(self._out, event)


def write_json(out: BinaryIO, value: Mapping[str, object]) -> None:
    """One line of NDJSON. Raises `BrokenPipeError`."""
    out.write(json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace") + b"\n")
    out.flush()
