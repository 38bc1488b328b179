"""What a phase asks its searches, planned in code: no model call is spent on it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from graph.digest import clip, sentences

# Web searches cut or refuse longer ones; Tavily takes 400 characters.
MAX_QUERY_CHARS = 300
MAX_SUBJECT_CHARS = 140


@dataclass(frozen=True)
class Queries:
    """`wide`: everything, for an index that ranks words; `narrow`: questions for a web search, the best first."""

    wide: str
    narrow: tuple[str, ...]


def planned(
    topic: str, title: str, focus: str, *, asked: Sequence[str], guidance: Sequence[str], open_: Sequence[str]
) -> Queries:
    """The queries of the phase called `title`.

    `asked` is all that was asked on this topic, `guidance` the part that came later, `open_` what earlier phases left
    open; both with the newest last.
    """
    subject = _subject(topic)
    narrow = [f"{subject} {title}"]
    narrow += [f"{_subject(message)} ({subject})" for message in guidance[-1:]]
    narrow += [f"{subject} {_subject(question)}" for question in open_[-1:]]
    narrow.append(f"{subject} {focus}")
    unique = dict.fromkeys(clip(" ".join(query.split()), MAX_QUERY_CHARS) for query in narrow)
    return Queries(wide=f"{' '.join(asked)} {title} {focus}", narrow=tuple(unique))


def _subject(text: str) -> str:
    """`text` where it is short, else its first sentence, cut."""
    line = " ".join(text.split())
    if len(line) <= MAX_SUBJECT_CHARS:
        return line
    return clip((sentences(text[:4000]) or [line])[0], MAX_SUBJECT_CHARS)
