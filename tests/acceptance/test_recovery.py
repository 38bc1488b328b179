"""kill -9 in the places where a run spends its time, and what every reader sees afterwards."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.acceptance.client import ResearchClient, of_type
from tests.acceptance.server_process import ServerProcess
from tests.acceptance.transcript import check_invocation, check_same, events, model_calls_repeated
from tests.openai_stub.process import ModelStub

MakeServer = Callable[..., ServerProcess]


def test_killed_in_the_middle_of_a_model_call(server: ServerProcess, client: ResearchClient, stub: ModelStub) -> None:
    stub.hold(after_tokens=5, from_call=3)
    invocation = client.post("Bridges")["invocation_id"]
    stub.wait_for_calls(3)
    before = client.read_stream(invocation, until=of_type("token", phase=2))
    server.kill()
    stub.release()
    server.start()
    after = check_invocation(client, invocation)
    check_same(before, after)
    assert model_calls_repeated(after) == 1
    assert len(stub.calls()) == 7
    modes = [event["entry_mode"] for event in events(after) if event["type"] == "run_start"]
    assert modes == ["fresh", "recovered"]


def test_a_cooldown_waits_only_its_rest(make_server: MakeServer, stub: ModelStub) -> None:
    server = make_server(INTER_PHASE_COOLDOWN_SEC=3, NUM_PHASES=2, CALLS_PER_PHASE=1)
    server.start()
    with ResearchClient(server.url) as client:
        invocation = client.post("Bridges")["invocation_id"]
        client.read_stream(invocation, until=of_type("cooldown"))
        server.restart()
        frames = check_invocation(client, invocation)
    (pause,) = [event for event in events(frames) if event["type"] == "cooldown"]
    second = [event for event in events(frames) if event["type"] == "phase_start"][1]
    assert pause["resume_at"] <= second["server_time_utc"]
    # The rest alone: had it begun anew, it would end `duration_sec` behind the recovery or later.
    recovered = next(event for event in events(frames) if event["type"] == "recovered")
    assert second["server_uptime_sec"] - recovered["server_uptime_sec"] < pause["duration_sec"]
    assert len(stub.calls()) == 2


def test_killed_between_two_turns(make_server: MakeServer, stub: ModelStub) -> None:
    server = make_server(MAX_CONCURRENT_RUNS=1)
    server.start()
    stub.hold(after_tokens=1)
    with ResearchClient(server.url) as client:
        waiting = [client.post(f"topic {number}")["invocation_id"] for number in range(3)]
        stub.wait_for_calls(1)
        server.kill()
        stub.release()
        server.start()
        for invocation in waiting:
            check_invocation(client, invocation)


def test_an_accepted_turn_survives_a_kill_at_once(server: ServerProcess, client: ResearchClient) -> None:
    invocation = client.post("Bridges")["invocation_id"]
    server.restart()
    check_invocation(client, invocation)


@pytest.mark.parametrize("kills", [4])
def test_killed_again_and_again(server: ServerProcess, client: ResearchClient, stub: ModelStub, kills: int) -> None:
    stub.control(delay_ms=5)
    invocation = client.post("Bridges")["invocation_id"]
    seen = 0
    for _ in range(kills):
        frames = client.read_stream(invocation, seen, until=of_type("subcall_end"))
        if frames.closed == "done":
            break
        seen = frames.last_id
        server.restart()
    whole = check_invocation(client, invocation)
    assert model_calls_repeated(whole) <= kills


def test_the_first_new_event_comes_soon(server: ServerProcess, client: ResearchClient, stub: ModelStub) -> None:
    stub.hold(after_tokens=3)
    invocation = client.post("Bridges")["invocation_id"]
    frames = client.read_stream(invocation, until=of_type("token"))
    server.restart()
    new = client.read_stream(invocation, frames.last_id, until=lambda frame: frame.id is not None)
    first = events(new)[-1]
    # Counted in the process's own time; how long the machine takes to start one is in benchmarks/.
    assert (first["type"], first["entry_mode"]) == ("run_start", "recovered")
