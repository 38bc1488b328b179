"""The topics, their known facts, and the corpus they are asked of."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

HERE = Path(__file__).parent
CORPUS = HERE / "corpus"


@dataclass(frozen=True)
class Fact:
    """Covered where one passage of a report has all of `words`; it stands in the document `source`."""

    words: tuple[str, ...]
    source: str

    def stands_in(self, passage: str) -> bool:
        said = passage.casefold()
        return all(word.casefold() in said for word in self.words)


@dataclass(frozen=True)
class Topic:
    """A question; `documents` are those of the corpus that bear on it."""

    question: str
    documents: frozenset[str]
    facts: tuple[Fact, ...]


@cache
def topics() -> tuple[Topic, ...]:
    """All topics of `topics.toml`."""
    told = tomllib.loads((HERE / "topics.toml").read_text("utf-8"))["topic"]
    return tuple(
        Topic(
            each["question"],
            frozenset(each["documents"]),
            tuple(Fact(tuple(fact["words"]), fact["source"]) for fact in each["facts"]),
        )
        for each in told
    )
