"""What no log may hold, and the search for it in all logs that a session of tests has left.

Planted are: every key (`planted` is a part of it), every answer of the model stub (`word1 word2 …`), every prompt (by
sentences of its frame), the shipped documents, and every message that a test has posted.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

CHECKOUT: Final = Path(__file__).parents[2]
MARKER: Final = "planted"
_FIXED: Final = (MARKER, "You are a careful research analyst", "<task role=", "Authorization", "Bearer ")
_ANSWER: Final = re.compile(r"\bword\d+\b|\bp[0-9a-f]{12} word")
# Shorter ones are also words of the log's own.
SHORTEST: Final = 8

# Every message that a test of this process has posted.
posted: set[str] = set()


def note(body: object) -> None:
    """Notes the message of a request's body."""
    if isinstance(body, dict) and isinstance(message := body.get("message"), str):
        posted.add(message)


def leaks(folder: Path, messages: Iterable[str]) -> list[str]:
    """A line for each planted text that a log below `folder` shows."""
    needles = [*_FIXED, *_documents(), *(text for text in messages if len(text) >= SHORTEST)]
    found = []
    for log in sorted(folder.rglob("*.log")):
        text = log.read_text(errors="replace")
        found += [f"{log}: {needle[:60]!r}" for needle in needles if needle in text]
        found += [f"{log}: an answer of the model, {answer[0]!r}" for answer in [_ANSWER.search(text)] if answer]
    return found


def _documents() -> Iterator[str]:
    """The three first long lines of each shipped document."""
    for path in sorted((CHECKOUT / "graph" / "corpus").glob("*.md")):
        lines = [line for line in path.read_text().splitlines() if len(line) > 60]
        yield from (line[:60] for line in lines[:3])
