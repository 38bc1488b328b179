"""What searches find, in one shape, cleaned, and merged so that every search has its share."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain, zip_longest
from typing import TYPE_CHECKING, NotRequired

from typing_extensions import TypedDict

from graph.digest import clip
from graph.documents.cleaning import cleaned, one_line
from graph.report.addresses import address_key
from graph.report.quotations import letters

if TYPE_CHECKING:
    from langchain_core.documents import Document

    from graph.usage import Spent

MAX_EXCERPT_CHARS = 8_000
MAX_URL_CHARS = 2_000


class Result(TypedDict):
    """A passage that a search found. `summary`: the words are the search's own, not the page's."""

    title: str
    url: str
    text: str
    place: str
    origin: str
    summary: NotRequired[bool]


class Searched(TypedDict):
    """One query to one engine: what it found, what it cost, what of it failed. All of it can be stored."""

    engine: str
    query: str
    results: list[Result]
    spent: list[Spent]
    unread: list[str]
    error: str | None


def result_of(document: Document, origin: str) -> Result | None:
    """A retriever's document as a result; None where it has no text. `source` may stand for `url`, as in LangChain."""
    text = clip(cleaned(document.page_content).strip(), MAX_EXCERPT_CHARS)
    if not text:
        return None
    known = document.metadata
    url = one_line(str(known.get("url") or known.get("source") or ""), MAX_URL_CHARS)
    result = Result(
        title=one_line(str(known.get("title") or url or "Untitled")),
        url=url,
        text=text,
        place=one_line(str(known.get("place") or "")),
        origin=origin,
    )
    if known.get("summary"):
        result["summary"] = True
    return result


def merged(answers: Sequence[Sequence[Result]], most: int) -> list[Result]:
    """The first of every answer, then the second, and so on, each passage once, up to `most`."""
    turns = chain.from_iterable(zip_longest(*answers))
    seen: set[tuple[str, str]] = set()
    kept: list[Result] = []
    for result in _present(turns):
        key = (address_key(result["url"]), letters(result["text"]))
        if key not in seen and len(kept) < most:
            seen.add(key)
            kept.append(result)
    return kept


def _present(results: Iterable[Result | None]) -> Iterable[Result]:
    return (result for result in results if result is not None)
