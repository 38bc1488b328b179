"""Indices of the documents that runs choose: shared where the choice is the same, and kept within bounds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import pytest

from graph.documents import shelf as module
from graph.documents.document import Passage, Skipped
from graph.documents.library import Kept
from graph.documents.shelf import Shelf

pytestmark = pytest.mark.anyio

CHARS = 1000


class Books:
    """Any id is a document of one passage of `CHARS` characters."""

    in_memory = True

    def __init__(self) -> None:
        self.read: list[str] = []

    async def find(self, ids: Sequence[str]) -> tuple[list[Kept], list[Skipped]]:
        return [Kept(id, f"{id}/{id}.md") for id in ids], []

    async def passages(self, document_id: str) -> Iterable[Passage]:
        self.read.append(document_id)
        return [Passage("Title", "", "", document_id.ljust(CHARS, "."))]


@pytest.fixture
def books() -> Books:
    return Books()


@pytest.fixture
def shelf(books: Books) -> Shelf:
    return Shelf(books, 3)


async def opened(shelf: Shelf, *ids: str) -> object:
    return (await shelf.opened(ids, lambda done, total: None))[0]


async def test_a_choice_is_the_same_in_any_order(shelf: Shelf, books: Books) -> None:
    assert await opened(shelf, "b", "a") is await opened(shelf, "a", "b")
    assert books.read == ["a", "b"]
    assert await opened(shelf, "a") is not await opened(shelf, "b")


async def test_so_much_text_is_kept_and_the_choice_used_last_is(
    shelf: Shelf, books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_MOST_CHARS", 2 * CHARS)
    for ids in (("a",), ("b",), ("a",), ("c",), ("a",)):
        await opened(shelf, *ids)
    assert books.read == ["a", "b", "c"]
    await opened(shelf, "d", "e", "f")
    assert books.read[3:] == ["d", "e", "f"]
    await opened(shelf, "d", "e", "f")
    await opened(shelf, "b")
    assert books.read[6:] == ["b"]
