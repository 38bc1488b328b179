"""The checkpoint saver where a writer is cancelled, a thread is erased under readers, or event loops change."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path

import pytest
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import empty_checkpoint

from graph import Context, build_graph
from graph.checkpoints import open_checkpoints
from tests.openai_stub import ModelStub


@pytest.mark.parametrize("steps", range(12))
def test_a_cancelled_write_is_on_disk_or_nowhere(tmp_path: Path, steps: int) -> None:
    path = tmp_path / "checkpoints.sqlite"
    asyncio.run(_cancelled_write(path, steps))


async def _cancelled_write(path: Path, steps: int) -> None:
    saver = await open_checkpoints(path)
    config: RunnableConfig = {"configurable": {"thread_id": "t", "checkpoint_ns": ""}}
    try:
        writing = asyncio.create_task(saver.aput(config, empty_checkpoint(), {}, {}))
        for _ in range(steps):
            await asyncio.sleep(0)
        writing.cancel()
        await asyncio.wait([writing])
        assert not saver.conn.in_transaction
        seen = await saver.aget_tuple(config)
        with sqlite3.connect(path) as other:
            stored = other.execute("SELECT count(*) FROM checkpoints").fetchone()[0]
        other.close()
        assert bool(stored) == (seen is not None)
    finally:
        await saver.conn.close()


def test_a_thread_is_erased_while_another_is_read(tmp_path: Path) -> None:
    asyncio.run(_erased_while_read(tmp_path / "checkpoints.sqlite"))


async def _erased_while_read(path: Path) -> None:
    """A reader that waits behind the deletion begins before the space is given back."""
    saver = await open_checkpoints(path)
    config: RunnableConfig = {"configurable": {"thread_id": "t", "checkpoint_ns": ""}}
    begun, enough = asyncio.Event(), asyncio.Event()

    async def read() -> None:
        async for _ in saver.alist(config):
            begun.set()
            await enough.wait()

    try:
        for _ in range(3):
            await saver.aput(config, empty_checkpoint(), {}, {})
        async with saver.lock:
            erasing = asyncio.create_task(saver.adelete_thread("other"))
            while not saver._writing.locked():
                await asyncio.sleep(0)
            reading = asyncio.create_task(read())
            await asyncio.sleep(0)
        await begun.wait()
        # With the bug it has failed by then; else it waits for the reader.
        await asyncio.wait([erasing], timeout=0.2)
        enough.set()
        await erasing
        await reading
    finally:
        await saver.conn.close()


def test_a_graph_runs_on_one_event_loop_after_another(monkeypatch: pytest.MonkeyPatch) -> None:
    with ModelStub(tokens=5, delay_ms=0) as stub:
        monkeypatch.setenv("OPENAI_API_KEY", "k")
        monkeypatch.setenv("OPENAI_BASE_URL", stub.base_url)
        graph = build_graph()
        context = Context(num_phases=1, calls_per_phase=2, model="openai:stub")
        for _ in range(3):
            assert asyncio.run(graph.ainvoke({"topic": "Loops"}, context=context))["report"]
