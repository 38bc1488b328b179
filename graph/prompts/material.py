"""What a prompt holds, read back out of its tags: for the embedded model, which answers from this alone."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from graph.digest import clip, sentences
from graph.prompts.tags import Element, elements

DEFAULT_TARGET_TOKENS = 1500
MAX_SENTENCE_CHARS = 400
MAX_TITLE_CHARS = 80
MIN_SENTENCE_WORDS = 4
NOTHING_NEW = "What the sources of this phase say of the topic stands in the sections of earlier phases."

_WORD = re.compile(r"[^\W_]+")
_CITATION = re.compile(r"\[\d+\]")
_QUOTE = re.compile(r"“([^“”]*)”((?: ?\[\d+\])+)")
_EMPHASIS = re.compile(r"\*\*+|__+|~~+|^[#>*+=|~\s-]+")
# Markdown viewers make links of bare addresses too.
_SCHEME = re.compile(r"\b[a-z][a-z0-9+.-]{0,20}://|\bwww\.", re.IGNORECASE)
_INERT = str.maketrans({"<": "&lt;", "[": "(", "]": ")", "“": '"', "”": '"', "`": "'"})
_COMMON = frozenset(
    word
    for line in (
        "about after all also and any are been but can could did does done each find for from had has have how into",
        "its many more most much not off one only other out over said say should some such than that the their them",
        "then there these they this those through under use used very was were what when where which who whom why",
        "will with would you your",
    )
    for word in line.split()
)


@dataclass(frozen=True)
class Passage:
    """A sentence that may be quoted: `text` is inert, `cite` its citation, `title` names what it comes from."""

    text: str
    cite: str
    title: str
    from_note: bool = False

    def __str__(self) -> str:
        return f"“{self.text}” {self.cite}"

    @cached_property
    def key(self) -> str:
        """The same for two spellings of one sentence."""
        return key(self.text)

    @cached_property
    def words(self) -> frozenset[str]:
        return frozenset(significant(self.text))


class Material:
    """The parts of one prompt, as they were put into it."""

    def __init__(self, prompt: str) -> None:
        self._elements = elements(prompt)
        task, phase = self._first("task"), self._first("phase")
        self.role = task.attributes.get("role", "research")
        self.target_tokens = int(task.attributes.get("tokens", DEFAULT_TARGET_TOKENS))
        number, of = int(phase.attributes.get("number", 1)), int(phase.attributes.get("of", 15))
        self.in_last_phases = number > of - 2
        self.ends_report = number == of and self.role == "synthesize"
        self.topic = self._text("topic")
        self.drafts = self._text("draft")
        self.notes = self._text("note")
        self.wanted = significant(f"{self.topic[:2000]} {self._text('guidance')[:2000]}")
        # The topic's words come first, in its spelling.
        self.asked = self.wanted | significant(f"{phase.attributes.get('title', '')} {phase.text}") | self.wanted

    @cached_property
    def quotable(self) -> list[Passage]:
        """The sentences of the sources, each once, in order."""
        return list(once(p for source in self._all("source") for p in _of_source(source)))

    @cached_property
    def noted(self) -> list[Passage]:
        """The sentences of the notes, each once, in order."""
        return list(once(p for note in self._all("note") for p in _of_note(note)))

    @cached_property
    def repeated(self) -> frozenset[str]:
        """The keys of what several notes say."""
        times = Counter(p.key for note in self._all("note") for p in once(_of_note(note)))
        return frozenset(said for said, number in times.items() if number > 1)

    @cached_property
    def claims(self) -> list[Passage]:
        """What the drafts say with a citation, each once, in order."""
        return list(once(Passage(text, cite, "") for text, cite in _cited(self.drafts) if cite))

    @property
    def sources(self) -> dict[str, str]:
        """The sources' titles, by the citation of each."""
        return {_citation(source): _title(source) for source in self._all("source")}

    def _all(self, name: str) -> list[Element]:
        return [element for element in self._elements if element.name == name]

    def _first(self, name: str) -> Element:
        return next(iter(self._all(name)), Element(name, {}, ""))

    def _text(self, name: str) -> str:
        return "\n\n".join(element.text for element in self._all(name))


def significant(text: str) -> dict[str, str]:
    """The words of `text` that carry meaning, in order: each as it is compared (no plural s), and as it is written."""
    found = (word for word in _WORD.findall(text.casefold()) if len(word) > 2 and word not in _COMMON)
    return {_stem(word): word for word in found}


def key(text: str) -> str:
    """`text` as it is compared with other text: letters and digits only."""
    return "".join(_WORD.findall(text.casefold()))


def once(passages: Iterable[Passage]) -> Iterator[Passage]:
    """`passages` without those that say the same as one before them, or nothing."""
    seen = {""}
    for passage in passages:
        if passage.key not in seen:
            seen.add(passage.key)
            yield passage


def ranked(passages: Sequence[Passage], weights: Mapping[str, float]) -> list[Passage]:
    """`passages` by BM25 against weighted words (each counted once a sentence), best first, then in their order.

    Those that hold none of the words are left out, unless that leaves nothing.
    """
    total = len(passages)
    holding = Counter(word for p in passages for word in p.words & weights.keys())
    rarity = {word: math.log(1 + (total - n + 0.5) / (n + 0.5)) * weights[word] for word, n in holding.items()}
    mean = sum(len(p.words) for p in passages) / max(total, 1) or 1.0

    def score(passage: Passage) -> float:
        # Sorted, since a sum of floats depends on its order, and that of a set on the process.
        found = sum(rarity[word] for word in sorted(passage.words & rarity.keys()))
        return found * 2.2 / (1 + 1.2 * (0.25 + 0.75 * len(passage.words) / mean))

    relevant = [p for p in passages if p.words & rarity.keys()]
    return sorted(relevant or passages, key=score, reverse=True)


def inert(text: str) -> str:
    """`text` on one line, with no HTML, link, image, citation or code span in it, in Markdown as in HTML."""
    plain = _SCHEME.sub("", " ".join(text.split())).translate(_INERT)
    return clip(_EMPHASIS.sub("", plain).strip(), MAX_SENTENCE_CHARS)


def _stem(word: str) -> str:
    return word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "is", "us")) else word


def _of_source(source: Element) -> list[Passage]:
    found = [Passage(inert(s), _citation(source), _title(source)) for s in sentences(source.text)]
    return [p for p in found if len(p.text.split()) >= MIN_SENTENCE_WORDS] or found


def _of_note(note: Element) -> list[Passage]:
    place = f"(phase {note.attributes.get('phase', '?')})"
    # What a phase says of itself is no finding, and was said by no source.
    found = note.text.partition("**Open:**")[0].replace(NOTHING_NEW, "")
    return [Passage(text, cite or place, _title(note), from_note=True) for text, cite in _cited(found)]


def _cited(text: str) -> list[tuple[str, str]]:
    """What `text` quotes, with the citations behind it; where it quotes nothing, its sentences."""
    if quotes := _QUOTE.findall(text):
        return [(inert(quote), "".join(_CITATION.findall(cites))) for quote, cites in quotes]
    return [(inert(_CITATION.sub("", s)), "".join(_CITATION.findall(s))) for s in sentences(text)]


def _citation(source: Element) -> str:
    return f"[{source.attributes.get('id', '?')}]"


def _title(element: Element) -> str:
    return clip(inert(element.attributes.get("title", "")).replace("*", ""), MAX_TITLE_CHARS) or "Untitled"
