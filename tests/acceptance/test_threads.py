"""What a thread tells of itself: its turns, what waits, its progress, its interrupt, its checkpoints."""

from __future__ import annotations

from typing import cast

import pytest

from tests.acceptance.client import Json, ResearchClient, of_type
from tests.acceptance.server_process import ServerProcess
from tests.acceptance.transcript import check_invocation, events
from tests.openai_stub.process import ModelStub

TINY = {"phases": 1, "calls_per_phase": 1}


def thread(client: ResearchClient) -> Json:
    answer = client.request("GET", "/threads/t")
    assert answer.status_code == 200, answer.text
    return cast(Json, answer.json())


def history(client: ResearchClient, **params: str | int) -> Json:
    answer = client.request("GET", "/threads/t/history", params=params)
    assert answer.status_code == 200, answer.text
    return cast(Json, answer.json())


def test_a_busy_thread_shows_what_runs_and_what_waits(client: ResearchClient, stub: ModelStub) -> None:
    stub.hold(after_tokens=5, from_call=4)
    running = client.post("Bridges", thread_id="t")["invocation_id"]
    stub.wait_for_calls(1, state="held")
    queued = [
        client.post(topic, thread_id="t", multitask_strategy="enqueue", config=TINY)["invocation_id"]
        for topic in ("Dams", "Roads")
    ]
    steering = client.post("Rails", thread_id="t", config=TINY)["invocation_id"]
    shown = thread(client)
    assert (shown["thread_id"], shown["status"], shown["topic"]) == ("t", "busy", "Bridges")
    assert sorted(shown["waiting"]) == sorted([*queued, steering])
    assert [turn["invocation_id"] for turn in shown["invocations"]] == [steering, *reversed(queued), running]
    assert [turn["status"] for turn in shown["invocations"]] == ["queued"] * 3 + ["running"]
    progress = [shown[name] for name in ("completed_phases", "total_phases", "completed_subcalls", "in_progress_phase")]
    assert progress == [1, 3, 3, 2]
    assert shown["interrupts"] == []
    stub.release()
    for invocation in (running, steering, *queued):
        check_invocation(client, invocation)
    shown = thread(client)
    assert (shown["status"], shown["topic"], shown["waiting"]) == ("idle", "Roads", [])
    assert (shown["completed_phases"], shown["total_phases"], shown["in_progress_phase"]) == (1, 1, None)
    assert [turn["topic"] for turn in shown["invocations"]] == ["Rails", "Roads", "Dams", "Bridges"]


@pytest.mark.parametrize("stage", ["intra_phase", "inter_phase"])
def test_a_cooldown_is_an_interrupt(server: ServerProcess, client: ResearchClient, stage: str) -> None:
    config = {"phases": 2, f"{stage}_cooldown_sec": 600}
    invocation = client.post("Bridges", thread_id="t", config=config)["invocation_id"]
    frames = client.read_stream(invocation, until=of_type("cooldown"))
    told = events(frames)[-1]
    for _ in range(2):
        (interrupt,) = thread(client)["interrupts"]
        assert interrupt["id"]
        assert (interrupt["value"]["kind"], interrupt["value"]["stage"]) == ("cooldown", told["stage"])
        assert interrupt["value"]["duration_sec"] == told["duration_sec"]
        schema = interrupt["response_schema"]
        assert schema["type"] == "object"
        assert {"action", "message", "steering", "cause"} <= schema["properties"].keys()
        server.restart()  # it is on disk, and still pending
        client.read_stream(invocation, frames.last_id, until=of_type("recovered"))
    client.cancel(invocation, mode="now")
    check_invocation(client, invocation)


def test_the_history_is_newest_first_in_pages(client: ResearchClient) -> None:
    turns = []
    for topic, config in (("Bridges", {"phases": 2}), ("Dams", TINY)):
        turns.append(client.post(topic, thread_id="t", config=config)["invocation_id"])
        check_invocation(client, turns[-1])
    whole = history(client)
    checkpoints, parents = whole["checkpoints"], [c["parent_checkpoint_id"] for c in whole["checkpoints"]]
    assert whole["next_cursor"] is None
    ids = [checkpoint["checkpoint_id"] for checkpoint in checkpoints]
    assert len(set(ids)) == len(ids)
    assert parents == [*ids[1:], None]
    times = [checkpoint["created_at"] for checkpoint in checkpoints]
    assert times == sorted(times, reverse=True)
    owners = [checkpoint["invocation_id"] for checkpoint in checkpoints]
    assert list(dict.fromkeys(owners)) == turns[::-1]
    assert (checkpoints[0]["completed_phases"], checkpoints[0]["next"]) == (1, [])

    pages: list[Json] = []
    cursor: str | None = None
    while cursor is not None or not pages:
        page = history(client, limit=4, **({"before": cursor} if cursor else {}))
        assert 1 <= len(page["checkpoints"]) <= 4
        pages += page["checkpoints"]
        cursor = page["next_cursor"]
    assert pages == checkpoints


def test_the_checkpoints_of_the_events_are_in_the_history(client: ResearchClient) -> None:
    frames = check_invocation(client, client.post("Bridges", thread_id="t")["invocation_id"])
    told = [event["checkpoint_id"] for event in events(frames) if event["type"] == "subcall_end"]
    by_id = {checkpoint["checkpoint_id"]: checkpoint for checkpoint in history(client)["checkpoints"]}
    assert [by_id[checkpoint_id]["completed_subcalls"] for checkpoint_id in told] == [1, 2, 3, 4, 5, 6]


def test_what_is_unknown_or_badly_named(client: ResearchClient) -> None:
    check_invocation(client, client.post("Bridges", thread_id="t", config=TINY)["invocation_id"])
    for path in ("/threads/nobody", "/threads/nobody/history"):
        answer = client.request("GET", path)
        assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")
    for name in ("a%20b", "x" * 129, "%C3%A4", "a%00", "a;b"):
        for path in (f"/threads/{name}", f"/threads/{name}/history"):
            answer = client.request("GET", path)
            assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json"), path
    for params in ({"limit": 0}, {"limit": 201}, {"limit": "x"}, {"before": "a b"}):
        assert client.request("GET", "/threads/t/history", params=params).status_code == 422, params
    wrong: list[object] = ["a b", "x" * 129, "", "ä", 7]
    for thread_id in wrong:
        answer = client.request("POST", "/invocations", json={"message": "Dams", "thread_id": thread_id})
        assert answer.status_code == 422, thread_id
    assert len(client.request("GET", "/invocations").json()["invocations"]) == 1
