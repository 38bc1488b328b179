"""One turn of the soak: accepted, read by several at once, and checked against all that they saw."""

from __future__ import annotations

import random
import time
from types import TracebackType
from typing import Self

from tests.acceptance.client import Json, ResearchClient
from tests.acceptance.repeats import check_repeats
from tests.acceptance.transcript import check_invocation, check_same
from tests.soak.book import Book
from tests.soak.lives import Lives
from tests.soak.readers import Passer, TimedReader

# A turn waits for a model that is silent, for its predecessors, and for the server to come back.
ENDS_WITHIN_SEC = 240


class FollowedTurn:
    """An accepted turn and its readers; `check` waits for its end."""

    def __init__(self, name: str, client: ResearchClient, lives: Lives, book: Book, chance: random.Random) -> None:
        self.name = name
        self.reader = TimedReader(lives, name)
        self._client, self._lives, self._book, self._chance = client, lives, book, chance
        self._passers: list[Passer] = []

    def __enter__(self) -> Self:
        self.reader.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.reader.__exit__(kind, error, at)

    def invite(self) -> None:
        """None to three readers more."""
        for _ in range(self._chance.choice((0, 1, 1, 2, 3))):
            seed = self._chance.getrandbits(64)
            passer = Passer(self._lives.server.url, self.name, random.Random(seed))
            self._passers.append(passer)
            self._book.count(f"reader {passer.kind}")

    def wait_for_events(self, count: int, seconds: float) -> None:
        """Until that many were seen, or it ended, or the time is over."""
        deadline = time.monotonic() + seconds
        while self.reader.reading and len(self.reader.frames) < count and time.monotonic() < deadline:
            time.sleep(0.02)

    def check(self) -> Json:
        """Its record, when it has ended and all that was seen of it is right. Raises `AssertionError`."""
        self.reader.wait(ENDS_WITHIN_SEC)
        whole = self._lives.ask(lambda: check_invocation(self._client, self.name))
        self.reader.check(whole)
        check_repeats(whole)
        for passer in self._passers:
            passer.join()
            for piece in passer.pieces:
                check_same(whole, piece)
        record = self._lives.ask(lambda: self._client.record(self.name))
        self._book.took("event_lag", self.reader.lags[::5])
        self._book.end_turn(record["status"], whole.last_id)
        return record
