"""SIGTERM: new work is refused, runs stop at their next superstep, readers are let go, and nothing is marked ended."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from typing import Any

import httpx2
import orjson
import pytest

from tests.acceptance.client import Frame, ResearchClient, of_type
from tests.acceptance.server_process import ServerProcess
from tests.acceptance.steady_reader import SteadyReader
from tests.acceptance.transcript import check_invocation, events, model_calls_repeated
from tests.openai_stub.process import ModelStub

MakeServer = Callable[..., ServerProcess]

GRACE_SEC = 1.0
# What a loaded machine may take on top of the two seconds that the promise has, to run Python to its end.
SLACK_SEC = 3.0


@pytest.fixture
def server(make_server: MakeServer) -> ServerProcess:
    server = make_server(SHUTDOWN_GRACE_SEC=GRACE_SEC)
    server.start()
    return server


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_held_model_call_is_broken_off_after_the_grace(
    server: ServerProcess, client: ResearchClient, stub: ModelStub, number: signal.Signals
) -> None:
    stub.hold(after_tokens=5, from_call=3)
    invocation = client.post("Bridges")["invocation_id"]
    stub.wait_for_calls(1, state="held")
    with SteadyReader(server, invocation) as first, SteadyReader(server, invocation) as second:
        client.read_stream(invocation, until=lambda f: f.data is not None and f.data.count('"phase":2') > 0)
        began = time.monotonic()
        server.signal(number)
        refused = wait_until_refused(client)
        for answer in refused:
            assert answer.status_code == 503
            assert int(answer.headers["retry-after"]) >= 1
            assert answer.headers["content-type"] == "application/problem+json"
        assert client.request("GET", "/liveness").status_code == 200
        assert server.wait_for_exit() == 0
        assert time.monotonic() - began < GRACE_SEC + 2 + SLACK_SEC
        assert stored(server, "status, ended_at") == [("running", None)]
        assert not any(event["type"] in ("run_complete", "run_failed", "winding_down") for event in told(server))
        stub.release()
        server.start()
        for reader in (first, second):
            reader.wait()
            assert reader.cuts >= 1
    whole = check_invocation(client, invocation)
    first.check(whole)
    second.check(whole)
    assert len(stub.calls()) == 7


def test_a_reader_s_connection_closes_without_done(
    server: ServerProcess, client: ResearchClient, stub: ModelStub
) -> None:
    stub.hold(after_tokens=5)
    invocation = client.post("Bridges")["invocation_id"]
    stub.wait_for_calls(1, state="held")
    signalled = False

    def signal_once(_: Frame) -> bool:
        nonlocal signalled
        if not signalled:
            signalled = True
            server.signal(signal.SIGTERM)
        return False

    frames = client.read_stream(invocation, until=signal_once)
    assert frames.closed == "cut"
    assert not [frame for frame in frames if frame.event]
    assert server.wait_for_exit() == 0


def test_a_run_stops_at_its_superstep(make_server: MakeServer, stub: ModelStub) -> None:
    server = make_server(SHUTDOWN_GRACE_SEC=30)
    server.start()
    stub.control(delay_ms=10)
    with ResearchClient(server.url) as client:
        invocation = client.post("Bridges")["invocation_id"]
        with SteadyReader(server, invocation) as reader:
            for calls in (1, 3):
                stub.wait_for_calls(calls)
                assert server.terminate() == 0
                assert len(stub.calls()) <= calls + 1
                assert all(call.finished for call in stub.calls())
                server.start()
            reader.wait()
        whole = check_invocation(client, invocation)
        reader.check(whole)
    assert len(stub.calls()) == 6
    assert model_calls_repeated(whole) == 0


def test_in_a_cooldown_it_ends_at_once(make_server: MakeServer, stub: ModelStub) -> None:
    server = make_server(SHUTDOWN_GRACE_SEC=20, INTER_PHASE_COOLDOWN_SEC=4, NUM_PHASES=2, CALLS_PER_PHASE=1)
    server.start()
    with ResearchClient(server.url) as client:
        invocation = client.post("Bridges")["invocation_id"]
        seen = client.read_stream(invocation, until=of_type("cooldown"))
        began = time.monotonic()
        assert server.terminate() == 0
        assert time.monotonic() - began < 2 + SLACK_SEC
        server.start()
        whole = check_invocation(client, invocation)
    (pause,) = [event for event in events(seen) if event["type"] == "cooldown"]
    assert [event for event in events(whole) if event["type"] == "cooldown"] == [pause]
    second = [event for event in events(whole) if event["type"] == "phase_start"][1]
    assert second["server_time_utc"] >= pause["resume_at"]
    assert len(stub.calls()) == 2


def test_turns_that_wait_are_left_for_the_next_process(make_server: MakeServer, stub: ModelStub) -> None:
    server = make_server(SHUTDOWN_GRACE_SEC=0.2, MAX_CONCURRENT_RUNS=1)
    server.start()
    stub.hold(after_tokens=5, from_call=2)
    with ResearchClient(server.url) as client:
        turns = [client.post("Bridges", thread_id="t")["invocation_id"]]
        stub.wait_for_calls(1, state="held")
        turns.append(client.post("Dams", thread_id="t", multitask_strategy="enqueue")["invocation_id"])
        turns.append(client.post("Locks")["invocation_id"])
        assert server.terminate() == 0
        assert [row[0] for row in stored(server, "status")] == ["running", "queued", "queued"]
        stub.release()
        server.start()
        for invocation in turns:
            check_invocation(client, invocation)
            assert client.record(invocation)["status"] == "completed"


@pytest.mark.backends("sqlite")
def test_sigkill_and_sigterm_leave_the_same(make_server: MakeServer, stub: ModelStub) -> None:
    left = []
    for folder in ("killed", "ended"):
        server = make_server(folder, SHUTDOWN_GRACE_SEC=0.2)
        server.start()
        stub.control(reset=True)
        stub.hold(after_tokens=5, from_call=3)
        with ResearchClient(server.url) as client:
            invocation = client.post("Bridges", thread_id="t")["invocation_id"]
            stub.wait_for_calls(1, state="held")
            client.read_stream(invocation, until=of_type("token", phase=2))
            if folder == "killed":
                server.kill()
            else:
                assert server.terminate() == 0
            stub.release()
            columns = "status, epoch, phases_completed, total_phases, input_tokens, output_tokens, ended_at, error"
            before = stored(server, columns)
            shown = [(event["type"], event.get("phase"), event.get("index")) for event in told(server)]
            server.start()
            whole = check_invocation(client, invocation)
            recovered = next(event for event in events(whole) if event["type"] == "recovered")
            kept = {name: recovered[name] for name in ("completed_phases", "completed_subcalls", "in_progress_phase")}
            left.append((before, without_tokens(shown), kept, len(stub.calls())))
    assert left[0] == left[1]


def test_a_second_signal_ends_it_at_once(make_server: MakeServer, stub: ModelStub) -> None:
    server = make_server(SHUTDOWN_GRACE_SEC=600)
    server.start()
    stub.hold(after_tokens=5, from_call=3)
    with ResearchClient(server.url) as client:
        invocation = client.post("Bridges")["invocation_id"]
        stub.wait_for_calls(1, state="held")
        with SteadyReader(server, invocation) as reader:
            server.signal(signal.SIGTERM)
            wait_until_refused(client)
            server.signal(signal.SIGTERM)
            server.wait_for_exit(10)
            stub.release()
            server.start()
            reader.wait()
        reader.check(check_invocation(client, invocation))
    assert len(stub.calls()) == 7


def wait_until_refused(client: ResearchClient) -> list[httpx2.Response]:
    """What readiness and a POST answer, once the server drains."""
    deadline = time.monotonic() + 10
    while (ready := client.request("GET", "/readiness")).status_code == 200:
        assert time.monotonic() < deadline, "readiness stays 200 behind SIGTERM"
    return [ready, client.request("POST", "/invocations", json={"message": "Dams"})]


def stored(server: ServerProcess, columns: str) -> list[tuple[Any, ...]]:
    """Those columns of all invocations as a server that has ended left them, in their order."""
    return server.query(f"SELECT {columns} FROM invocations ORDER BY n")


def told(server: ServerProcess) -> list[Any]:
    """All events on the disk."""
    return [orjson.loads(row[0]) for row in server.query("SELECT data FROM events ORDER BY n, seq")]


def without_tokens(shown: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    return [event for event in shown if event[0] != "token"]
