"""The server's lives, one after the other: how each ends, and who may be excused by that."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable
from typing import TypeVar

import httpx2

from tests.acceptance.client import ResearchClient
from tests.acceptance.server_process import ServerProcess

T = TypeVar("T")


def plan(seconds: float, chance: random.Random) -> list[float]:
    """How long each life is to last: short ones for three fifths of the time, then a long one in which drift shows."""
    lives, left = [], seconds * 0.6
    while left > 0:
        lives.append(min(left, max(2, seconds * chance.uniform(0.05, 0.15))))
        left -= lives[-1]
    return [*lives, seconds * 0.4]


class Lives:
    """Starts and ends the server. What fails while it is down, or because it went down, is asked again."""

    def __init__(self, server: ServerProcess, chance: random.Random) -> None:
        self.server = server
        self.started: list[float] = []  # monotonic seconds
        self.ready_sec: list[float] = []
        self.first_event_sec: list[float] = []  # from a start to an event that somebody sees
        self.ends: Counter[str] = Counter()
        self._chance = chance
        self._changes = 0  # odd while it is up
        self._unseen = False

    def begin(self) -> None:
        """Starts it, one time in four with a death on the way, and waits until it is ready."""
        if self.started and self._chance.random() < 0.25:
            self._spawn()
            time.sleep(self._chance.uniform(0, 0.8))
            self.server.kill()
            self.ends["SIGKILL at start"] += 1
        self._spawn()
        self.server.wait_until_ready(60)
        self.ready_sec.append(self.server.ready_at - self.server.started_at)
        self._changes += 1

    def _spawn(self) -> None:
        self.server.spawn()
        self.started.append(self.server.started_at)
        self._unseen = True

    def see(self, now: float) -> None:
        """Somebody sees an event."""
        if self._unseen:
            self._unseen = False
            self.first_event_sec.append(now - self.started[-1])

    def end(self) -> None:
        """SIGKILL or SIGTERM."""
        self._changes += 1
        if self._chance.random() < 0.6:
            self.server.kill()
            self.ends["SIGKILL"] += 1
            return
        self.terminate()

    def terminate(self) -> None:
        """SIGTERM, at which it must end with 0."""
        self._changes += self._changes % 2
        code = self.server.terminate()
        assert code == 0, f"SIGTERM ended in {code}:\n{self.server.log_tail()}"
        self.ends["SIGTERM"] += 1

    def ask(self, question: Callable[[], T], timeout: float = 120) -> T:
        """Its answer. Raises what `question` does, unless the server was down meanwhile: then it is asked again."""
        deadline = time.monotonic() + timeout
        while True:
            changes = self._changes
            try:
                return question()
            except (httpx2.TransportError, httpx2.HTTPStatusError, AssertionError):
                untouched = changes == self._changes and changes % 2 == 1
                if untouched or time.monotonic() > deadline:
                    raise
            time.sleep(0.05)

    def request(self, client: ResearchClient, method: str, path: str, **options: object) -> httpx2.Response:
        """The answer of a server that is up; 503 is one that is going down, or an error."""

        def question() -> httpx2.Response:
            answer = client.request(method, path, **options)
            if answer.status_code >= 500 and answer.status_code != 501:
                answer.raise_for_status()
            return answer

        return self.ask(question)
