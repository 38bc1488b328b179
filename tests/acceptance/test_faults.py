"""The process dies at each of the places where a write stands half done; nobody notices afterwards."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx2
import pytest
from _pytest.mark import ParameterSet

from graph.faults import POINTS
from tests.acceptance.claim_points import around_claim
from tests.acceptance.client import ResearchClient
from tests.acceptance.server_process import ServerProcess
from tests.acceptance.steady_reader import SteadyReader
from tests.acceptance.transcript import check_invocation, events, model_calls_repeated, subcall_texts
from tests.acceptance.waiting import wait_until
from tests.openai_stub.process import ModelStub

MakeServer = Callable[..., ServerProcess]

DIED = 137
CALLS = 6  # of a small run: three phases of two
# The third one on SQLite finds no turn.
ONE_TURN = [
    *around_claim(2, 1),
    *around_claim(3, None),
    "token.first",
    "token.first:3",
    "token.middle",
    "token.middle:30",
    *(f"result.before:{count}" for count in (2, 4, 5)),
    *(f"result.after:{count}" for count in (2, 4, 5)),
    *(f"checkpoint.before:{count}" for count in (1, 2, 5)),
    *(f"checkpoint.after:{count}" for count in (1, 2, 5)),
    *(f"events.before:{count}" for count in (1, 2, 5)),
    *(f"events.after:{count}" for count in (1, 2, 5)),
    "terminal.before",
    "terminal.after",
    "handover",
]
ACCEPT = ["accept.before", "accept.after"]
TWO_TURNS = ["terminal.before", "terminal.after", "handover", *around_claim(5, 2)]
ROLLBACK = ["rollback.before", "rollback.after"]
RETENTION = ["retention.before:1", "retention.after:1", "retention.before:2", "retention.after:2"]


def test_every_point_is_tried() -> None:
    all_of_them = (*ONE_TURN, *ACCEPT, *TWO_TURNS, *ROLLBACK, *RETENTION)
    points = [point.values[0] if isinstance(point, ParameterSet) else point for point in all_of_them]
    tried = {str(point).partition(":")[0] for point in points}
    assert tried == set(POINTS)


def outcome(client: ResearchClient, invocation_id: str) -> dict[str, Any]:
    """What a turn came to, without what differs between two equal turns."""
    record, frames = client.record(invocation_id), client.read_stream(invocation_id)
    kept = {name: record[name] for name in ("status", "phases_completed", "total_phases", "usage", "error", "topic")}
    return kept | {"texts": subcall_texts(frames), "report": bool(client.report(invocation_id).strip())}


def revive(server: ServerProcess) -> None:
    """Start a server that died of its fault again, without it."""
    assert server.wait_for_exit() == DIED
    server.set_env(FAULT_POINT=None)
    server.start()


@pytest.mark.parametrize("point", ONE_TURN)
def test_a_turn_survives_a_death(make_server: MakeServer, stub: ModelStub, point: str) -> None:
    server = make_server(FAULT_POINT=point)
    server.start()
    with ResearchClient(server.url) as client:
        invocation = client.post("Bridges")["invocation_id"]
        with SteadyReader(server, invocation) as reader:
            revive(server)
            reader.wait()
        whole = check_invocation(client, invocation)
        reader.check(whole)
        repeated = 0 if point.startswith("result.after") else 1
        assert model_calls_repeated(whole) <= repeated
        assert CALLS <= len(stub.calls()) <= CALLS + repeated
        undisturbed = client.post("Bridges")["invocation_id"]
        assert client.read_stream(undisturbed).closed == "done"
        assert outcome(client, invocation) == outcome(client, undisturbed)


@pytest.mark.parametrize("point", ACCEPT)
def test_a_turn_whose_202_got_lost_can_be_asked_for_again(make_server: MakeServer, stub: ModelStub, point: str) -> None:
    server = make_server(FAULT_POINT=point)
    server.start()
    name = {"x-agent-invocation-id": "mine"}
    with ResearchClient(server.url) as client:
        with pytest.raises(httpx2.TransportError):
            client.post("Bridges", headers=name)
        revive(server)
        answer = client.request("POST", "/invocations", json={"message": "Bridges"}, headers=name)
        assert answer.status_code == (202 if point == "accept.before" else 200)
        check_invocation(client, "mine")
        listed = client.request("GET", "/invocations").json()["invocations"]
        assert [record["invocation_id"] for record in listed] == ["mine"]
    assert len(stub.calls()) == CALLS


@pytest.mark.parametrize("point", TWO_TURNS)
def test_the_next_turn_starts_by_itself(make_server: MakeServer, stub: ModelStub, point: str) -> None:
    server = make_server(FAULT_POINT=point, NUM_PHASES=1)
    server.start()
    stub.hold(after_tokens=3, from_call=2)
    with ResearchClient(server.url) as client:
        first = client.post("Bridges", thread_id="t")["invocation_id"]
        stub.wait_for_calls(2)
        second = client.post("Dams", thread_id="t", multitask_strategy="enqueue")["invocation_id"]
        assert client.record(second)["status"] == "queued"
        with SteadyReader(server, first) as reader, SteadyReader(server, second) as waiting:
            stub.release()
            revive(server)
            reader.wait()
            waiting.wait()
        for each in (reader, waiting):
            whole = check_invocation(client, each.invocation_id)
            each.check(whole)
            assert model_calls_repeated(whole) <= 1
        records = [client.record(invocation) for invocation in (first, second)]
    assert [record["status"] for record in records] == ["completed", "completed"]
    assert records[0]["ended_at"] <= records[1]["started_at"]
    assert 4 <= len(stub.calls()) <= 5


@pytest.mark.parametrize("before", [0, 1], ids=["new thread", "old thread"])
@pytest.mark.parametrize("point", ROLLBACK)
def test_a_rollback_is_whole_or_done_again(make_server: MakeServer, stub: ModelStub, point: str, before: int) -> None:
    server = make_server(FAULT_POINT=point)
    server.start()
    with ResearchClient(server.url) as client:
        for _ in range(before):
            client.read_stream(client.post("Locks", thread_id="t")["invocation_id"])
        made = len(stub.calls())
        stub.hold(after_tokens=3, from_call=made + 4)
        broken = client.post("Bridges", thread_id="t")["invocation_id"]
        stub.wait_for_calls(made + 4)
        rolled = client.post("Dams", thread_id="t", multitask_strategy="rollback")["invocation_id"]
        with SteadyReader(server, rolled) as reader:
            revive(server)
            stub.release()
            reader.wait()
        reader.check(check_invocation(client, rolled))
        assert client.record(broken)["status"] == "superseded"
        check_invocation(client, broken)
        history = client.request("GET", "/threads/t/history", params={"limit": 200}).json()["checkpoints"]
        thread = client.request("GET", "/threads/t").json()
        # The line of checkpoints that the thread's present state stands on.
        parents = {entry["checkpoint_id"]: entry for entry in history}
        line, entry = set(), parents.get(history[0]["checkpoint_id"])
        while entry:
            line.add(entry["invocation_id"])
            entry = parents.get(entry["parent_checkpoint_id"])
    assert broken not in line
    assert (thread["status"], thread["completed_phases"], thread["topic"]) == ("idle", 3, "Dams")
    assert len(stub.calls()) == made + 4 + CALLS


@pytest.mark.parametrize("point", RETENTION)
def test_a_removal_that_was_broken_off_goes_on(make_server: MakeServer, point: str) -> None:
    server = make_server()
    server.start()
    with ResearchClient(server.url) as client:
        invocation = client.post("Bridges")["invocation_id"]
        client.read_stream(invocation)
        report = client.report(invocation)
        server.kill()
        server.set_env(FAULT_POINT=point, EVENT_TTL_SEC="0.01")
        server.spawn()
        revive(server)
        wait_until(lambda: events_on_disk(server) == 0)
        answer = client.request("GET", f"/invocations/{invocation}", headers={"accept": "text/event-stream"})
        assert answer.status_code == 410
        assert client.record(invocation)["status"] == "completed"
        assert client.report(invocation) == report


def events_on_disk(server: ServerProcess) -> int:
    return int(server.query("SELECT count(*) FROM events")[0][0])


def test_a_result_that_is_held_is_not_asked_for_again(make_server: MakeServer, stub: ModelStub) -> None:
    server = make_server(FAULT_POINT="result.after:4")
    server.start()
    with ResearchClient(server.url) as client:
        invocation = client.post("Bridges")["invocation_id"]
        assert server.wait_for_exit() == DIED
        assert len(stub.calls()) == 1, "the fourth result is that of the first model call"
        server.set_env(FAULT_POINT=None)
        server.start()
        whole = check_invocation(client, invocation)
    assert len(stub.calls()) == CALLS
    assert model_calls_repeated(whole) == 0
    recovered = next(event for event in events(whole) if event["type"] == "recovered")
    assert recovered["completed_subcalls"] == 0
