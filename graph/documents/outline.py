"""Gathers blocks under their headings while a file is read from top to bottom."""

from __future__ import annotations

import re

from graph.documents.cleaning import one_line
from graph.documents.document import Document, Section

_NOT_IN_SLUG = re.compile(r"[^\w\- ]")


def slug(heading: str) -> str:
    """The anchor that GitHub and most renderers give a heading."""
    return _NOT_IN_SLUG.sub("", heading.lower()).strip().replace(" ", "-")


class Outline:
    """The growing table of contents of one file. The first heading is its title unless one was given."""

    def __init__(self, title: str = "") -> None:
        self.title = one_line(title)
        self._path: list[tuple[int, str]] = []
        self._anchor = ""
        self._blocks: list[str] = []
        self._sections: list[Section] = []
        self._slugs: dict[str, int] = {}

    def heading(self, level: int, text: str, anchor: str = "") -> None:
        """Opens a section; headings of the same or a deeper level are closed. A blank heading is passed over."""
        heading = one_line(text)
        if not heading:
            return
        self._close()
        self.title = self.title or heading
        self._path = [(depth, name) for depth, name in self._path if depth < level] + [(level, heading)]
        self._anchor = one_line(anchor) or self._unique(slug(heading))

    def block(self, text: str) -> None:
        """Adds a paragraph, list or piece of code to the open section."""
        if text.strip():
            self._blocks.append(text.strip("\n"))

    def document(self, otherwise: str) -> Document:
        """All that was gathered, titled `otherwise` where the file has no title of its own."""
        self._close()
        return Document(self.title or otherwise, tuple(self._sections))

    def _close(self) -> None:
        if self._blocks:
            headings = tuple(name for _, name in self._path if name != self.title)
            self._sections.append(Section(headings, self._anchor, tuple(self._blocks)))
        self._blocks = []

    def _unique(self, name: str) -> str:
        seen = self._slugs.get(name, 0)
        self._slugs[name] = seen + 1
        return f"{name}-{seen}" if seen else name
