"""The parts that a model's text is asked to mark, taken out of it: the summary, what is open, lists of sources."""

from __future__ import annotations

import re
from typing import Final

# A list of sources that the model made: ours stands at the end, and is made from what was searched.
_SOURCES_TITLE: Final = re.compile(
    r"[\s>]*(?:#{1,6}\s*)?[*_]{0,3}(?:sources?|references?|bibliography|works cited|citations?|footnotes"
    r"|further reading|quellen(?:verzeichnis)?|literatur(?:verzeichnis)?|références|fuentes|referencias|fonti)"
    r"(?: (?:used|cited))?[*_]{0,3}:?[*_]{0,3}[\s#]*",
    re.IGNORECASE,
)
_LISTED: Final = re.compile(r"\s*(?:$|[-*+>|]|\d{1,4}[.)\]:]|\[\d|\\?\[|https?://|\(link removed\))")
_MARKED: Final = r"(?:\*\*|__){name}:?(?:\*\*|__):?[ \t]*(?P<said>.+?)(?:\n[ \t]*\n|\Z)"
_SUMMARY: Final = re.compile(r"\A\s*" + _MARKED.replace("{name}", "summary"), re.IGNORECASE | re.DOTALL)
_OPEN: Final = re.compile(
    r"(?:^|\n)[ \t]*" + _MARKED.replace("{name}", "(?:still )?open(?: questions?)?"), re.IGNORECASE | re.DOTALL
)


def without_source_lists(text: str) -> tuple[str, int]:
    """`text` without the lists of sources that its writer added, and how many there were."""
    kept: list[str] = []
    removed, inside = 0, False
    for line in text.splitlines():
        if _is_title(line):
            inside, removed = True, removed + 1
        elif not (inside and _LISTED.match(line)):
            inside = False
            kept.append(line)
    return "\n".join(kept), removed


def split_summary(text: str) -> tuple[str, str]:
    """The paragraph that `text` begins with where it is marked `**Summary:**`, and the rest of it."""
    found = _SUMMARY.match(text)
    return (found["said"].strip(), text[found.end() :].lstrip("\n")) if found else ("", text)


def split_open(text: str) -> tuple[str, str]:
    """The paragraphs of `text` that are marked `**Open:**`, and the rest of it."""
    said = [found["said"].strip() for found in _OPEN.finditer(text)]
    return "\n\n".join(said), _OPEN.sub("\n\n", text).strip("\n") if said else text


def _is_title(line: str) -> bool:
    return len(line) < 120 and _SOURCES_TITLE.fullmatch(line) is not None
