"""The shapes a document goes through: sections as read, passages as searched, and what was passed over."""

from __future__ import annotations

from dataclasses import dataclass

BETWEEN_HEADINGS = " › "


@dataclass(frozen=True, slots=True)
class Section:
    """The blocks (paragraphs, lists, code) under one heading path, or on one page of a PDF.

    `anchor` is what follows `#` in the address: a slug, the element's own id, or `page=N`.
    """

    headings: tuple[str, ...]
    anchor: str
    blocks: tuple[str, ...]
    page: int | None = None

    @property
    def place(self) -> str:
        """Where in the document, for people: `page 3`, or the heading path; empty for the opening."""
        return f"page {self.page}" if self.page is not None else BETWEEN_HEADINGS.join(self.headings)


@dataclass(frozen=True, slots=True)
class Document:
    """A file as it was read. A file without any text has no sections."""

    title: str
    sections: tuple[Section, ...]


@dataclass(frozen=True, slots=True)
class Passage:
    """What is indexed and cited: some 80 to 180 words. `title` is the document's, `place` that of its section."""

    title: str
    place: str
    anchor: str
    text: str

    @property
    def full_title(self) -> str:
        """The title of the document, with the headings or the page."""
        between = ", " if self.anchor.startswith("page=") else BETWEEN_HEADINGS
        return between.join(filter(None, (self.title, self.place)))


@dataclass(frozen=True, slots=True)
class Skipped:
    """A file that was passed over. `path` is relative to the folder, `reason` a clause such as `it is encrypted`."""

    path: str
    reason: str
