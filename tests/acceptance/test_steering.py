"""Messages to a busy thread: when they are taken, what they mean, and what happens to the turn they meet."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

import pytest

from tests.acceptance.client import Frame, Frames, Json, ResearchClient, of_type
from tests.acceptance.server_process import ServerProcess
from tests.acceptance.transcript import check_invocation, check_same, events, subcall_texts
from tests.openai_stub import Call
from tests.openai_stub.process import ModelStub

MakeServer = Callable[..., ServerProcess]

TINY = {"phases": 1, "calls_per_phase": 1}
GUIDANCE = "Weigh the costs of each choice"


def all_of(frames: Sequence[Frame], kind: str) -> list[Json]:
    return [event for event in events(frames) if event["type"] == kind]


def moment(event: Json) -> datetime:
    return datetime.fromisoformat(event["server_time_utc"])


def about(calls: Sequence[Call], topic: str) -> list[Call]:
    return [call for call in calls if f"<topic>{topic}</topic>" in call.asked]


def held(client: ResearchClient, stub: ModelStub, topic: str, *, call: int = 1, **body: Any) -> str:
    """A turn on thread `t` in the middle of the stub's model call number `call`."""
    stub.control(release=True, hold_after_tokens=5, hold_from_call=call)
    invocation = str(client.post(topic, thread_id="t", **body)["invocation_id"])
    calls = stub.wait_for_calls(call)
    assert len(calls) == call
    client.read_stream(invocation, until=lambda f: of_type("subcall_start")(f) and _last_call(f, calls[-1]))
    return invocation


def _last_call(frame: Frame, call: Call) -> bool:
    (event,) = events([frame])
    return f'<phase number="{event["phase"]}"' in call.asked and f'call="{event["index"]}"' in call.asked


def steer(client: ResearchClient, message: str, **body: Any) -> str:
    return str(client.post(message, thread_id="t", **body)["invocation_id"])


def waited_out(client: ResearchClient, *invocations: str) -> list[Json]:
    return [client.wait_for(invocation, lambda record: record["ended_at"] is not None) for invocation in invocations]


def test_a_steer_is_taken_at_the_next_subcall(client: ResearchClient, stub: ModelStub) -> None:
    old = held(client, stub, "Bridges", call=3)
    accepted = client.post("Dams", thread_id="t")
    assert accepted["status"] == "queued"
    client.read_stream(old, until=of_type("steering"))  # told before the subcall is over
    assert client.record(old)["status"] == "running"
    stub.release()
    ended, new = check_invocation(client, old), check_invocation(client, accepted["invocation_id"])

    (told,), last = all_of(ended, "steering"), events(ended)[-1]
    assert (told["message"], told["invocation_id"]) == ("Dams", accepted["invocation_id"])
    assert told["multitask_strategy"] == "interrupt"
    assert (last["type"], last["cause"], last["completed_phases"]) == ("winding_down", "steering", 1)
    assert last["pending_steering_inputs"] == 1
    assert [event["phase"] for event in all_of(ended, "phase_end")] == [1]
    assert [(event["phase"], event["index"]) for event in all_of(ended, "subcall_end")] == [(1, 1), (1, 2), (2, 1)]
    record = client.record(old)
    assert (record["status"], record["phases_completed"]) == ("superseded", 1)
    assert record["superseded_by"] == accepted["invocation_id"]
    assert "partial" in client.report(old)

    start, first = events(new)[0], all_of(new, "phase_start")[0]
    assert (start["sequence_number"], start["entry_mode"]) == (1, "resumed")
    assert (start["topic"], start["prior_topic"]) == ("Dams", "Bridges")
    assert first["phase"] == 1
    assert moment(last) <= moment(start)
    calls = stub.calls()
    assert (len(about(calls, "Bridges")), len(about(calls, "Dams"))) == (3, 6)


