"""Runs every topic and prints one JSON line: `python -m benchmarks.quality [--model NAME] [--judge NAME]`."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from dataclasses import asdict
from typing import Any

from benchmarks.quality.judge import NoVerdict, Verdict, judged
from benchmarks.quality.measure import averaged, measured
from benchmarks.quality.topics import CORPUS, Topic, topics
from graph.context import Context
from graph.documents import open_documents
from graph.graph import build_graph
from graph.models import ModelUnusable, check_model, load_model
from graph.ports import Ports
from graph.report import Report


async def report_on(topic: Topic, context: Context) -> Report:
    """The report that a run over the corpus gives."""
    documents = open_documents(CORPUS)
    try:
        graph = build_graph(ports=Ports(retriever=lambda: documents))
        result: dict[str, Any] = {}
        async for values in graph.astream({"topic": topic.question}, context=context, stream_mode="values"):
            result = values
    finally:
        documents.close()
    report: Report = result["document"]
    return report


async def run(context: Context, judge: str | None = None) -> dict[str, Any]:
    """The figures of all topics together."""
    reports = [(topic, await report_on(topic, context)) for topic in topics()]
    told: dict[str, Any] = {"benchmark": "quality", "model": context.model, "topics": len(reports)}
    told |= averaged([measured(report, topic) for topic, report in reports])
    if judge is not None:
        model = load_model(judge)
        told |= {"judge": judge} | _verdicts([await judged(model, report, topic) for topic, report in reports])
    return told


def _verdicts(verdicts: list[Verdict]) -> dict[str, Any]:
    count = len(verdicts)
    return {
        "race": {name: round(sum(v.race[name] for v in verdicts) / count, 3) for name in verdicts[0].race},
        "fact_citations_judged": sum(v.citations_judged for v in verdicts),
        "fact_citations_supported": round(sum(v.citations_supported for v in verdicts) / count, 3),
        "verdicts": [asdict(verdict) for verdict in verdicts],
    }


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.quality", description=__doc__)
    parser.add_argument("--model", default="offline", help="the model that researches [offline]")
    parser.add_argument("--judge", help="a model that judges as well, as openai:gpt-5")
    parser.add_argument("--phases", type=int, default=8)
    parser.add_argument("--calls", type=int, default=2, help="calls a phase [2]")
    asked = parser.parse_args()
    try:
        for name in (asked.model, asked.judge):
            if name:
                check_model(name)
        context = Context(model=asked.model, num_phases=asked.phases, calls_per_phase=asked.calls)
        print(json.dumps(asyncio.run(run(context, asked.judge))))
    except (ModelUnusable, NoVerdict) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
