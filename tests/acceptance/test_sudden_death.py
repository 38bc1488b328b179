"""Deaths in a row, deaths during the recovery from one, and more unfinished turns than may run at once."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.acceptance.claim_points import around_claim
from tests.acceptance.client import ResearchClient
from tests.acceptance.server_process import Launch, ServerProcess
from tests.acceptance.steady_reader import SteadyReader
from tests.acceptance.torture import Torture
from tests.acceptance.transcript import check_invocation, events, model_calls_repeated
from tests.openai_stub.process import ModelStub

MakeServer = Callable[..., ServerProcess]


def test_three_kills_within_a_second(server: ServerProcess, client: ResearchClient, stub: ModelStub) -> None:
    stub.hold(after_tokens=5, from_call=3)
    invocation = client.post("Bridges")["invocation_id"]
    stub.wait_for_calls(1, state="held")
    with SteadyReader(server, invocation) as reader:
        for after_sec in (0.0, 0.1, 0.4):
            server.kill()
            server.spawn()
            time.sleep(after_sec)  # how far the process comes by then is up to the machine: any instant will do
        server.kill()
        stub.release()
        server.start()
        reader.wait()
    whole = check_invocation(client, invocation)
    reader.check(whole)
    assert model_calls_repeated(whole) <= 4
    assert len(stub.calls()) <= 6 + 4


@pytest.mark.parametrize("point", ["claim.before", "claim.after", "events.before", "events.after", "token.first"])
def test_killed_while_it_recovers(server: ServerProcess, client: ResearchClient, stub: ModelStub, point: str) -> None:
    stub.hold(after_tokens=5, from_call=3)
    invocation = client.post("Bridges")["invocation_id"]
    stub.wait_for_calls(1, state="held")
    with SteadyReader(server, invocation) as reader:
        server.kill()
        stub.release()
        for _ in range(2):
            server.set_env(FAULT_POINT=point)
            server.spawn()
            assert server.wait_for_exit() == 137
        server.set_env(FAULT_POINT=None)
        server.start()
        reader.wait()
    whole = check_invocation(client, invocation)
    reader.check(whole)
    # One for the kill, and where the process died of a token, one for each of those deaths.
    assert len(stub.calls()) == 6 + (3 if point == "token.first" else 1)
    kinds = [event["type"] for event in events(whole)]
    assert kinds.count("recovered") == kinds.count("run_start") - 1


@pytest.mark.parametrize("point", [*around_claim(2, 1), "checkpoint.before"])
def test_killed_before_the_first_checkpoint(make_server: MakeServer, stub: ModelStub, point: str) -> None:
    server = make_server(FAULT_POINT=point)
    server.start()
    with ResearchClient(server.url) as client:
        invocation = client.post("Bridges")["invocation_id"]
        assert server.wait_for_exit() == 137
        assert stub.calls() == []
        server.set_env(FAULT_POINT=None)
        server.start()
        check_invocation(client, invocation)
    assert len(stub.calls()) == 6


def test_two_hundred_unfinished_turns_at_one_start(make_server: MakeServer, stub: ModelStub) -> None:
    server = make_server(MAX_CONCURRENT_RUNS=1, NUM_PHASES=1, CALLS_PER_PHASE=1, LOG_LEVEL="warning")
    server.start()
    stub.hold(after_tokens=1)
    with ResearchClient(server.url) as client:
        with ThreadPoolExecutor(16) as pool:
            list(pool.map(lambda number: client.post(f"topic {number}"), range(200)))
        page = client.request("GET", "/invocations", params={"limit": 200}).json()["invocations"]
        posted = [record["invocation_id"] for record in reversed(page)]
        assert len(posted) == 200
        stub.wait_for_calls(1, state="held")
        server.kill()
        before = len(stub.calls())
        stub.release()
        stub.control(delay_ms=1)
        server.set_env(MAX_CONCURRENT_RUNS="8")
        server.start()
        records = [client.wait_for(invocation, lambda record: record["ended_at"] is not None) for invocation in posted]
        assert {record["status"] for record in records} == {"completed"}
        starts = [record["started_at"] for record in records]
        assert starts == sorted(starts)
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(lambda invocation: check_invocation(client, invocation), posted[::20]))
    calls = stub.calls()[before:]
    assert len(calls) == 200
    assert most_at_once([(call.started_at, call.finished_at or 0) for call in calls]) <= 8


def most_at_once(spans: list[tuple[float, float]]) -> int:
    """How many spans overlap at most; one that ends when another starts does not overlap it."""
    moments = sorted([(start, 1) for start, _ in spans] + [(end, -1) for _, end in spans], key=lambda m: (m[0], m[1]))
    return max(itertools.accumulate(change for _, change in moments))


def test_a_short_soak(tmp_path: Path, warm_launch: Launch | None, database_url: str | None) -> None:
    with Torture(8, 3, tmp_path, launch=warm_launch, database_url=database_url) as torture:
        figures = torture.run()
    assert figures.verdict == "kept"
    assert figures.kills == 8
