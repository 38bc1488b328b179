"""Decodes `text/event-stream` as its bytes come in, by the WHATWG standard, section 9.2.6.

https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

_BOM = b"\xef\xbb\xbf"
_MOST_RETRY_DIGITS = 18


@dataclass(frozen=True)
class Frame:
    """One dispatched event. `id` and `retry` (milliseconds) are the stream's last ones, not only this frame's."""

    id: str
    event: str
    data: str
    retry: int | None


class FrameDecoder:
    """Takes one connection's bytes, split anywhere. A frame that the connection's end cuts off is never given."""

    def __init__(self) -> None:
        self._unfinished_line: list[bytes] = []
        self._after_cr = False
        self._first_line = True
        self._id = ""
        self._retry: int | None = None
        self._event = ""
        self._data: list[str] = []

    def feed(self, chunk: bytes) -> list[Frame]:
        """The frames that these bytes complete."""
        frames = [self._take(line) for line in self._lines(chunk)]
        return [frame for frame in frames if frame is not None]

    def _lines(self, chunk: bytes) -> Iterator[str]:
        if not chunk:
            return
        if self._after_cr:
            chunk = chunk.removeprefix(b"\n")
        self._after_cr = chunk.endswith(b"\r")
        # bytes.splitlines knows CR, LF and CRLF only, and none of them can be inside a UTF-8 character.
        for piece in chunk.splitlines(keepends=True):
            self._unfinished_line.append(piece)
            if piece.endswith((b"\r", b"\n")):
                yield self._finished_line()

    def _finished_line(self) -> str:
        line = b"".join(self._unfinished_line).rstrip(b"\r\n")
        self._unfinished_line.clear()
        if self._first_line:
            self._first_line = False
            line = line.removeprefix(_BOM)
        return line.decode("utf-8", "replace")

    def _take(self, line: str) -> Frame | None:
        if not line:
            return self._dispatch()
        name, _, value = line.partition(":")
        self._set(name, value.removeprefix(" "))
        return None

    def _set(self, name: str, value: str) -> None:
        """A comment has the empty name, so it is passed over like any unknown field."""
        if name == "data":
            self._data.append(value)
        elif name == "event":
            self._event = value
        elif name == "id" and "\0" not in value:
            self._id = value
        elif name == "retry" and value.isascii() and value.isdigit() and len(value) <= _MOST_RETRY_DIGITS:
            self._retry = int(value)

    def _dispatch(self) -> Frame | None:
        data, event = self._data, self._event
        self._data, self._event = [], ""
        if not data:
            return None
        return Frame(id=self._id, event=event or "message", data="\n".join(data), retry=self._retry)
