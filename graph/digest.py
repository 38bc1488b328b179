"""What a phase is told of the phases before it: the start of each one's text, within a budget of tokens."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from graph.plan import SYNTHESIS_PHASES

if TYPE_CHECKING:
    from graph.state import Finding

DIGEST_BUDGET_TOKENS = 1500
SYNTHESIS_BUDGET_TOKENS = 6000
MIN_NOTE_TOKENS = 15
CHARS_PER_TOKEN = 4

_ABBREVIATION = re.compile(
    r"al|approx|ca|cf|co|dr|e\.g|eds?|etc|figs?|i\.e|inc|jr|mrs?|ms|nos?|pp?|prof|sr|st|vol|vs", re.IGNORECASE
)
# Possessive, and started only at the first mark of a run: hostile text must not make this quadratic.
_END = re.compile(r"""(?<![.!?…])[.!?…]++["'”’»)\]*_]*+(?: ?\[\d+(?:, ?\d+)*+\])*+(?= )|[。！？]++[”’」』]*+""")
_HEADING = re.compile(r"#{1,6}\s")
_MARKER = re.compile(r"(?:[-*+•]|\d{1,3}[.)])\s+|\|")
_FENCE = re.compile(r"`{3,}|~{3,}|[-=*_]{3,}$")


@dataclass(frozen=True)
class PhaseNote:
    """What an earlier phase found, shortened."""

    phase: int
    title: str
    text: str


def count_tokens(text: str) -> int:
    """An estimate: a token for every four characters, rounded up. Good to some 20 % for English; needs no tokenizer."""
    return -(-len(text) // CHARS_PER_TOKEN)


def budget_of(plan: Sequence[str], phase: int) -> int:
    """Tokens for the notes of `phase` (from 1): more in the phases that synthesize."""
    return SYNTHESIS_BUDGET_TOKENS if _synthesizes(plan, phase) else DIGEST_BUDGET_TOKENS


def digest(
    plan: Sequence[str], findings: Sequence[Finding], phase: int, *, budget_tokens: int | None = None
) -> list[PhaseNote]:
    """What the phases before `phase` found, oldest first, in at most `budget_tokens` (default: `budget_of`) together.

    `findings` are one line's, in the order they were made. The phases that synthesize hear of every earlier phase,
    be it one token each; the others lose the oldest notes before any gets shorter than `MIN_NOTE_TOKENS`.
    """
    budget = budget_of(plan, phase) if budget_tokens is None else budget_tokens
    texts = {f["phase"]: f["text"] for f in findings if f["phase"] < phase and f["text"].strip()}
    earlier = sorted(texts)
    if not _synthesizes(plan, phase):
        earlier = _newest([(p, min(count_tokens(texts[p]), MIN_NOTE_TOKENS)) for p in earlier], budget)
    shares = _shares([count_tokens(texts[p]) for p in earlier], budget)
    cuts = [cut(texts[p], max(share, 1)) for p, share in zip(earlier, shares, strict=True)]
    return [PhaseNote(p, _title(plan, p), text) for p, text in zip(earlier, cuts, strict=True)]


def cut(text: str, tokens: int) -> str:
    """The first sentences of `text` that fit in `tokens` (at least 1), headings left out; else its first words."""
    limit = tokens * CHARS_PER_TOKEN
    # Of a long text no more is split than can be used.
    beginning = text[: limit * 2]
    parts = sentences(beginning) or [" ".join(beginning.split())]
    whole = parts if len(beginning) == len(text) else parts[:-1]
    kept = " ".join(_fitting(whole, limit))
    return kept or clip(parts[0] if whole else f"{parts[0]}…", limit)


def clip(text: str, chars: int) -> str:
    """`text` in at most `chars` characters, cut between words where there is room for one, and marked with `…`."""
    if len(text) <= chars:
        return text
    # One character more than there is room for: a word that ends just there is kept.
    head = text[:chars].rpartition(" ")[0].rstrip() or text[: chars - 1]
    return head + "…"


def sentences(text: str) -> list[str]:
    """The sentences of prose or Markdown, each on one line with the citations behind it; headings are left out."""
    return [sentence for block in _blocks(text) for sentence in _split(block)]


def _synthesizes(plan: Sequence[str], phase: int) -> bool:
    return phase > len(plan) - SYNTHESIS_PHASES


def _title(plan: Sequence[str], phase: int) -> str:
    return plan[phase - 1] if phase <= len(plan) else f"Phase {phase}"


def _newest(needs: Sequence[tuple[int, int]], budget: int) -> list[int]:
    kept: list[int] = []
    for phase, need in reversed(needs):
        budget -= need
        if budget < 0:
            break
        kept.insert(0, phase)
    return kept


def _shares(sizes: Sequence[int], budget: int) -> list[int]:
    """Fair shares: what a short text does not need goes to the longer ones."""
    shares = [0] * len(sizes)
    waiting = len(sizes)
    for i in sorted(range(len(sizes)), key=sizes.__getitem__):
        shares[i] = min(sizes[i], budget // waiting)
        budget -= shares[i]
        waiting -= 1
    return shares


def _fitting(parts: Iterable[str], limit: int) -> Iterator[str]:
    length = -1
    for part in parts:
        length += len(part) + 1
        if length > limit:
            return
        yield part


def _blocks(text: str) -> Iterator[str]:
    """Paragraphs and list items, each on one line: a line break inside a paragraph is only a space."""
    lines: list[str] = []
    for line in [*text.splitlines(), ""]:
        stripped = line.strip()
        heading, marker = _HEADING.match(stripped), _MARKER.match(stripped)
        aside = not stripped or heading or _FENCE.match(stripped)
        if (aside or marker) and lines:
            yield " ".join(" ".join(lines).split())
            lines = []
        if not aside:
            lines.append(stripped[marker.end() :] if marker else stripped)


def _split(block: str) -> Iterator[str]:
    start = 0
    for end in _END.finditer(block):
        if _is_border(block, max(start, end.start() - 20), end):
            yield block[start : end.end()].strip()
            start = end.end()
    if rest := block[start:].strip():
        yield rest


def _is_border(block: str, start: int, end: re.Match[str]) -> bool:
    following = block[end.end() : end.end() + 2].lstrip()
    if following.islower():
        return False
    word = block[start : end.start()].rpartition(" ")[2].strip("\"'“‘([")
    initial = len(word) == 1 and word.isupper()
    return end.group() != "." or not (initial or _ABBREVIATION.fullmatch(word))