@pytest.mark.parametrize("stage", ["intra_phase", "inter_phase"])
def test_a_cooldown_ends_at_once_for_a_steer(client: ResearchClient, stub: ModelStub, stage: str) -> None:
    config = {"phases": 2, f"{stage}_cooldown_sec": 60}
    old = client.post("Bridges", thread_id="t", config=config)["invocation_id"]
    client.read_stream(old, until=of_type("cooldown"))
    new = steer(client, "Dams", config=TINY)
    ended, followed = check_invocation(client, old), check_invocation(client, new)
    told, last, start = all_of(ended, "steering")[0], events(ended)[-1], events(followed)[0]
    assert last["completed_phases"] == len(all_of(ended, "phase_end")) == (stage == "inter_phase")
    # How few milliseconds it takes is in benchmarks/; that it does not wait for the cooldown is shown here.
    assert (moment(start) - moment(told)).total_seconds() < 1
    assert len(about(stub.calls(), "Bridges")) == (2 if stage == "inter_phase" else 1)


def test_guidance_keeps_what_is_done(client: ResearchClient, stub: ModelStub) -> None:
    old = held(client, stub, "Bridges", call=3)
    new = steer(client, GUIDANCE, steering="guidance")
    stub.release()
    ended, followed = check_invocation(client, old), check_invocation(client, new)

    assert events(ended)[-1]["completed_phases"] == 1
    assert events(followed)[0]["topic"] == "Bridges"
    done = [(event["phase"], event["index"]) for event in all_of(ended, "subcall_end")]
    done += [(event["phase"], event["index"]) for event in all_of(followed, "subcall_end")]
    assert done == [(1, 1), (1, 2), (2, 1), (2, 2), (3, 1), (3, 2)]
    record = client.record(new)
    assert (record["status"], record["phases_completed"], record["topic"]) == ("completed", 3, "Bridges")

    calls = stub.calls()
    assert [GUIDANCE in call.asked for call in calls] == [False] * 3 + [True] * 3
    assert '<note phase="1"' in calls[-1].asked
    report = client.report(new)
    for text in (subcall_texts(ended)[1, 2], subcall_texts(followed)[3, 2]):
        assert text.strip() in report
    assert "new topic – Bridges" in report
    assert f"guidance – {GUIDANCE}" in report
    assert sum(line.startswith("- Asked 20") for line in report.splitlines()) == 2


def test_guidance_keeps_the_numbers_of_the_sources(client: ResearchClient, stub: ModelStub) -> None:
    old = held(client, stub, "Bridges", call=3)
    new = steer(client, GUIDANCE, steering="guidance")
    stub.release()
    before = [item for event in all_of(check_invocation(client, old), "sources") for item in event["items"]]
    after = [item for event in all_of(check_invocation(client, new), "sources") for item in event["items"]]
    assert before
    assert after
    known = {(item["url"], item["snippet"]): item["id"] for item in before}
    for item in after:
        number = known.get((item["url"], item["snippet"]))
        assert item["id"] == number if number else item["id"] > max(known.values())


def test_reject_changes_nothing(client: ResearchClient, stub: ModelStub) -> None:
    old = held(client, stub, "Bridges")
    body = {"message": "Dams", "thread_id": "t", "multitask_strategy": "reject"}
    refused = client.request("POST", "/invocations", json=body, headers={"x-agent-invocation-id": "refused"})
    assert refused.status_code == 409
    assert refused.headers["content-type"] == "application/problem+json"
    assert client.request("GET", "/invocations/refused").status_code == 404
    assert client.request("GET", "/threads/t").json()["waiting"] == []
    stub.release()
    frames = check_invocation(client, old)
    assert events(frames)[-1]["type"] == "run_complete"
    assert not all_of(frames, "steering")
    assert len(stub.calls()) == 6
    accepted = client.post("Dams", thread_id="t", multitask_strategy="reject", config=TINY)
    assert accepted["status"] == "started"  # at rest there is nothing to reject it for
    check_invocation(client, accepted["invocation_id"])


def test_enqueued_turns_run_after_in_their_order(client: ResearchClient, stub: ModelStub) -> None:
    old = held(client, stub, "Bridges", config=TINY)
    queued = [steer(client, topic, multitask_strategy="enqueue", config=TINY) for topic in ("Dams", "Tunnels")]
    assert client.request("GET", "/threads/t").json()["waiting"] == queued
    stub.release()
    turns = [check_invocation(client, invocation) for invocation in (old, *queued)]
    assert not all_of(turns[0], "steering")
    assert [events(turn)[-1]["type"] for turn in turns] == ["run_complete"] * 3
    assert [events(turn)[0].get("prior_topic") for turn in turns] == [None, "Bridges", "Dams"]
    assert [len(about(stub.calls(), topic)) for topic in ("Bridges", "Dams", "Tunnels")] == [1, 1, 1]


