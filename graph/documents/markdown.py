"""Markdown into sections: headings of both styles, fenced code kept whole, link targets left out."""

from __future__ import annotations

import re

from graph.documents.document import Document
from graph.documents.outline import Outline

_ATX = re.compile(r" {0,3}(#{1,6})[ \t]+(.*)")
_SETEXT = re.compile(r" {0,3}(=+|-{2,})[ \t]*")
_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})")
_STRUCTURED = re.compile(r"\s*([-*+|>]|\d+[.)]) ?| {4}")
_FRONT_MATTER = re.compile(r"---\n(.{0,20000}?)\n---(?:\n|\Z)", re.DOTALL)
_FRONT_TITLE = re.compile(r"^title:[ \t]*(.+)$", re.MULTILINE)
# An unclosed comment runs to the end, as in HTML; that also keeps the search linear.
_COMMENT = re.compile(r"<!--.*?(?:-->|\Z)", re.DOTALL)
_LINK = re.compile(r"!?\[([^\[\]]*)\]\([^()\s]*(?: \"[^\"]*\")?\)")
_STRONG = re.compile(r"\*\*([^*\s](?:[^*]*[^*\s])?)\*\*")


def read_markdown(text: str, stem: str) -> Document:
    """The sections of a Markdown file whose text is `cleaned` already."""
    front = _FRONT_MATTER.match(text)
    named = _FRONT_TITLE.search(front[1]) if front else None
    reader = _Reader(Outline(named[1].strip("\"' ") if named else ""))
    for line in _COMMENT.sub("", text[front.end() :] if front else text).split("\n"):
        reader.line(line)
    reader.flush()
    return reader.outline.document(otherwise=stem)


def plain(text: str) -> str:
    """`text` without link targets and double asterisks, as a reader sees it."""
    return _STRONG.sub(r"\1", _LINK.sub(r"\1", text))


class _Reader:
    def __init__(self, outline: Outline) -> None:
        self.outline = outline
        self._lines: list[str] = []
        self._fence = ""

    def line(self, line: str) -> None:
        if self._fence:
            self._code(line)
        elif not line.strip():
            self.flush()
        elif fence := _FENCE.match(line):
            self.flush()
            self._fence = fence[1]
        elif heading := _ATX.fullmatch(line):
            self.flush()
            self.outline.heading(len(heading[1]), plain(heading[2].rstrip().rstrip("#")))
        elif len(self._lines) == 1 and (under := _SETEXT.fullmatch(line)):
            self.outline.heading(1 if under[1][0] == "=" else 2, plain(self._lines.pop()))
        else:
            self._lines.append(line)

    def flush(self) -> None:
        if self._fence:
            self.outline.block("\n".join(self._lines))
        elif self._lines and _STRUCTURED.match(self._lines[0]):
            self.outline.block(plain("\n".join(line.rstrip() for line in self._lines)))
        else:
            self.outline.block(plain(" ".join(line.strip() for line in self._lines)))
        self._lines, self._fence = [], ""

    def _code(self, line: str) -> None:
        mark = line.strip()
        if mark.startswith(self._fence) and not mark.strip(self._fence[0]):
            self.flush()
        else:
            self._lines.append(line)
