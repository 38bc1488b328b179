"""Answers to our prompts made of sentences of their own material: what the embedded model says."""

from __future__ import annotations

import bisect
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice

from graph.digest import clip, count_tokens
from graph.prompts.material import NOTHING_NEW, Material, Passage, inert, key, once, ranked, significant

LEADING_QUOTES = 3
# A synthesis names what matters most of each phase: the rest stands in the phase's own section.
_OF_A_NOTE = 2
MAX_DOUBTED = 4
MAX_LISTED = 8

_LEADS = ("**{}** reports:", "**{}** states:", "From **{}**:", "**{}** adds:")


def compose(prompt: str) -> str:
    """The answer to a prompt of `graph.prompts`: in its role, within its tokens, but at least one sentence."""
    material = Material(prompt)
    if not material.quotable:
        return _without_sources(material)
    if material.role == "critique":
        return _critique(material)
    if material.role == "refine":
        return _refine(material)
    return _synthesize(material) if material.role in ("synthesize", "closing") else _research(material)


def _research(material: Material) -> str:
    fresh = _unused(_on_topic(material), material.drafts + material.notes)
    return _fitted(ranked(fresh, _weights(material)), _led_in, material.target_tokens)


def _critique(material: Material) -> str:
    """What can be told by counting words and citations, most serious first."""
    covered = {word for passage in material.quotable for word in passage.words}
    said = key(material.drafts)
    absent = [written for word, written in material.wanted.items() if word not in covered]
    unsaid = [written for word, written in material.wanted.items() if word in covered and word not in said]
    unused = [f"{cite} {title}" for cite, title in material.sources.items() if cite not in material.drafts]
    lines = [
        f"- No source covers: {_listed(absent)}." if absent else "",
        f"- In the sources, but missing from the draft: {_listed(unsaid)}." if unsaid else "",
        *(f"- Rests on one source only: {claim}" for claim in islice(_unsupported(material), MAX_DOUBTED)),
        f"- Sources that were not used: {_listed(unused)}." if unused else "",
    ]
    found = [line for line in lines if line]
    every = "- The draft uses every source, and each significant word of the topic occurs in one."
    return _longest(lambda count: "\n".join(found[:count]), len(found), material.target_tokens) if found else every


def _refine(material: Material) -> str:
    said = key(material.drafts)
    missing = {word: weight for word, weight in _weights(material).items() if word not in said}
    fresh = _unused(material.quotable, material.drafts + material.notes)
    useful = [passage for passage in fresh if passage.words & missing.keys()]
    if not useful:
        return _fitted(ranked(fresh, _weights(material)), _by_title, material.target_tokens)

    def by_word(chosen: Sequence[Passage]) -> str:
        return _bullets((next(material.asked[w] for w in missing if w in p.words), p) for p in chosen)

    return _fitted(ranked(useful, missing), by_word, material.target_tokens)


def _synthesize(material: Material) -> str:
    fresh = _fresh(_on_topic(material), material.notes)
    own = ranked(fresh, _weights(material)) if fresh else []
    noted = _in_turn(material, material.noted)
    if material.in_last_phases or material.role == "closing":
        order = list(once(noted[: _OF_A_NOTE * len({p.title for p in noted})] + own))
    else:
        order = own
    summary = f"**Summary:** {_joined(order[:LEADING_QUOTES])}" if material.ends_report else ""
    rest = order[LEADING_QUOTES:] if material.ends_report else order
    open_ = _open(material)
    if not order:
        return "\n\n".join(filter(None, (NOTHING_NEW, open_)))
    room = material.target_tokens - sum(count_tokens(part) + 1 for part in (summary, open_) if part)
    if room < 0 or not rest:
        return _fitted(order, _section, material.target_tokens)
    return "\n\n".join(part for part in (summary, _fitted(rest, _section, room), open_) if part)


def _open(material: Material) -> str:
    covered = {word for passage in material.quotable + material.noted for word in passage.words}
    absent = [written for word, written in material.wanted.items() if word not in covered]
    return f"**Open:** no source covers {_listed(absent)}." if absent else ""


