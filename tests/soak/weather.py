"""A model that fails now and then, and sometimes for so long that runs fail."""

from __future__ import annotations

import random

from tests.openai_stub.process import ModelStub
from tests.soak.book import Book

# Each fails one call; the server makes it again.
SHOWERS: tuple[dict[str, object], ...] = (
    {"kind": "status", "status": 429, "retry_after": "0.2"},
    {"kind": "status", "status": 500},
    {"kind": "status", "status": 503},
    {"kind": "cut", "after_tokens": 5},
    {"kind": "refuse"},
    {"kind": "empty"},
    {"kind": "malformed", "after_tokens": 3},
    {"kind": "silent", "after_tokens": 4},
)
STORM: dict[str, object] = {"kind": "status", "status": 500, "times": 12}


class Weather:
    """Faults for the calls that come next."""

    def __init__(self, stub: ModelStub, book: Book, chance: random.Random) -> None:
        self._stub, self._book, self._chance = stub, book, chance

    def pass_on(self) -> None:
        """To be called each second: a shower in three, a storm in sixty."""
        drawn = self._chance.random()
        if drawn < 1 / 60:
            self._stub.fail(STORM)
            self._book.count("storms")
        elif drawn < 1 / 3:
            shower = self._chance.choice(SHOWERS)
            self._stub.fail(shower)
            self._book.count(f"fault {shower.get('status', shower['kind'])}")