def test_of_several_steers_only_the_last_runs(client: ResearchClient, stub: ModelStub) -> None:
    old = held(client, stub, "Bridges")
    enqueued = steer(client, "Later", multitask_strategy="enqueue", config=TINY)
    first, second, third = (steer(client, topic, config=TINY) for topic in ("Dams", "Tunnels", "Roads"))
    for invocation, successor in ((first, second), (second, third)):
        frames = check_invocation(client, invocation)  # over at once, the model still being held
        (only,) = events(frames)
        assert (only["type"], only["cause"], only["completed_phases"]) == ("winding_down", "steering", 0)
        record = client.record(invocation)
        assert (record["status"], record["superseded_by"]) == ("superseded", successor)
        assert record["started_at"] is None
        assert client.request("GET", f"/invocations/{invocation}/report").status_code == 404
    stub.release()
    ended = check_invocation(client, old)
    assert [event["message"] for event in all_of(ended, "steering")] == ["Dams", "Tunnels", "Roads"]
    assert client.record(old)["superseded_by"] == third
    ran = [check_invocation(client, invocation) for invocation in (third, enqueued)]
    assert [events(turn)[0]["prior_topic"] for turn in ran] == ["Bridges", "Roads"]
    calls = stub.calls()
    numbers = [len(about(calls, topic)) for topic in ("Bridges", "Dams", "Tunnels", "Roads", "Later")]
    assert numbers == [1, 0, 0, 1, 1]


@pytest.mark.parametrize("strategy", ["enqueue", "interrupt"])
def test_more_than_ten_turns_waiting_are_refused(client: ResearchClient, stub: ModelStub, strategy: str) -> None:
    held(client, stub, "Bridges")
    waiting = [steer(client, f"topic {n}", multitask_strategy="enqueue", config=TINY) for n in range(10)]
    body = {"message": "one more", "thread_id": "t", "multitask_strategy": strategy}
    refused = client.request("POST", "/invocations", json=body)
    assert (refused.status_code, int(refused.headers["retry-after"]) > 0) == (429, True)
    thread = client.request("GET", "/threads/t").json()
    assert (thread["waiting"], len(thread["invocations"])) == (waiting, 11)
    stub.release()
    assert [record["status"] for record in waited_out(client, *waiting)] == ["completed"] * 10


def test_a_steer_in_place_of_another_finds_room(client: ResearchClient, stub: ModelStub) -> None:
    held(client, stub, "Bridges")
    queued = [steer(client, f"topic {n}", multitask_strategy="enqueue", config=TINY) for n in range(9)]
    replaced = steer(client, "Dams", config=TINY)
    last = steer(client, "Roads", config=TINY)
    stub.release()
    records = waited_out(client, replaced, last, *queued)
    assert [record["status"] for record in records] == ["superseded"] + ["completed"] * 10


def rolled_back(client: ResearchClient, stub: ModelStub, old: str, **body: object) -> tuple[Frames, Frames]:
    """The streams of a turn that is rolled back while its model call is held, and of the one that does it."""
    new = steer(client, "Tunnels", multitask_strategy="rollback", **{"config": TINY, **body})
    ended = check_invocation(client, old)  # over, although nobody has released the model
    (told,) = all_of(ended, "steering")
    last = events(ended)[-1]
    assert (told["multitask_strategy"], told["invocation_id"]) == ("rollback", new)
    assert (last["type"], last["cause"]) == ("winding_down", "steering")
    record = client.record(old)
    assert (record["status"], record["superseded_by"]) == ("superseded", new)
    broken_off = stub.wait_for_calls(1, state="disconnected")
    assert not any(call.finished for call in broken_off if call.disconnected_at)
    stub.release()
    return ended, check_invocation(client, new)


