"""Documents that a run names: whoever runs the graph keeps them, and hands them out by this port."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from graph.documents.document import Passage, Skipped


@dataclass(frozen=True, slots=True)
class Kept:
    """A document of the library. `path` is how it is cited: it differs from that of every other document."""

    id: str
    path: str


class Library(Protocol):
    """Where documents are kept. What its methods raise ends the run: a missing document is no error of theirs.

    `in_memory`: nothing of them may be written to a disk.
    """

    @property
    def in_memory(self) -> bool: ...

    async def find(self, ids: Sequence[str]) -> tuple[list[Kept], list[Skipped]]:
        """Those of the documents that are there, and the rest with the reason why they are not."""

    async def passages(self, document_id: str) -> Iterable[Passage]:
        """The passages of a document; none where it has gone meanwhile."""
