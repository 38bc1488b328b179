"""kill -9 around steers, rollbacks and waiting turns: nothing is lost, nothing runs twice, one turn at a time."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import httpx2
import pytest

from tests.acceptance.claim_points import around_claim
from tests.acceptance.client import Frames, Json, ResearchClient, of_type
from tests.acceptance.server_process import ServerProcess
from tests.acceptance.transcript import check_invocation, check_same, events, model_calls_repeated
from tests.openai_stub import Call
from tests.openai_stub.process import ModelStub

MakeServer = Callable[..., ServerProcess]

TINY = {"phases": 1, "calls_per_phase": 1}
# A held turn makes its seventh checkpoint before its third call, and claims come at the start and behind each POST.
AROUND_A_STEER = [
    "accept.before:2",
    "accept.after:2",
    "checkpoint.before:8",
    "checkpoint.after:8",
    "result.after:8",
    "terminal.before",
    "terminal.after",
    "handover",
    *around_claim(5, 2),
]
AROUND_A_ROLLBACK = [
    "accept.before:2",
    "accept.after:2",
    "terminal.before",
    "terminal.after",
    "handover",
    *around_claim(5, 2, sides=("after",)),
    "rollback.before",
    "rollback.after",
    "checkpoint.after:8",
]
CLIENTS, POSTS, KILLS = 20, 3, 4


def about(calls: Sequence[Call], topic: str) -> list[Call]:
    return [call for call in calls if f"<topic>{topic}</topic>" in call.asked]


def all_of(frames: Frames, kind: str) -> list[Json]:
    return [event for event in events(frames) if event["type"] == kind]


def held(client: ResearchClient, stub: ModelStub, *, call: int = 3, **body: Any) -> str:
    """A turn on thread `t` in the middle of the stub's model call number `call`."""
    stub.hold(after_tokens=5, from_call=call)
    invocation = str(client.post("Bridges", thread_id="t", **body)["invocation_id"])
    stub.wait_for_calls(1, state="held")
    return invocation


def restarted_behind_its_fault(server: ServerProcess) -> None:
    assert server.wait_for_exit() == 137
    server.set_env(FAULT_POINT=None)
    server.start()


def steered(server: ServerProcess, client: ResearchClient, stub: ModelStub, strategy: str) -> tuple[str, str]:
    """A turn and the one that steered it, on a server that dies at its fault point, with the steer's POST or later."""
    old = held(client, stub)
    again = {"idempotency-key": "steer"}
    died = False
    try:
        accepted = client.post("Dams", headers=again, thread_id="t", multitask_strategy=strategy, config=TINY)
    except httpx2.TransportError:
        died = True
        restarted_behind_its_fault(server)
        accepted = client.post("Dams", headers=again, thread_id="t", multitask_strategy=strategy, config=TINY)
    stub.release()
    if not died:
        restarted_behind_its_fault(server)
    return old, str(accepted["invocation_id"])


def check_steered(client: ResearchClient, old: str, new: str) -> tuple[Frames, Frames]:
    ended, followed = check_invocation(client, old), check_invocation(client, new)
    assert [event["invocation_id"] for event in all_of(ended, "steering")] == [new]
    assert events(ended)[-1]["cause"] == "steering"
    record = client.record(old)
    assert (record["status"], record["superseded_by"]) == ("superseded", new)
    assert events(followed)[-1]["type"] == "run_complete"
    assert events(followed)[0]["entry_mode"] == "resumed"
    assert record["ended_at"] <= client.record(new)["started_at"]
    listed = client.request("GET", "/invocations", params={"thread_id": "t"}).json()["invocations"]
    assert [turn["invocation_id"] for turn in listed] == [new, old]
    return ended, followed


@pytest.mark.parametrize("point", AROUND_A_STEER)
def test_killed_around_a_steer(make_server: MakeServer, stub: ModelStub, point: str) -> None:
    server = make_server(FAULT_POINT=point)
    server.start()
    with ResearchClient(server.url) as client:
        old, new = steered(server, client, stub, "interrupt")
        ended, followed = check_steered(client, old, new)
        assert events(ended)[-1]["completed_phases"] == 1
        assert "partial" in client.report(old)
    assert model_calls_repeated(ended) + model_calls_repeated(followed) <= 1
    calls = stub.calls()
    assert 3 <= len(about(calls, "Bridges")) <= 4
    assert 1 <= len(about(calls, "Dams")) <= 2
    assert len(calls) <= 5


