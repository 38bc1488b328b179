"""What models and documents wrote, made fit for a report: no HTML, no odd links, an outline that stays sound."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby

from graph.digest import clip

SECTION_LEVEL = 2
MAX_TITLE_CHARS = 160

_FENCE = re.compile(r"(`{3,})[^`]*$|(~{3,})")
_HEADING = re.compile(r"^((?:[ \t]*(?:>|(?:[-*+]|\d{1,9}[.)])(?=[ \t])))*[ \t]*)(#{1,6})(?=\s|$)")
_UNDERLINE = re.compile(r"[\s>]*(=+|-+)\s*$")
_PLAIN_LINE = re.compile(r" {0,3}(?![#>|]|[-*+]\s|\d+[.)]\s)\S")
_TAG = re.compile(r"<(?=[a-z/!?])", re.IGNORECASE)
_IMAGE = re.compile(r"!(?=\[)")
# A link that poses as a citation; one that is no web address, or the definition of one.
_POSING = re.compile(r"(\[[\d,; ]+\])(?=\()")
_LINK = re.compile(r"(?<=\])\((?!\s*https?://)|(?<=\]):", re.IGNORECASE)
_MARKS = re.compile(r"([\\`*_\[\]|~#])")
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")


def inert(text: str, chars: int = MAX_TITLE_CHARS) -> str:
    """`text` on one line of at most `chars` characters, with no meaning as Markdown or HTML."""
    return _MARKS.sub(r"\\\1", plain(text, chars).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;"))


def plain(text: str, chars: int = MAX_TITLE_CHARS) -> str:
    """`text` on one line of at most `chars` characters that can be stored and sent."""
    return clip(" ".join(_CONTROL.sub("", text).split()), chars)


def without_tags(text: str) -> str:
    """`text` with what looks like HTML made text."""
    return _TAG.sub("&lt;", text)


def safe_markdown(text: str, map_prose: Callable[[str], str]) -> str:
    """`text` fit for a section: headings below the section's, no HTML, images or odd links.

    `map_prose` is given each run of lines between blank ones, and no code.
    """
    lines = _without_underlines(_with_code_told(_CONTROL.sub("", text).splitlines()))
    levels = [len(heading[2]) for code, line in lines if not code and (heading := _HEADING.match(line))]
    outline = _Outline(max(SECTION_LEVEL + 1 - min(levels, default=6), 0))
    safe = [(code, line if code else _defused(outline.demoted(line))) for code, line in lines]
    runs = groupby(safe, key=lambda each: (each[0], bool(each[1].strip())))
    joined = ((kind, "\n".join(line for _, line in run)) for kind, run in runs)
    return "\n".join(map_prose(run) if kind == (False, True) else run for kind, run in joined)


class _Outline:
    """Moves headings down by `shift`, and lets none skip a level."""

    def __init__(self, shift: int) -> None:
        self._shift, self._level = shift, SECTION_LEVEL

    def demoted(self, line: str) -> str:
        heading = _HEADING.match(line)
        if not heading:
            return line
        self._level = min(len(heading[2]) + self._shift, self._level + 1, 6)
        return heading[1] + "#" * self._level + line[heading.end() :]


def _defused(line: str) -> str:
    return _POSING.sub(r"\1\\", _LINK.sub(r"\\\g<0>", _IMAGE.sub("", without_tags(line))))


def _with_code_told(lines: Sequence[str]) -> Iterator[tuple[bool, str]]:
    """Each line, and whether it is code. Only a fence at the margin counts: no list or quotation can end it."""
    fence = ""
    for line in lines:
        opening = None if fence else _FENCE.match(line)
        yield bool(fence or opening), line
        bare = line.strip()
        if opening:
            fence = opening[1] or opening[2]
        elif fence and len(bare) >= len(fence) and not bare.strip(fence[0]):
            fence = ""
    if fence:
        yield True, fence


def _without_underlines(lines: Iterable[tuple[bool, str]]) -> list[tuple[bool, str]]:
    """Underlined headings become ones with `#`; other underlines are set apart, so that they are none."""
    kept: list[tuple[bool, str]] = [(True, "")]
    for code, line in lines:
        before_is_code, before = kept[-1]
        underline = None if code or before_is_code or not before.strip() else _UNDERLINE.match(line)
        if underline and _PLAIN_LINE.match(before):
            kept[-1] = (False, f"{'#' if '=' in underline[1] else '##'} {before.strip()}")
            continue
        kept += [(False, ""), (code, line)] if underline else [(code, line)]
    return kept[1:]
