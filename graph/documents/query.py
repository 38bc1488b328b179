"""Any text of a user into a query that FTS5 accepts."""

from __future__ import annotations

import re
from itertools import pairwise

from graph.documents.cleaning import CJK

MOST_TERMS = 40
_LONGEST_WORD = 64
_WORD = re.compile(rf"[{CJK}]+|[^\W_{CJK}]+")
_IS_CJK = re.compile(rf"[{CJK}]")

_STOP = """
    a about all also am an and any are as at be because been but by can could did do does for from had has
    have he her his how i if in into is it its may me more most much my no nor not of on one or our out over
    she should so some such than that the their them then there these they this those to too under up us very
    was we were what when where which while who whom whose why will with within without would you your
"""
STOP_WORDS = frozenset(_STOP.split())


def match_query(text: str) -> str:
    """The significant words of `text`, each once and quoted, joined by OR; empty where there is no word at all.

    Quoting is what makes it safe: inside quotes FTS5 knows no operators, and a word cannot contain a quote.
    """
    found = dict.fromkeys(word.lower() for word in _WORD.findall(text) if len(word) <= _LONGEST_WORD)
    significant = [word for word in found if word not in STOP_WORDS and _telling(word)] or list(found)
    terms = dict.fromkeys(term for word in significant[:MOST_TERMS] for term in _terms(word))
    return " OR ".join(f'"{term}"' for term in list(terms)[:MOST_TERMS])


def _telling(word: str) -> bool:
    return len(word) > 1 or word.isdigit() or bool(_IS_CJK.match(word))


def _terms(word: str) -> list[str]:
    """A run of CJK characters is asked for as its pairs: they are indexed one character at a time."""
    if len(word) == 1 or not _IS_CJK.match(word):
        return [word]
    return [f"{first} {second}" for first, second in pairwise(word)]