def _without_sources(material: Material) -> str:
    said = "No source was found for this phase"
    if material.role == "critique":
        return f"{said}, so its draft can be checked against none."
    if not material.noted:
        return f"{said}, so nothing can be said here about: {clip(inert(material.topic), 120)}."
    noted = _in_turn(material, _unused(material.noted, material.drafts))

    def text(count: int) -> str:
        return f"{said}; what follows comes from earlier phases.\n\n{_by_title(noted[:count])}"

    longest = _longest(text, len(noted), material.target_tokens)
    return longest if count_tokens(longest) <= material.target_tokens else f"{said}."


def _weights(material: Material) -> dict[str, float]:
    """The topic's words and the reader's count twice those of the phase."""
    return {word: 2.0 if word in material.wanted else 1.0 for word in material.asked}


def _unused(passages: list[Passage], said: str) -> list[Passage]:
    """Those that `said` does not quote yet, or all where none is left."""
    return _fresh(passages, said) or passages


def _fresh(passages: list[Passage], said: str) -> list[Passage]:
    already = key(said)
    return [p for p in passages if p.key not in already]


def _on_topic(material: Material) -> list[Passage]:
    """What may be quoted of the sources that have a third of the topic words that the best of them has."""
    words: dict[str, set[str]] = {}
    for passage in material.quotable:
        of_source = words.setdefault(passage.cite, set())
        of_source.update((passage.words | significant(passage.title).keys()) & material.wanted.keys())
    most = max(map(len, words.values()), default=0)
    return [p for p in material.quotable if 3 * len(words[p.cite]) >= most]


def _unsupported(material: Material) -> Iterator[Passage]:
    for claim in material.claims:
        others = (p for p in material.quotable if p.cite not in claim.cite)
        if claim.cite.count("[") == 1 and not any(2 * len(p.words & claim.words) >= len(claim.words) for p in others):
            yield claim


def _in_turn(material: Material, passages: Sequence[Passage]) -> list[Passage]:
    """The best of every note, then the second of every note, and so on; what several notes say comes later."""
    met: Counter[str] = Counter()
    rounds: list[tuple[int, Passage]] = []
    best_first = ranked(passages, _weights(material))
    for passage in sorted(best_first, key=lambda p: p.key in material.repeated):
        rounds.append((met[passage.title], passage))
        met[passage.title] += 1
    return [passage for _, passage in sorted(rounds, key=lambda pair: pair[0])]


def _fitted(passages: Sequence[Passage], render: Callable[[Sequence[Passage]], str], tokens: int) -> str:
    text = _longest(lambda count: render(passages[:count]), len(passages), tokens)
    return text if count_tokens(text) <= tokens else str(passages[0])


def _longest(render: Callable[[int], str], most: int, tokens: int) -> str:
    """`render(count)` for the largest count from 1 to `most` that stays within `tokens`, or for 1."""
    count = bisect.bisect_right(range(1, most + 1), tokens, key=lambda count: count_tokens(render(count)))
    return render(max(count, 1))


def _led_in(chosen: Sequence[Passage]) -> str:
    groups = _grouped((p.cite, p) for p in chosen).values()
    leads = (_LEADS[i % len(_LEADS)].format(group[0].title) for i, group in enumerate(groups))
    return "\n\n".join(f"{lead} {_joined(group)}" for lead, group in zip(leads, groups, strict=True))


def _section(chosen: Sequence[Passage]) -> str:
    own = [p for p in chosen if not p.from_note]
    noted = [p for p in chosen if p.from_note]
    parts = [_joined(own[:LEADING_QUOTES]), _by_title(own[LEADING_QUOTES:])]
    if noted:
        parts += ["### What earlier phases found" if own else "", _by_title(noted)]
    return "\n\n".join(part for part in parts if part)


def _by_title(passages: Iterable[Passage]) -> str:
    return _bullets((p.title, p) for p in passages)


def _bullets(points: Iterable[tuple[str, Passage]]) -> str:
    return "\n".join(f"- **{name}:** {_joined(group)}" for name, group in _grouped(points).items())


def _grouped(points: Iterable[tuple[str, Passage]]) -> dict[str, list[Passage]]:
    groups: dict[str, list[Passage]] = {}
    for name, passage in points:
        groups.setdefault(name, []).append(passage)
    return groups


def _joined(passages: Iterable[Passage]) -> str:
    return " ".join(str(p) for p in passages)


def _listed(names: Sequence[str]) -> str:
    more = len(names) - MAX_LISTED
    return ", ".join(names[:MAX_LISTED]) + (f" and {more} more" if more > 0 else "")
