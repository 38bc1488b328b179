"""What can be measured of a report without a model: facts, citations, repetition."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from statistics import mean

from benchmarks.quality.topics import Topic
from graph.digest import sentences
from graph.report import Report
from graph.report.quotations import letters

_CITED = re.compile(r"\[(\d+)\]")
_WORDS = 6


@dataclass(frozen=True)
class Figures:
    """From 0 to 1 each.

    `coverage`: known facts that the report states. `citation_recall`: stated facts whose passage cites the document
    that has the fact. `citation_precision`: citations that lead to a document on the topic. `quotations_verified`:
    quotations that stand in their source. `duplicated`: sentences that the report had before.
    """

    coverage: float
    citation_recall: float
    citation_precision: float
    quotations_verified: float
    duplicated: float


def measured(report: Report, topic: Topic) -> Figures:
    """The figures of one report."""
    files = {n: source["url"].partition("#")[0] for source in report["sources"] for n in source["numbers"]}
    told = [(passage, [files[n] for n in _numbers(passage) if n in files]) for passage in _passages(report)]
    stated = [[cited for passage, cited in told if fact.stands_in(passage)] for fact in topic.facts]
    covered = [(fact, cites) for fact, cites in zip(topic.facts, stated, strict=True) if cites]
    cited = [file for _, files_cited in told for file in files_cited]
    checked = report["verification"]
    return Figures(
        coverage=len(covered) / len(topic.facts),
        citation_recall=_mean([any(fact.source in files for files in cites) for fact, cites in covered]),
        citation_precision=_mean([file in topic.documents for file in cited]),
        quotations_verified=checked["verified_quotations"] / (checked["quotations"] or 1),
        duplicated=_duplicated([passage for passage, _ in told]),
    )


def averaged(figures: list[Figures]) -> dict[str, float]:
    """The mean of each figure, to three places."""
    return {name: round(mean(asdict(each)[name] for each in figures), 3) for name in asdict(figures[0])}


def _passages(report: Report) -> Iterator[str]:
    """The sentences of the report's own text, with the citations behind them."""
    texts = [report["summary"], *(section["text"] for section in report["sections"])]
    for text in texts:
        for sentence in sentences(text):
            # Several quotations in one sentence are as many passages.
            yield from re.findall(r"“[^“”]*”(?: ?\[\d+\])+", sentence) or [sentence]


def _numbers(passage: str) -> list[int]:
    return [int(number) for number in _CITED.findall(passage)]


def _duplicated(passages: list[str]) -> float:
    keys = [letters(_CITED.sub("", passage)) for passage in passages if len(passage.split()) >= _WORDS]
    return sum(count - 1 for count in Counter(keys).values()) / (len(keys) or 1)


def _mean(values: list[bool]) -> float:
    return mean(values) if values else 0.0
