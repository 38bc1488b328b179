"""Asking twice for the same turn makes one."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import httpx2
import pytest

from tests.acceptance.client import Json, ResearchClient
from tests.acceptance.server_process import ServerProcess
from tests.acceptance.transcript import check_invocation
from tests.openai_stub.process import ModelStub

KEY = {"idempotency-key": "the same order"}
NAME = {"x-agent-invocation-id": "my:turn.1"}


def post(client: ResearchClient, headers: dict[str, str], message: str = "Bridges") -> httpx2.Response:
    return client.request("POST", "/invocations", json={"message": message}, headers=headers)


def listed(client: ResearchClient) -> list[Json]:
    records: list[Json] = client.request("GET", "/invocations").json()["invocations"]
    return records


@pytest.mark.parametrize("restarted", [False, True])
def test_a_key_answers_the_first_one_s_invocation(
    server: ServerProcess, client: ResearchClient, stub: ModelStub, restarted: bool
) -> None:
    first = post(client, KEY)
    whole = check_invocation(client, first.json()["invocation_id"])
    if restarted:
        server.restart()
    again = post(client, KEY, "something else")
    assert (first.status_code, again.status_code) == (202, 202)
    for name in ("invocation_id", "thread_id", "session_id"):
        assert again.json()[name] == first.json()[name]
    assert again.headers["x-agent-invocation-id"] == first.json()["invocation_id"]
    assert [record["topic"] for record in listed(client)] == ["Bridges"]
    assert client.read_stream(first.json()["invocation_id"]).last_id == whole.last_id
    assert len(stub.calls()) == 6


@pytest.mark.parametrize("restarted", [False, True])
def test_a_name_answers_the_record(
    server: ServerProcess, client: ResearchClient, stub: ModelStub, restarted: bool
) -> None:
    first = post(client, NAME)
    assert first.status_code == 202
    assert first.json()["invocation_id"] == "my:turn.1"
    check_invocation(client, "my:turn.1")
    if restarted:
        server.restart()
    again = post(client, NAME, "something else")
    assert again.status_code == 200
    record = client.record("my:turn.1")
    answered = again.json()
    shared = set(record) & set(answered) - {"output"}
    assert {"invocation_id", "thread_id", "status", "topic", "created_at", "ended_at", "usage"} <= shared
    assert {name: answered[name] for name in shared} == {name: record[name] for name in shared}
    assert (record["status"], record["topic"]) == ("completed", "Bridges")
    assert len(listed(client)) == 1
    assert len(stub.calls()) == 6


@pytest.mark.parametrize("headers", [KEY, NAME], ids=["key", "name"])
def test_twenty_at_once_make_one(client: ResearchClient, stub: ModelStub, headers: dict[str, str]) -> None:
    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda _: post(client, headers), range(20)))
    assert {answer.status_code for answer in answers} <= {200, 202}
    assert len({answer.json()["invocation_id"] for answer in answers}) == 1
    assert len({answer.json()["thread_id"] for answer in answers}) == 1
    check_invocation(client, answers[0].json()["invocation_id"])
    assert len(listed(client)) == 1
    assert len(stub.calls()) == 6


def test_a_repeated_steer_steers_once(client: ResearchClient, stub: ModelStub) -> None:
    stub.hold(after_tokens=5, from_call=2)
    client.post("Bridges", thread_id="t")
    stub.wait_for_calls(1, state="held")
    steers = [client.post("Dams", thread_id="t", headers=KEY)["invocation_id"] for _ in range(3)]
    stub.release()
    assert len(set(steers)) == 1
    check_invocation(client, steers[0])
    first, second = reversed(listed(client))
    assert (first["status"], second["status"]) == ("superseded", "completed")
    frames = check_invocation(client, first["invocation_id"])
    assert sum('"type":"steering"' in (frame.data or "") for frame in frames) == 1


def test_a_stream_asked_for_twice_is_one_turn(client: ResearchClient, stub: ModelStub) -> None:
    wanted = {"accept": "text/event-stream"}
    texts = [post(client, headers | wanted).text for headers in (KEY, KEY)]
    assert [text.count("event: done") for text in texts] == [1, 1]
    assert texts[0] == texts[1] or texts[0].replace(": keep-alive\n", "") == texts[1].replace(": keep-alive\n", "")
    assert len(stub.calls()) == 6


@pytest.mark.parametrize(
    ("headers", "status"),
    [({"idempotency-key": "k" * 256}, 422), ({"x-agent-invocation-id": "no blanks"}, 422), ({}, 202)],
)
def test_a_bad_key_changes_nothing(client: ResearchClient, headers: dict[str, str], status: int) -> None:
    assert post(client, headers).status_code == status
    assert len(listed(client)) == (status == 202)


def test_different_keys_are_different_turns(client: ResearchClient) -> None:
    made = {post(client, {"idempotency-key": f"k{number}"}).json()["invocation_id"] for number in range(3)}
    assert len(made) == 3
