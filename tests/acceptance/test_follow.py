"""The product's own client follows a run while the server is killed twenty times under it."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

import orjson
import pytest

from client import AsyncResearchClient, Event, ResearchClient
from client.events import TERMINAL
from tests.acceptance import client as outside
from tests.acceptance.server_process import ServerProcess
from tests.acceptance.transcript import check_invocation, events
from tests.openai_stub.process import ModelStub

KILLS = 20


@pytest.fixture
def long_run(server: ServerProcess, stub: ModelStub) -> str:
    """A run with more boundaries than there are kills."""
    stub.control(tokens=6, delay_ms=25)
    with ResearchClient(server.url) as client:
        return client.start("Bridges", config={"phases": 15, "calls_per_phase": 4}).invocation_id


def _is_due(seen: list[Event], kills: int) -> bool:
    """At starts of calls, in their text and behind their ends, in turn; each time when it has recovered before."""
    recovered = sum(event["type"] == "recovered" for event in seen)
    kind = ("subcall_start", "token", "subcall_end")[kills % 3]
    return kills < KILLS and recovered == kills and seen[-1]["type"] == kind


def _check(seen: list[Event], server: ServerProcess, invocation: str) -> None:
    with outside.ResearchClient(server.url) as reader:
        whole = events(check_invocation(reader, invocation))
    assert [orjson.dumps(event) for event in seen] == [orjson.dumps(event) for event in whole]
    assert [event["sequence_number"] for event in seen] == list(range(1, len(seen) + 1))
    assert seen[-1]["type"] in TERMINAL
    assert sum(event["type"] == "recovered" for event in seen) == KILLS


@pytest.mark.backends("sqlite")
def test_sync_over_twenty_kills(server: ServerProcess, long_run: str) -> None:
    seen: list[Event] = []
    kills = 0
    with ResearchClient(server.url) as client:
        for event in client.follow(long_run):
            seen.append(event)
            if _is_due(seen, kills):
                kills += 1
                server.restart()
        assert client.get(long_run).status == "completed"
    assert kills == KILLS
    _check(seen, server, long_run)


@pytest.mark.backends("postgres")
def test_async_over_twenty_kills(server: ServerProcess, long_run: str) -> None:
    seen: list[Event] = []

    async def follow() -> int:
        kills = 0
        async with AsyncResearchClient(server.url) as client, aclosing(client.follow(long_run)) as following:
            async for event in following:
                seen.append(event)
                if _is_due(seen, kills):
                    kills += 1
                    await asyncio.to_thread(server.restart)
        return kills

    assert asyncio.run(follow()) == KILLS
    _check(seen, server, long_run)


def test_the_client_steers_cancels_resumes_and_reports(server: ServerProcess, stub: ModelStub) -> None:
    stub.hold(after_tokens=2, from_call=2)
    with ResearchClient(server.url) as client:
        first = client.start("Bridges")
        stub.wait_for_calls(1, state="held")
        second = client.steer(first.thread_id, "Only steel")
        stub.release()
        assert [event["type"] for event in client.follow(first.invocation_id)][-1] == "winding_down"
        assert client.get(first.invocation_id).superseded_by == second.invocation_id
        stub.hold(after_tokens=2)
        third = client.start("Tides")
        stub.wait_for_calls(1, state="held")
        client.cancel(third.invocation_id, now=True)
        stub.release()
        assert list(client.follow(third.invocation_id))[-1]["type"] == "winding_down"
        fourth = client.resume(third.invocation_id)
        assert list(client.follow(fourth.invocation_id))[-1]["type"] == "run_complete"
        assert list(client.follow(fourth.invocation_id, last_event_id=10**6)) == []
        assert client.report(fourth.invocation_id).markdown.startswith("# ")
        assert [run.invocation_id for run in client.list(thread_id=third.thread_id)] == [
            fourth.invocation_id,
            third.invocation_id,
        ]
