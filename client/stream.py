"""One invocation's event stream over any number of connections, without input and output of its own."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import cast

import httpx2

from client.connection import CONNECT_TIMEOUT_SEC
from client.errors import InvocationUnknown, StreamBroken, StreamGone
from client.events import TERMINAL, Event
from client.requests import path_of
from client.sse import Frame, FrameDecoder

MAX_SILENCE_SEC = 45.0


class ServerAway(Exception):
    """The server answered that it cannot answer now."""


class Stream:
    """What has been read, and what to ask for next. `ended` after the terminal event, which nothing follows.

    The server is never silent for more than 15 s, so silence of `max_silence_sec` is a lost connection.
    """

    def __init__(self, invocation_id: str, last_event_id: int, max_silence_sec: float = MAX_SILENCE_SEC) -> None:
        self.path = path_of(invocation_id)
        self.headers = {"Accept": "text/event-stream"}
        self.timeout = httpx2.Timeout(CONNECT_TIMEOUT_SEC, read=max_silence_sec)
        self.seen = last_event_id
        self.ended = False
        self._decoder = FrameDecoder()

    @property
    def params(self) -> dict[str, str]:
        """A new connection's query. Half a frame of the last one must not meet its bytes."""
        self._decoder = FrameDecoder()
        return {"last_event_id": str(self.seen)}

    def feed(self, chunk: bytes) -> Iterator[Event]:
        """The events that these bytes complete. Raises `StreamGone` and `StreamBroken`."""
        for frame in self._decoder.feed(chunk):
            event = self._event(frame)
            if event is not None:
                self.seen += 1
                self.ended = event.get("type") in TERMINAL
                yield event
            if self.ended:
                return

    def _event(self, frame: Frame) -> Event | None:
        """The frame's event; None for one that was seen before, and for a named frame that this client doesn't know."""
        if frame.event == "gone":
            raise StreamGone
        # Nothing is left above the number that was asked for: the turn has ended before.
        self.ended = frame.event == "done"
        if frame.event != "message":
            return None
        event, sequence_number = _numbered(frame)
        if sequence_number > self.seen + 1:
            raise StreamBroken(f"The server sent event {sequence_number} after event {self.seen}.")
        return event if sequence_number == self.seen + 1 else None


def check(status: int, headers: Mapping[str, str]) -> bool:
    """Whether the answer is a stream; if not, its body says why. Raises what cannot be mended by asking again."""
    # 429: too many streams are open, perhaps our own that were lost and that the server still holds.
    if status >= 500 or status == 429:
        raise ServerAway
    if status == 404:
        raise InvocationUnknown
    if status == 410:
        raise StreamGone
    if status == 200 and not headers.get("content-type", "").startswith("text/event-stream"):
        raise StreamBroken("The server's answer is not an event stream.")
    return status == 200


def _numbered(frame: Frame) -> tuple[Event, int]:
    try:
        event = json.loads(frame.data)
    except ValueError as error:
        raise StreamBroken("The server sent an event that is not JSON.") from error
    sequence_number = event.get("sequence_number") if isinstance(event, dict) else None
    if not isinstance(sequence_number, int) or frame.id != str(sequence_number):
        raise StreamBroken("The server sent an event without its number.")
    return cast(Event, event), sequence_number
