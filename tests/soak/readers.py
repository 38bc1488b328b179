"""Readers of a turn: one that always comes back, and those that come and go."""

from __future__ import annotations

import contextlib
import random
import socket
import struct
import threading
import time
from collections.abc import Callable
from urllib.parse import urlsplit

import httpx2
import orjson

from tests.acceptance.client import Frame, Frames, ResearchClient, SSEParser
from tests.acceptance.steady_reader import SteadyReader
from tests.soak.lives import Lives

HOPS = 5
# Behind a cut, what was missed comes at once: it is late, but not by the server's doing.
CATCHING_UP_SEC = 2.0


class TimedReader(SteadyReader):
    """Notes how late the stub's timed tokens come, in seconds, while nothing was cut."""

    def __init__(self, lives: Lives, invocation_id: str) -> None:
        super().__init__(lives.server, invocation_id)
        self._lives = lives
        self.lags: list[float] = []
        self._at, self._cuts_seen = time.monotonic(), 0

    def _take(self, frame: Frame) -> bool:
        now = time.monotonic()
        if self.cuts != self._cuts_seen:
            self._at, self._cuts_seen = now + CATCHING_UP_SEC, self.cuts
        if frame.data and now > self._at and '"type":"token"' in frame.data:
            sent = orjson.loads(frame.data)["content"].rpartition("@")[2]
            self.lags.append(now - int(sent) / 1e9)
        if frame.id:
            self._lives.see(now)
        return super()._take(frame)


def _is_number(number: int) -> Callable[[Frame], bool]:
    return lambda frame: frame.id == str(number)


class Passer:
    """Reads a turn in its own way, in a thread of its own; `frames` is what it saw, in pieces without gaps."""

    def __init__(self, url: str, invocation_id: str, chance: random.Random) -> None:
        self.pieces: list[Frames] = []
        self.error: str | None = None
        self._url, self._invocation_id, self._chance = url, invocation_id, chance
        self.kind, ways = "", {"hop": self._hop, "drop": self._drop, "stall": self._stall}
        self.kind = chance.choices(list(ways), (2, 2, 1))[0]
        self._thread = threading.Thread(target=self._go, args=(ways[self.kind],), daemon=True)
        self._thread.start()

    def join(self, timeout: float = 120) -> None:
        """Waits until it has gone."""
        self._thread.join(timeout)
        assert not self._thread.is_alive(), f"a reader ({self.kind}) of {self._invocation_id} hangs"
        assert self.error is None, f"a reader ({self.kind}) of {self._invocation_id}: {self.error}"

    def _go(self, way: Callable[[], None]) -> None:
        try:
            # The server may be down.
            with contextlib.suppress(OSError, httpx2.TransportError):
                way()
        except Exception as error:  # noqa: BLE001 - told by `join`, in the thread that asks
            self.error = repr(error)

    def _hop(self) -> None:
        """Comes back several times, from anywhere."""
        last = 0
        with ResearchClient(self._url) as client:
            for _ in range(HOPS):
                after, count = self._chance.randint(0, last), self._chance.randint(1, 40)
                try:
                    piece = client.read_stream(self._invocation_id, after, _is_number(after + count))
                except httpx2.HTTPStatusError as error:
                    if error.response.status_code < 500:
                        raise
                    return
                numbers = [int(frame.id) for frame in piece if frame.id]
                assert numbers == list(range(after + 1, after + 1 + len(numbers))), f"behind {after} came {numbers}"
                self.pieces.append(piece)
                last = max(last, piece.last_id)
                time.sleep(self._chance.uniform(0, 0.3))

    def _drop(self) -> None:
        """Goes away with a reset, in the middle of whatever comes."""
        with self._opened() as connection:
            connection.recv(self._chance.choice((1, 100, 4000)))
            time.sleep(self._chance.uniform(0, 1))
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def _stall(self) -> None:
        """Does not read for some time; then all, or it goes."""
        with self._opened() as connection:
            time.sleep(self._chance.uniform(1, 8))
            if self._chance.random() < 0.5:
                return
            answer = b""
            while chunk := connection.recv(1 << 16):
                answer += chunk
        if answer.startswith(b"HTTP/1.1 200"):
            self.pieces.append(Frames(SSEParser().feed(answer.partition(b"\r\n\r\n")[2])))

    def _opened(self) -> socket.socket:
        at = urlsplit(self._url)
        connection = socket.socket()
        connection.settimeout(60)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.connect((at.hostname, at.port))
        # HTTP/1.0: the answer is the stream as it is, without chunks.
        connection.sendall(f"GET /invocations/{self._invocation_id} HTTP/1.0\r\nHost: {at.netloc}\r\n\r\n".encode())
        return connection
