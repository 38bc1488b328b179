"""Follows one invocation to its end, whatever happens to the connection or to the server."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from urllib.parse import quote

import httpx2

from client.connection import LOST, Sleep, delays, refusal
from client.errors import InvocationUnknown, StreamBroken, StreamGone
from client.event import Event
from client.sse import Frame, FrameDecoder

_CONNECT_TIMEOUT_SEC = 10.0


class _ServerAway(Exception):
    """The server answered that it cannot answer now."""


def follow(
    http: httpx2.Client,
    invocation_id: str,
    *,
    last_event_id: int = 0,
    sleep: Sleep = time.sleep,
    max_silence_sec: float = 45.0,
) -> Iterator[Event]:
    """Yields each event above `last_event_id` once and in order; returns when the server says `done`.

    Reconnects for as long as it takes; `sleep` gets the seconds before each new attempt. The server is never
    silent for more than 15 s, so silence of `max_silence_sec` is a lost connection.
    Raises `StreamGone`, `StreamBroken`, `InvocationUnknown` and `RequestRefused`.
    """
    seen = last_event_id
    waits = delays()
    while True:
        try:
            for frame in _frames(http, invocation_id, seen, max_silence_sec):
                if frame.event == "done":
                    return
                event = _new_event(frame, seen)
                if event is not None:
                    seen += 1
                    waits = delays()
                    yield event
        except (*LOST, _ServerAway):
            pass
        sleep(next(waits))


def _frames(http: httpx2.Client, invocation_id: str, seen: int, max_silence_sec: float) -> Iterator[Frame]:
    """One connection's frames. A new decoder each time: half a frame must not meet the next connection's bytes."""
    decoder = FrameDecoder()
    with http.stream(
        "GET",
        f"/invocations/{quote(invocation_id, safe='')}",
        params={"last_event_id": seen},
        headers={"Accept": "text/event-stream"},
        timeout=httpx2.Timeout(_CONNECT_TIMEOUT_SEC, read=max_silence_sec),
    ) as response:
        _check(response)
        for chunk in response.iter_bytes():
            yield from decoder.feed(chunk)


def _check(response: httpx2.Response) -> None:
    if response.status_code >= 500:
        raise _ServerAway
    if response.status_code == 404:
        raise InvocationUnknown
    if response.status_code == 410:
        raise StreamGone
    if response.status_code != 200:
        response.read()
        raise refusal(response)
    if not response.headers.get("content-type", "").startswith("text/event-stream"):
        raise StreamBroken("The server's answer is not an event stream.")


def _new_event(frame: Frame, seen: int) -> Event | None:
    """The frame's event; None for one that was seen before, and for a named frame that this client doesn't know."""
    if frame.event == "gone":
        raise StreamGone
    if frame.event != "message":
        return None
    event, sequence_number = _numbered(frame)
    if sequence_number > seen + 1:
        raise StreamBroken(f"The server sent event {sequence_number} after event {seen}.")
    return event if sequence_number == seen + 1 else None


def _numbered(frame: Frame) -> tuple[Event, int]:
    try:
        event = json.loads(frame.data)
    except ValueError as error:
        raise StreamBroken("The server sent an event that is not JSON.") from error
    sequence_number = event.get("sequence_number") if isinstance(event, dict) else None
    if not isinstance(sequence_number, int) or frame.id != str(sequence_number):
        raise StreamBroken("The server sent an event without its number.")
    return event, sequence_number
