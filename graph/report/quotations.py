"""Quotations in a text, and whether what they quote stands in a source."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

# Shorter ones are terms or irony, and prove nothing.
MIN_WORDS: Final = 5
MIN_LETTERS: Final = 20
# Single words in order, with gaps between them, say anything.
MIN_PIECE: Final = 8
LOOKED_BEHIND: Final = 160

_QUOTED: Final = re.compile(
    r"“(?P<a>[^“”]{1,4000})”|«(?P<b>[^«»]{1,4000})»|„(?P<c>[^„“”]{1,4000})[“”]"
    r"|(?<![\w\"])\"(?P<d>[^\s\"][^\"]{0,4000})\"(?!\w)"
)
_BLOCK: Final = re.compile(r"^[ \t]{0,3}>[ \t]?", re.MULTILINE)
_CITATIONS: Final = re.compile(r"(?: ?\[\d{1,9}(?:\s*[,;]\s*\d{1,9})*\])+")
_NUMBER: Final = re.compile(r"\d+")
_LEFT_OUT: Final = re.compile(r"\[?(?:…|\.\.\.)\]?")
_SCHEME: Final = re.compile(r"\b[a-z][a-z0-9+.-]{0,20}://|\bwww\.", re.IGNORECASE)
_LETTERS: Final = re.compile(r"[^\W_]+")
_INSERTED: Final = re.compile(r"\[[^\[\]]*\]")
_WIDE: Final = re.compile("[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")


@dataclass(frozen=True)
class Quotation:
    """What is quoted, the numbers cited for it, and where in the text its mark would go."""

    words: str
    cited: tuple[int, ...]
    end: int


def quotations(run: str) -> Iterator[Quotation]:
    """The quotations in a run of lines, in order: in quotation marks, or the run as a whole behind `>`."""
    if all(_BLOCK.match(line) for line in run.split("\n")):
        bare = _BLOCK.sub("", run)
        numbers = tuple(int(n) for group in _CITATIONS.findall(bare) for n in _NUMBER.findall(group))
        words = _CITATIONS.sub("", bare)
        if numbers and _tells(words):
            yield Quotation(words.partition("\n— ")[0], numbers, len(run))
        return
    for found in _QUOTED.finditer(run):
        words = next(group for group in found.groups() if group is not None)
        if _tells(words):
            cited, end = _cited_behind(run, found.end())
            yield Quotation(words, cited, end)


def letters(text: str) -> str:
    """`text` as quotations are compared: letters and digits alone, so that no mark of Markdown or dash counts."""
    return "".join(_LETTERS.findall(_SCHEME.sub("", html.unescape(text)).casefold()))


def stands_in(words: str, texts: Iterable[str]) -> bool:
    """Whether one of `texts`, which are given as `letters`, holds all that `words` quote, in their order.

    `…` and `[inserted words]` may stand for what a quotation leaves out.
    """
    found = [letters(piece) for piece in _LEFT_OUT.split(_INSERTED.sub("…", _LEFT_OUT.sub("…", words)))]
    pieces = [piece for piece in found if piece]
    if len(pieces) > 1 and min(map(len, pieces)) < MIN_PIECE:
        return False
    return any(_in_order(pieces, text) for text in texts)


def _in_order(pieces: list[str], text: str) -> bool:
    at = 0
    for piece in pieces:
        if (found := text.find(piece, at)) < 0:
            return False
        at = found + len(piece)
    return bool(pieces)


def _tells(words: str) -> bool:
    if len(letters(words)) < (MIN_WORDS if _WIDE.search(words) else MIN_LETTERS):
        return False
    return len(words.split()) >= MIN_WORDS or bool(_WIDE.search(words))


def _cited_behind(run: str, end: int) -> tuple[tuple[int, ...], int]:
    """The numbers that the same sentence cites for what ends at `end`, and the place behind them."""
    following = run[end : end + LOOKED_BEHIND]
    found = _CITATIONS.search(following)
    between = following[: found.start()] if found else ""
    if found is None or re.search(r"[“«„\"\n]|[.!?](?:\s|$)", between.lstrip(".!?,;: ")):
        return (), end
    return tuple(int(number) for number in _NUMBER.findall(found[0])), end + found.end()