def test_rollback_puts_the_thread_back(client: ResearchClient, stub: ModelStub) -> None:
    first = check_invocation(client, steer(client, "Bridges", config=TINY))
    before = client.request("GET", "/threads/t/history").json()["checkpoints"][0]
    ended, new = rolled_back(client, stub, held(client, stub, "Dams", call=3, config={**TINY, "phases": 3}))
    undone = [text.split()[0] for text in subcall_texts(ended).values()]
    prompt = stub.calls()[-1].asked
    assert "<topic>Tunnels</topic>" in prompt
    assert subcall_texts(first)[1, 1].split()[0] in prompt
    assert not any(text in prompt for text in [*undone, "Dams"])
    assert events(new)[0]["entry_mode"] == "resumed"

    history = client.request("GET", "/threads/t/history").json()["checkpoints"]
    by_id = {checkpoint["checkpoint_id"]: checkpoint for checkpoint in history}
    lineage, at = [history[0]], history[0]["parent_checkpoint_id"]
    while at:
        lineage.append(by_id[at])
        at = by_id[at]["parent_checkpoint_id"]
    ran = {checkpoint["invocation_id"] for checkpoint in lineage} - {None}
    assert ran == {events(first)[0]["invocation_id"], events(new)[0]["invocation_id"]}
    base = next(checkpoint for checkpoint in lineage if checkpoint["invocation_id"] != lineage[0]["invocation_id"])
    for name in ("completed_phases", "total_phases", "completed_subcalls", "in_progress_phase"):
        assert base[name] == before[name]
    follow_up = steer(client, "Roads", config=TINY)
    check_invocation(client, follow_up)
    assert not any(text in stub.calls()[-1].asked for text in [*undone, "Dams"])


def test_rollback_of_a_thread_s_first_turn(client: ResearchClient, stub: ModelStub) -> None:
    ended, _ = rolled_back(client, stub, held(client, stub, "Bridges", call=2))
    (call,) = about(stub.calls(), "Tunnels")
    assert not any(text.split()[0] in call.asked for text in [*subcall_texts(ended).values(), "Bridges"])
    thread = client.request("GET", "/threads/t").json()
    assert (thread["completed_phases"], thread["completed_subcalls"]) == (1, 1)


def test_rollback_during_a_cooldown(client: ResearchClient, stub: ModelStub) -> None:
    config = {"phases": 2, "calls_per_phase": 1, "inter_phase_cooldown_sec": 60}
    old = steer(client, "Bridges", config=config)
    client.read_stream(old, until=of_type("cooldown"))
    new = steer(client, "Tunnels", multitask_strategy="rollback", config=TINY)
    for invocation in (old, new):
        check_invocation(client, invocation)
    assert "Bridges" not in stub.calls()[-1].asked


def test_rollback_with_guidance_goes_on_where_the_thread_was(client: ResearchClient, stub: ModelStub) -> None:
    check_invocation(client, steer(client, "Bridges", config={"phases": 2, "calls_per_phase": 1}))
    old = held(client, stub, "Dams", call=3, config=TINY)
    _, new = rolled_back(client, stub, old, steering="guidance", config={})
    assert events(new)[0]["topic"] == "Bridges"
    assert about(stub.calls(), "Bridges")[-1].asked.count("Tunnels") == 1


def test_rollback_of_a_first_turn_with_guidance_is_a_new_topic(client: ResearchClient, stub: ModelStub) -> None:
    old = held(client, stub, "Bridges", call=2)
    _, new = rolled_back(client, stub, old, steering="guidance", config={})
    assert events(new)[0]["topic"] == client.request("GET", "/threads/t").json()["topic"] == "Tunnels"
    assert len(about(stub.calls(), "Tunnels")) == 6


def test_guidance_in_the_queue_follows_the_turn_before_it(client: ResearchClient, stub: ModelStub) -> None:
    held(client, stub, "Bridges")
    topic = steer(client, "Dams", multitask_strategy="enqueue", config={"phases": 2, "calls_per_phase": 1})
    guidance = steer(client, GUIDANCE, multitask_strategy="enqueue", steering="guidance")
    stub.release()
    check_invocation(client, topic)
    start = events(check_invocation(client, guidance))[0]
    assert (start["topic"], start["total_phases"]) == ("Dams", 2)


