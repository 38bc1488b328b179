"""Plain text and reStructuredText into sections: paragraphs, and titles that are underlined."""

from __future__ import annotations

import re

from graph.documents.document import Document
from graph.documents.outline import Outline

_UNDERLINE = re.compile(r"([=\-~^\"'*+#`:._])\1{2,}")
_LONGEST_TITLE = 100


def read_plaintext(text: str, stem: str) -> Document:
    """The sections of a text file that is `cleaned` already. A short first paragraph names a file without titles."""
    outline = Outline()
    levels: list[str] = []
    paragraph: list[str] = []
    for line in text.split("\n"):
        mark = _UNDERLINE.fullmatch(line.strip())
        if mark and len(paragraph) == 1:
            outline.heading(_level(mark[1], levels), paragraph.pop())
        elif mark or not line.strip():
            _flush(outline, paragraph)
        elif not line.startswith(".. "):  # a directive or comment of reStructuredText
            paragraph.append(line.strip())
    _flush(outline, paragraph)
    return outline.document(otherwise=_first_line(text) or stem)


def _level(mark: str, levels: list[str]) -> int:
    """reStructuredText fixes no order of marks: each new one is a level deeper."""
    if mark not in levels:
        levels.append(mark)
    return levels.index(mark) + 1


def _flush(outline: Outline, paragraph: list[str]) -> None:
    outline.block(" ".join(paragraph))
    paragraph.clear()


def _first_line(text: str) -> str:
    first, _, rest = text.lstrip().partition("\n")
    alone = len(first) <= _LONGEST_TITLE and not first.rstrip().endswith((".", ",", ";"))
    return " ".join(first.split()) if alone and rest.startswith("\n") else ""
