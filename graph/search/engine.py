"""What a search engine is to the graph: LangChain's retriever interface, and how it likes to be asked."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from langchain_core.retrievers import BaseRetriever

    from graph.documents import Skipped
    from graph.state import Usage

# Files read so far, and how many there are to read.
Progress = Callable[[int, int], None]


class SearchUnusable(Exception):
    """A search engine cannot be used as it is set up; the message says what to do."""


class SearchFailed(Exception):
    """A search got no answer; the message is ours, without the provider's own text. `transient`: try it again."""

    def __init__(self, message: str, *, transient: bool, retry_after_sec: float | None = None) -> None:
        super().__init__(message)
        self.transient = transient
        self.retry_after_sec = retry_after_sec


@dataclass(frozen=True)
class Engine:
    """One engine. `open` makes its retriever at the first search, in a thread; it is kept for the process's life.

    `wide`: it takes all words in one query, as an index does that ranks them. `durable`: an answer is stored as soon as
    it is there, so that a crash does not ask, and pay, again. `stand_in`: it is asked where a run names no documents
    of its own. Without `kept` it is one phase's, and `open` has the retriever at hand.
    """

    name: str
    open: Callable[[Progress], BaseRetriever]
    wide: bool = False
    durable: bool = True
    stand_in: bool = False
    kept: bool = True


@runtime_checkable
class Refreshing(Protocol):
    """A retriever over files that may change while the process lives; `skipped` are those that cannot be read."""

    skipped: tuple[Skipped, ...]

    def refresh(self, progress: Progress) -> None: ...


# Where a retriever that calls a model notes the model's name and what it cost.
metered: ContextVar[list[tuple[str, Usage]] | None] = ContextVar("metered", default=None)


def meter(model: str, usage: Usage) -> None:
    """Notes what the present search cost; nothing where nobody wants to know."""
    if (notes := metered.get()) is not None:
        notes.append((model, usage))