@pytest.mark.parametrize("point", AROUND_A_ROLLBACK)
def test_killed_around_a_rollback(make_server: MakeServer, stub: ModelStub, point: str) -> None:
    server = make_server(FAULT_POINT=point)
    server.start()
    with ResearchClient(server.url) as client:
        old, new = steered(server, client, stub, "rollback")
        check_steered(client, old, new)
        thread = client.request("GET", "/threads/t").json()
        assert (thread["completed_phases"], thread["completed_subcalls"]) == (1, 1)
    assert all("Bridges" not in call.asked for call in about(stub.calls(), "Dams"))


@pytest.mark.parametrize("strategy", ["interrupt", "enqueue", "rollback"])
def test_killed_between_the_answer_and_the_next_turn(
    server: ServerProcess, client: ResearchClient, stub: ModelStub, strategy: str
) -> None:
    old = held(client, stub)
    before = client.read_stream(old, until=lambda f: of_type("subcall_start")(f) and '"phase":2,' in (f.data or ""))
    new = client.post("Dams", thread_id="t", multitask_strategy=strategy, config=TINY)["invocation_id"]
    server.kill()
    stub.release()
    server.start()
    ended, followed = check_invocation(client, old), check_invocation(client, new)
    check_same(before, ended)
    status = "completed" if strategy == "enqueue" else "superseded"
    assert (client.record(old)["status"], client.record(new)["status"]) == (status, "completed")
    assert len(all_of(ended, "steering")) == (strategy != "enqueue")
    assert model_calls_repeated(followed) == 0
    assert len(about(stub.calls(), "Dams")) == 1


def test_killed_while_three_turns_wait(server: ServerProcess, client: ResearchClient, stub: ModelStub) -> None:
    topics = ["Dams", "Roads", "Rails"]
    running = held(client, stub, call=1, config=TINY)
    waiting = [
        client.post(topic, thread_id="t", multitask_strategy="enqueue", config=TINY)["invocation_id"]
        for topic in topics
    ]
    server.restart()
    assert client.request("GET", "/threads/t").json()["waiting"] == waiting
    for number in (2, 3):  # the running one again, then the next, each time in the middle of its call
        stub.wait_for_calls(number, state="held")
        stub.control(release=True, hold_after_tokens=5, hold_from_call=number + 1)
    stub.wait_for_calls(4, state="held")
    server.kill()
    stub.release()
    server.start()
    turns = [check_invocation(client, invocation) for invocation in (running, *waiting)]
    assert [events(turn)[-1]["type"] for turn in turns] == ["run_complete"] * 4
    records = [client.record(invocation) for invocation in (running, *waiting)]
    assert all(a["ended_at"] <= b["started_at"] for a, b in itertools.pairwise(records))
    assert [len(about(stub.calls(), topic)) for topic in ("Bridges", *topics)] == [2, 1, 2, 1]


def test_killed_while_steers_replace_each_other(server: ServerProcess, client: ResearchClient, stub: ModelStub) -> None:
    running = held(client, stub, call=1, config=TINY | {"phases": 2})
    steers = []
    for topic in ("Dams", "Roads", "Rails"):
        steers.append(client.post(topic, thread_id="t", config=TINY)["invocation_id"])
        server.restart()
    stub.release()
    turns = [check_invocation(client, invocation) for invocation in (running, *steers)]
    statuses = [client.record(invocation)["status"] for invocation in (running, *steers)]
    assert statuses == ["superseded"] * 3 + ["completed"]
    assert [event["message"] for event in all_of(turns[0], "steering")] == ["Dams", "Roads", "Rails"]
    assert [len(events(turn)) for turn in turns[1:3]] == [1, 1]
    assert [len(about(stub.calls(), topic)) for topic in ("Dams", "Roads", "Rails")] == [0, 0, 1]


