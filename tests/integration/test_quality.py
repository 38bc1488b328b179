"""The floor under the quality of offline reports, and the judge's arithmetic."""

from __future__ import annotations

import pytest
from langchain_core.language_models.fake_chat_models import FakeListChatModel

from benchmarks.quality.__main__ import report_on, run
from benchmarks.quality.judge import NoVerdict, judged
from benchmarks.quality.measure import measured
from benchmarks.quality.topics import CORPUS, topics
from graph.context import Context

pytestmark = pytest.mark.anyio

SMALL = Context(num_phases=8, calls_per_phase=2)
# What docs/quality.md shows, less a little.
FLOOR = {"coverage": 0.9, "citation_recall": 0.95, "citation_precision": 0.8, "quotations_verified": 1.0}
MOST_DUPLICATED = 0.25


async def test_offline_reports_are_no_worse_than_they_were() -> None:
    figures = await run(SMALL)
    assert {name: figures[name] for name, floor in FLOOR.items() if figures[name] < floor} == {}
    assert figures["duplicated"] <= MOST_DUPLICATED


def test_every_known_fact_stands_in_its_document_and_in_no_other() -> None:
    for topic in topics():
        for fact in topic.facts:
            holding = {path.name for path in CORPUS.glob("*.md") if fact.stands_in(" ".join(path.read_text().split()))}
            assert fact.source in holding, fact
            assert fact.source in topic.documents


async def test_the_measure_tells_a_bad_report_from_a_good_one() -> None:
    topic, other = topics()[:2]
    report = await report_on(topic, SMALL)
    wrong = measured(report, other)
    assert wrong.coverage < 0.2
    assert wrong.citation_precision < 0.3
    for source in report["sources"]:
        source["url"] = "museum-flood.md"
    assert measured(report, topic).citation_recall == 0.0
    twice = {**report, "sections": report["sections"] * 2}
    assert measured(twice, topic).duplicated > 0.5  # type: ignore[arg-type]


async def test_a_judge_scores_the_report_and_its_citations() -> None:
    topic = topics()[0]
    report = await report_on(topic, Context(num_phases=2, calls_per_phase=1))
    scores = '{"comprehensiveness": 8, "insight": 6, "instruction_following": 10, "readability": 5}'
    judge = FakeListChatModel(responses=[scores, *(['{"supported": true}', 'So: {"supported": false}'] * 20)])
    verdict = await judged(judge, report, topic)
    assert verdict.race["overall"] == pytest.approx(0.3 * 8 + 0.3 * 6 + 0.2 * 10 + 0.2 * 5)
    assert verdict.citations_judged > 4
    assert 0.4 <= verdict.citations_supported <= 0.6


@pytest.mark.parametrize("answer", ["Good report!", "{}", '{"comprehensiveness": 11}', "[1]"])
async def test_a_judge_that_says_something_else_is_no_judge(answer: str) -> None:
    topic = topics()[0]
    report = await report_on(topic, Context(num_phases=1, calls_per_phase=1))
    with pytest.raises(NoVerdict):
        await judged(FakeListChatModel(responses=[answer]), report, topic)
