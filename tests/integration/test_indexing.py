"""Documents that take their time to be read: how far that is shows in the stream and on the screen."""

from __future__ import annotations

from pathlib import Path

import pytest

from client.cli.lines import line_of
from graph.context import Context
from graph.documents import open_documents
from graph.graph import build_graph
from graph.ports import Ports
from graph.search.engine import Engine
from tests.acceptance.event_shapes import SHAPES
from tests.fakes import FakeModel, answers

pytestmark = pytest.mark.anyio


async def test_the_stream_tells_how_far_the_reading_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("graph.nodes.INDEXING_EVERY_SEC", 0.0)
    for number in range(5):
        (tmp_path / f"{number}.md").write_text(f"# Page {number}\n\nTides rise and fall on page {number}.")
    engine = Engine("documents", lambda progress: open_documents(tmp_path, progress=progress), wide=True, durable=False)
    ports = Ports(model=lambda _: FakeModel(script=answers), engines=lambda: [engine])
    graph = build_graph(ports=ports)
    context = Context(num_phases=1, calls_per_phase=1)
    told = [part async for part in graph.astream({"topic": "Tides"}, context=context, stream_mode="custom")]
    ports.close()
    indexing = [event for event in told if event["type"] == "indexing"]
    assert [(event["done"], event["of"]) for event in indexing] == [(done, 5) for done in range(6)]
    kinds = [event["type"] for event in told]
    assert kinds.index("phase_start") < kinds.index("indexing") < kinds.index("subcall_start")
    stamps = {"sequence_number": 1, "server_time_utc": "2026-11-23T10:13:00.123Z", "server_uptime_sec": 1.0}
    SHAPES["indexing"].validate_python(indexing[0] | stamps)
    assert line_of(indexing[2]) == "Reading documents: 2 of 5 files"