def test_a_follow_up_at_rest_has_the_findings(client: ResearchClient, stub: ModelStub) -> None:
    first = check_invocation(client, steer(client, "Bridges", config=TINY))
    found = subcall_texts(first)[1, 1].split()[0]
    second = client.post("Dams", thread_id="t", config=TINY)
    assert second["status"] == "started"
    check_invocation(client, second["invocation_id"])
    (call,) = about(stub.calls(), "Dams")
    assert found in call.asked
    assert "<earlier_topic>Bridges" in call.asked


def test_guidance_at_rest_does_the_last_phases_again(client: ResearchClient, stub: ModelStub) -> None:
    first = check_invocation(client, steer(client, "Bridges", config={"phases": 3, "calls_per_phase": 1}))
    found = subcall_texts(first)[1, 1].split()[0]
    second = check_invocation(client, steer(client, GUIDANCE, steering="guidance"))
    assert [event["phase"] for event in all_of(second, "phase_start")] == [2, 3]
    again = stub.calls()[3:]
    assert len(again) == 2
    assert all(GUIDANCE in call.asked and found in call.asked for call in again)


def test_every_reader_of_a_steered_turn_sees_the_same(client: ResearchClient, stub: ModelStub) -> None:
    old = held(client, stub, "Bridges", call=2)
    early = client.read_stream(old, until=of_type("subcall_start"))
    steer(client, "Dams", config=TINY)
    seen = client.read_stream(old, early.last_id, until=of_type("steering"))
    stub.release()
    whole = check_invocation(client, old)
    for part in (early, seen):
        check_same(part, whole)


def test_a_steer_in_the_last_call_loses_nothing(client: ResearchClient, stub: ModelStub) -> None:
    old = held(client, stub, "Bridges", config=TINY)
    new = steer(client, "Dams", config=TINY)
    stub.release()
    ended, followed = check_invocation(client, old), check_invocation(client, new)
    assert [event["invocation_id"] for event in all_of(ended, "steering")] == [new]
    record = client.record(old)
    assert (record["status"], record["superseded_by"], record["phases_completed"]) == ("superseded", new, 1)
    assert subcall_texts(ended)[1, 1].strip() in client.report(old)
    assert events(followed)[-1]["type"] == "run_complete"


def test_a_steer_waits_for_a_turn_s_other_ends_too(client: ResearchClient, stub: ModelStub) -> None:
    old = held(client, stub, "Bridges", config={"run_timeout_sec": 1})
    new = steer(client, "Dams", config=TINY)
    ended = check_invocation(client, old)  # its time was up before it came to a checkpoint
    assert (events(ended)[-1]["cause"], events(ended)[-1]["pending_steering_inputs"]) == ("timeout", 1)
    stub.release()
    assert events(check_invocation(client, new))[0]["prior_topic"] == "Bridges"


def test_rollback_of_a_turn_that_is_to_be_cancelled(client: ResearchClient, stub: ModelStub) -> None:
    old = held(client, stub, "Bridges", call=2)
    client.cancel(old)
    new = steer(client, "Tunnels", multitask_strategy="rollback", config=TINY)
    try:
        stub.wait_for_calls(1, state="disconnected", timeout=3)
    finally:
        stub.release()
    check_invocation(client, old)
    check_invocation(client, new)
    assert "Bridges" not in stub.calls()[-1].asked


def test_rollback_holds_though_the_turn_that_asked_is_cancelled(make_server: MakeServer, stub: ModelStub) -> None:
    server = make_server(MAX_CONCURRENT_RUNS=1)
    server.start()
    with ResearchClient(server.url) as client:
        old = held(client, stub, "Bridges", call=2)
        elsewhere = client.post("Canals", config=TINY)["invocation_id"]  # has the server to itself behind it
        new = steer(client, "Tunnels", multitask_strategy="rollback", config=TINY)
        check_invocation(client, old)
        stub.wait_for_calls(3)
        assert client.cancel(new)["status"] == "cancelled"
        stub.release()
        check_invocation(client, elsewhere)
        check_invocation(client, steer(client, "Roads", config=TINY))
    (call,) = about(stub.calls(), "Roads")
    assert "Bridges" not in call.asked