@dataclass
class Crowd:
    """Clients that post to one thread, each message until it has an answer; what the answers were."""

    url: str
    answers: dict[str, tuple[int, Json]] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def post_all(self, client_number: int) -> None:
        with ResearchClient(self.url) as client:
            for number in range(POSTS):
                kind = client_number + number
                message = f"{'guidance' if kind % 4 == 3 else 'new topic'} {client_number:02}.{number}"
                answer = self._post(client, message, kind)
                with self.lock:
                    self.answers[message] = answer
                if answer[0] == 202 and client_number % 2:  # half of them ask on only when they have been served
                    client.wait_for(answer[1]["invocation_id"], lambda record: record["ended_at"] is not None, 120)

    def _post(self, client: ResearchClient, message: str, kind: int) -> tuple[int, Json]:
        strategies = ("interrupt", "enqueue", "rollback", "interrupt", "reject", "enqueue")
        body = {
            "message": message,
            "thread_id": "t",
            "multitask_strategy": strategies[kind % 6],
            "steering": "guidance" if message.startswith("guidance") else "new_topic",
            "config": {"phases": 2, "calls_per_phase": 1} if kind % 2 else TINY,
        }
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            try:
                answer = client.request("POST", "/invocations", json=body, headers={"idempotency-key": message})
            except httpx2.TransportError:
                time.sleep(0.01)
                continue
            if answer.status_code != 503:
                return answer.status_code, answer.json()
        raise AssertionError(f"{message} got no answer")

    @property
    def accepted(self) -> dict[str, str]:
        """The invocations by their messages."""
        return {message: answer["invocation_id"] for message, (code, answer) in self.answers.items() if code == 202}


def kill_in_between(server: ServerProcess, crowd: Crowd) -> None:
    """Kills the server each time some more of the messages have their answers."""
    deadline = time.monotonic() + 120
    for kill in range(1, KILLS + 1):
        while len(crowd.answers) < CLIENTS * POSTS * kill // (KILLS + 1):
            assert time.monotonic() < deadline, server.log_tail()
            time.sleep(0.005)
        server.restart()


def test_twenty_clients_on_one_thread_of_a_server_that_is_killed(server: ServerProcess, stub: ModelStub) -> None:
    stub.control(delay_ms=1)
    crowd = Crowd(server.url)
    with ThreadPoolExecutor(CLIENTS) as clients:
        posting = [clients.submit(crowd.post_all, number) for number in range(CLIENTS)]
        kill_in_between(server, crowd)
        for post in posting:
            post.result()
    assert {code for code, _ in crowd.answers.values()} <= {202, 409, 429}
    accepted = crowd.accepted
    assert len(accepted) >= CLIENTS
    with ResearchClient(server.url) as client:
        listed = client.request("GET", "/invocations", params={"thread_id": "t", "limit": 200}).json()["invocations"]
        assert sorted(turn["invocation_id"] for turn in listed) == sorted(accepted.values())
        records = {
            message: client.wait_for(invocation, lambda record: record["ended_at"] is not None)
            for message, invocation in accepted.items()
        }
        streams = {message: check_invocation(client, invocation) for message, invocation in accepted.items()}
        assert client.request("GET", "/threads/t").json()["status"] == "idle"
    calls = stub.calls()
    check_one_at_a_time(list(records.values()), calls)
    for message, record in records.items():
        check_fate(message, record, streams[message], calls)


def check_one_at_a_time(records: list[Json], calls: Sequence[Call]) -> None:
    ran = sorted((record for record in records if record["started_at"]), key=lambda record: record["started_at"])
    assert all(a["ended_at"] <= b["started_at"] for a, b in itertools.pairwise(ran))
    whole = [call for call in calls if call.finished_at is not None]
    for call in whole:
        # When a call that was broken off ended is known to its server alone; when it began, to the stub.
        assert call.finished_at is not None
        inside = [o for o in calls if o is not call and call.started_at < o.started_at < call.finished_at]
        assert inside == []


def check_fate(message: str, record: Json, frames: Frames, calls: Sequence[Call]) -> None:
    """What came of one message: it ran, or was overtaken and left no trace, or was rolled back and left none behind."""
    mentioned = [call for call in calls if message in call.asked]
    assert record["status"] in ("completed", "superseded")
    if record["started_at"] is None:
        assert record["status"] == "superseded"
        assert mentioned == []
        assert [event["type"] for event in events(frames)] == ["winding_down"]
        return
    if record["status"] == "superseded":
        assert all_of(frames, "steering")
        assert record["superseded_by"]
    if record["status"] == "superseded" and "rollback" in [e["multitask_strategy"] for e in all_of(frames, "steering")]:
        of_its_own = about(calls, message) if message.startswith("new topic") else mentioned
        assert mentioned == of_its_own
