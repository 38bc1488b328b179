"""What ends a turn by itself: its time and its budget of tokens."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime

import pytest

from tests.acceptance.client import Frames, ResearchClient, of_type
from tests.acceptance.server_process import ServerProcess
from tests.acceptance.transcript import check_invocation, events
from tests.openai_stub.process import ModelStub

MakeServer = Callable[..., ServerProcess]
BUDGET = 12_000


def wound_down(client: ResearchClient, invocation: str, cause: str) -> Frames:
    frames = check_invocation(client, invocation)
    last = events(frames)[-1]
    assert (last["type"], last["cause"]) == ("winding_down", cause)
    assert client.record(invocation)["status"] == "timed_out"
    return frames


def seconds_taken(client: ResearchClient, invocation: str) -> float:
    record = client.record(invocation)
    began, ended = (datetime.fromisoformat(record[name]).timestamp() for name in ("started_at", "ended_at"))
    return ended - began


def total(client: ResearchClient, invocation: str) -> int:
    usage = client.record(invocation)["usage"]
    return int(usage["input_tokens"] + usage["output_tokens"])


def closings(stub: ModelStub) -> list[int]:
    return [call.number for call in stub.calls() if '<task role="closing"' in call.asked]


def test_a_turn_has_a_time_limit(client: ResearchClient, stub: ModelStub) -> None:
    stub.hold(after_tokens=5, from_call=3)
    invocation = client.post("Bridges", config={"run_timeout_sec": 2})["invocation_id"]
    stub.wait_for_calls(1, state="held")
    frames = wound_down(client, invocation, "timeout")  # the model is never released
    assert events(frames)[-1]["completed_phases"] == 1
    assert seconds_taken(client, invocation) >= 2
    stub.wait_for_calls(1, state="disconnected")
    assert "**This report is partial:** the run reached its time limit" in client.report(invocation)


def test_a_time_limit_ends_a_cooldown(client: ResearchClient) -> None:
    config = {"run_timeout_sec": 1, "inter_phase_cooldown_sec": 600}
    invocation = client.post("Bridges", config=config)["invocation_id"]
    wound_down(client, invocation, "timeout")
    assert "partial" in client.report(invocation)


def test_time_in_the_queue_does_not_count(make_server: MakeServer, stub: ModelStub) -> None:
    server = make_server(RUN_TIMEOUT_SEC=1, MAX_CONCURRENT_RUNS=1)
    server.start()
    stub.hold(after_tokens=1)
    with ResearchClient(server.url) as client:
        first = client.post("Bridges", config={"run_timeout_sec": 3})["invocation_id"]
        second = client.post("Dams")["invocation_id"]
        wound_down(client, first, "timeout")
        assert seconds_taken(client, first) >= 3  # the turn's own limit goes before the server's
        wound_down(client, second, "timeout")
        assert 1 <= seconds_taken(client, second) < 3
        assert [client.request("GET", f"/invocations/{i}/report").status_code for i in (first, second)] == [404, 404]


def test_a_time_limit_counts_the_time_the_server_was_down(make_server: MakeServer, stub: ModelStub) -> None:
    server = make_server(RUN_TIMEOUT_SEC=3)
    server.start()
    stub.hold(after_tokens=5, from_call=2)
    with ResearchClient(server.url) as client:
        invocation = client.post("Bridges")["invocation_id"]
        stub.wait_for_calls(1, state="held")
        client.read_stream(invocation, until=of_type("subcall_end"))
        began = datetime.fromisoformat(client.record(invocation)["started_at"]).timestamp()
        server.kill()
        deadline = time.monotonic() + 10
        while time.time() < began + 3 and time.monotonic() < deadline:
            time.sleep(0.05)
        server.set_env(RUN_TIMEOUT_SEC="600")
        server.start()
        frames = wound_down(client, invocation, "timeout")
        assert [event["type"] for event in events(frames)[-3:]] == ["run_start", "recovered", "winding_down"]
        assert "partial" in client.report(invocation)
    assert len(stub.calls()) == 2


def test_a_time_limit_goes_on_behind_a_kill(make_server: MakeServer, stub: ModelStub) -> None:
    server = make_server(RUN_TIMEOUT_SEC=4)
    server.start()
    stub.hold(after_tokens=5, from_call=2)
    with ResearchClient(server.url) as client:
        invocation = client.post("Bridges")["invocation_id"]
        stub.wait_for_calls(1, state="held")
        server.restart()
        wound_down(client, invocation, "timeout")
        # Had it begun anew with the process, it would end `RUN_TIMEOUT_SEC` behind the recovery or later.
        frames = client.read_stream(invocation)
        recovered = next(event for event in events(frames) if event["type"] == "recovered")
        assert events(frames)[-1]["server_uptime_sec"] - recovered["server_uptime_sec"] < 4


@pytest.mark.parametrize("of", ["server", "turn"])
def test_a_budget_is_kept_and_closed_with_a_synthesis(make_server: MakeServer, stub: ModelStub, of: str) -> None:
    server = make_server(TOKEN_BUDGET=BUDGET if of == "server" else 100)
    server.start()
    own = {"token_budget": BUDGET} if of == "turn" else {}
    config = {"phases": 15, "calls_per_phase": 4, "target_output_tokens": 64, **own}
    with ResearchClient(server.url) as client:
        invocation = client.post("Bridges", config=config)["invocation_id"]
        frames = wound_down(client, invocation, "budget")
        told = [event["usage"] for event in events(frames) if event["type"] == "subcall_end"]
        assert 0 < len(told) < 60
        assert total(client, invocation) <= BUDGET
        # The synthesis comes last, costs what was kept back, and is part of what the turn cost.
        calls = stub.calls()
        assert closings(stub) == [calls[-1].number] == [len(told) + 1]
        assert total(client, invocation) > sum(usage["input_tokens"] + usage["output_tokens"] for usage in told)
        report = client.report(invocation)
        assert "**This report is partial:** the run reached its token budget" in report
        assert f"p{calls[-1].prompt[:12]}" in report.split("## Summary")[1].split("\n## ")[0]


def test_a_budget_too_small_for_a_synthesis_does_without(client: ResearchClient, stub: ModelStub) -> None:
    invocation = client.post("Bridges", config={"token_budget": 1_000})["invocation_id"]
    wound_down(client, invocation, "budget")
    assert closings(stub) == []
    assert "partial" in client.report(invocation)


def test_a_budget_counts_over_a_kill(make_server: MakeServer, stub: ModelStub) -> None:
    server = make_server(TOKEN_BUDGET=BUDGET)
    server.start()
    stub.hold(after_tokens=5, from_call=3)
    with ResearchClient(server.url) as client:
        invocation = client.post("Bridges", config={"phases": 15})["invocation_id"]
        stub.wait_for_calls(1, state="held")
        server.kill()
        stub.release()
        server.set_env(TOKEN_BUDGET="1000000")
        server.start()
        wound_down(client, invocation, "budget")
        assert total(client, invocation) <= BUDGET


def test_a_turn_within_its_limits_is_whole(client: ResearchClient, stub: ModelStub) -> None:
    config = {"phases": 1, "token_budget": 1_000_000, "run_timeout_sec": 600}
    invocation = client.post("Bridges", config=config)["invocation_id"]
    assert events(check_invocation(client, invocation))[-1]["type"] == "run_complete"
    assert "partial" not in client.report(invocation)
    assert closings(stub) == []
