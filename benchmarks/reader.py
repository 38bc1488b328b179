"""A reader of event streams that costs little: it shares the machine with what it measures."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import orjson


@dataclass
class Reading:
    """What one reader got, and when; looked into when all has come. Times are monotonic seconds."""

    begun_at: float
    chunks: list[tuple[float, bytes]] = field(default_factory=list)

    @property
    def ended_at(self) -> float:
        """When the last byte came."""
        return self.chunks[-1][0]

    @property
    def seconds(self) -> float:
        """From the request to the end of the stream."""
        return self.ended_at - self.begun_at

    @property
    def first_sec(self) -> float:
        """From the request to the first event."""
        return next(self._events())[0] - self.begun_at

    @property
    def events(self) -> int:
        """How many events came."""
        return sum(1 for _ in self._events())

    @property
    def tokens(self) -> int:
        """How many of the stub's tokens came."""
        return sum(len(words) for _, words in self._words())

    @property
    def lags(self) -> list[float]:
        """Seconds from the sending of each timed token to here."""
        return [came - int(word[1:]) / 1e9 for came, words in self._words() for word in words]

    def _words(self) -> Iterator[tuple[float, list[str]]]:
        for came, line in self._events():
            if b'"type":"token"' in line:
                yield came, orjson.loads(line[6:])["content"].split()

    def _events(self) -> Iterator[tuple[float, bytes]]:
        rest = b""
        for came, chunk in self.chunks:
            *lines, rest = (rest + chunk).split(b"\n")
            yield from ((came, line) for line in lines if line.startswith(b"data: {"))


async def read(url: str, invocation_id: str) -> Reading:
    """Reads the invocation's stream to its end. Raises `AssertionError` where it is cut off."""
    reading = Reading(time.monotonic())
    reader, writer = await _opened(url, invocation_id)
    try:
        while chunk := await reader.read(1 << 20):
            reading.chunks.append((time.monotonic(), chunk))
    finally:
        writer.close()
    assert b"event: done" in b"".join(chunk for _, chunk in reading.chunks[-2:]), "the stream was cut off"
    return reading


async def stall(url: str, invocation_id: str) -> asyncio.StreamWriter:
    """Asks for the stream and never reads it; close what it returns."""
    reader, writer = await _opened(url, invocation_id)
    await reader.readuntil(b"\r\n\r\n")
    writer.transport.pause_reading()  # type: ignore[attr-defined]  # of a read transport, which a socket's is
    return writer


async def _opened(url: str, invocation_id: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    at = urlsplit(url)
    reader, writer = await asyncio.open_connection(at.hostname, at.port, limit=1 << 20)
    # HTTP/1.0: the answer is the stream as it is, without chunks.
    writer.write(f"GET /invocations/{invocation_id} HTTP/1.0\r\nHost: {at.netloc}\r\n\r\n".encode())
    return reader, writer
