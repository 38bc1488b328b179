"""Going on where a turn stopped: as a new turn on the same thread, with nothing done again."""

from __future__ import annotations

import pytest

from tests.acceptance.client import Frames, ResearchClient, of_type
from tests.acceptance.server_process import ServerProcess
from tests.acceptance.transcript import check_invocation, events, subcall_texts
from tests.openai_stub.process import ModelStub

WHOLE = [(1, 1), (1, 2), (2, 1), (2, 2), (3, 1), (3, 2)]
TINY = {"phases": 1, "calls_per_phase": 1}


def subcalls(frames: Frames) -> list[tuple[int, int]]:
    return [(event["phase"], event["index"]) for event in events(frames) if event["type"] == "subcall_end"]


def stopped(client: ResearchClient, stub: ModelStub, how: str, *, call: int = 4) -> Frames:
    """The stream of a turn on thread `t` that ended in its model call number `call`."""
    config = {"run_timeout_sec": 2} if how == "timed_out" else {}
    if how == "failed":
        stub.fail({"kind": "ok", "times": call - 1}, {"kind": "status", "status": 400})
    else:
        stub.hold(after_tokens=5, from_call=call)
    invocation = client.post("Bridges", thread_id="t", config=config)["invocation_id"]
    if how == "cancelled":
        stub.wait_for_calls(1, state="held")
        client.read_stream(invocation, until=lambda f: of_type("subcall_start")(f) and '"phase":2,' in (f.data or ""))
        client.cancel(invocation, mode="now")
    frames = check_invocation(client, invocation)
    assert client.record(invocation)["status"] == how
    stub.release()
    return frames


def resume_status(client: ResearchClient, invocation: str) -> int:
    return client.request("POST", f"/invocations/{invocation}/resume").status_code


def id_of(frames: Frames) -> str:
    return str(events(frames)[0]["invocation_id"])


@pytest.mark.parametrize("how", ["failed", "cancelled", "timed_out"])
def test_it_goes_on_where_the_turn_stopped(client: ResearchClient, stub: ModelStub, how: str) -> None:
    before = stopped(client, stub, how)
    answer = client.request("POST", f"/invocations/{id_of(before)}/resume")
    accepted = answer.json()
    assert answer.status_code == 202
    assert (accepted["status"], accepted["thread_id"]) == ("started", "t")
    again = accepted["invocation_id"]
    assert again != id_of(before)
    assert answer.headers["x-agent-invocation-id"] == again
    assert answer.headers["location"] == f"/invocations/{again}"
    after = check_invocation(client, again)

    start = events(after)[0]
    assert (start["entry_mode"], start["topic"], start["sequence_number"]) == ("resumed", "Bridges", 1)
    assert subcalls(before) + subcalls(after) == WHOLE
    assert len(stub.calls()) == 7  # the one that was broken off is done again
    record = client.record(again)
    assert (record["status"], record["phases_completed"], record["total_phases"]) == ("completed", 3, 3)
    report = client.report(again)
    assert "partial" not in report
    for text in (subcall_texts(before)[1, 2], subcall_texts(after)[2, 2], subcall_texts(after)[3, 2]):
        assert text.strip() in report
    assert client.record(id_of(before))["status"] == how  # an ended stream never reopens


def test_it_goes_on_behind_a_cooldown(client: ResearchClient, stub: ModelStub) -> None:
    config = {"phases": 2, "calls_per_phase": 1, "inter_phase_cooldown_sec": 600}
    invocation = client.post("Bridges", config=config)["invocation_id"]
    client.read_stream(invocation, until=of_type("cooldown"))
    client.cancel(invocation, mode="now")
    check_invocation(client, invocation)
    frames = check_invocation(client, client.resume(invocation)["invocation_id"])
    assert subcalls(frames) == [(2, 1)]


def test_it_survives_a_kill_before_and_behind(server: ServerProcess, client: ResearchClient, stub: ModelStub) -> None:
    before = stopped(client, stub, "cancelled")
    server.restart()
    again = client.resume(id_of(before))["invocation_id"]
    server.restart()
    assert subcalls(before) + subcalls(check_invocation(client, again)) == WHOLE


def test_a_resumed_turn_can_be_resumed(client: ResearchClient, stub: ModelStub) -> None:
    first = stopped(client, stub, "cancelled")
    stub.hold(after_tokens=5, from_call=6)
    again = client.resume(id_of(first))["invocation_id"]
    stub.wait_for_calls(2, state="held")
    client.read_stream(again, until=lambda f: of_type("phase_end")(f))
    client.cancel(again, mode="now")
    second = check_invocation(client, again)
    stub.release()
    assert resume_status(client, id_of(first)) == 409  # a later turn has gone on from it
    third = check_invocation(client, client.resume(again)["invocation_id"])
    assert subcalls(first) + subcalls(second) + subcalls(third) == WHOLE


def test_a_turn_is_resumed_once(client: ResearchClient, stub: ModelStub) -> None:
    invocation = id_of(stopped(client, stub, "failed"))
    again = client.resume(invocation)["invocation_id"]
    assert resume_status(client, invocation) == 409
    check_invocation(client, again)
    assert resume_status(client, invocation) == 409
    listed = client.request("GET", "/invocations", params={"thread_id": "t"}).json()["invocations"]
    assert [record["invocation_id"] for record in listed] == [again, invocation]


def test_a_repeated_request_answers_the_first_one_s_turn(client: ResearchClient, stub: ModelStub) -> None:
    invocation = id_of(stopped(client, stub, "failed"))
    path, headers = f"/invocations/{invocation}/resume", {"idempotency-key": "once"}
    answers = [client.request("POST", path, headers=headers) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [202] * 3
    assert len({answer.json()["invocation_id"] for answer in answers}) == 1


def test_what_cannot_be_resumed(client: ResearchClient, stub: ModelStub) -> None:
    done = client.post("Bridges", thread_id="t", config=TINY)["invocation_id"]
    check_invocation(client, done)
    assert resume_status(client, done) == 409
    stub.hold(after_tokens=5, from_call=2)
    running = client.post("Dams", thread_id="t", config=TINY)["invocation_id"]
    stub.wait_for_calls(1, state="held")
    queued = client.post("Roads", thread_id="t", multitask_strategy="enqueue", config=TINY)["invocation_id"]
    replaced = client.post("Rails", thread_id="t", config=TINY)["invocation_id"]
    client.post("Canals", thread_id="t", config=TINY)
    refused = [resume_status(client, invocation) for invocation in (running, queued, replaced)]
    assert refused == [409] * 3
    assert resume_status(client, "inv_0") == 404
    stub.release()
    for invocation in (running, queued, replaced):
        check_invocation(client, invocation)
    assert resume_status(client, running) == resume_status(client, replaced) == 409  # they are superseded
    assert len(client.request("GET", "/threads/t").json()["invocations"]) == 5


def test_a_turn_cancelled_in_the_queue(client: ResearchClient, stub: ModelStub) -> None:
    stub.hold(after_tokens=5)
    first = client.post("Bridges", thread_id="t", config=TINY)["invocation_id"]
    stub.wait_for_calls(1, state="held")
    waiting = client.post("Dams", thread_id="t", multitask_strategy="enqueue", config=TINY)["invocation_id"]
    client.cancel(waiting)
    assert resume_status(client, waiting) == 409  # the thread is busy
    stub.release()
    check_invocation(client, first)
    frames = check_invocation(client, client.resume(waiting)["invocation_id"])
    start, last = events(frames)[0], events(frames)[-1]
    assert (start["topic"], start["prior_topic"], last["type"]) == ("Dams", "Bridges", "run_complete")
    assert [call.asked.split("</topic>")[0] for call in stub.calls()] == ["<topic>Bridges", "<topic>Dams"]


def test_a_turn_that_never_ran_is_no_later_turn(client: ResearchClient, stub: ModelStub) -> None:
    stub.hold(after_tokens=5, from_call=4)
    first = client.post("Bridges", thread_id="t")["invocation_id"]
    stub.wait_for_calls(1, state="held")
    waiting = client.post("Dams", thread_id="t", multitask_strategy="enqueue", config=TINY)["invocation_id"]
    client.cancel(waiting)
    client.cancel(first)
    stub.release()
    before = check_invocation(client, first)
    after = check_invocation(client, client.resume(first)["invocation_id"])
    assert subcalls(before) + subcalls(after) == WHOLE


def test_a_turn_cancelled_before_its_first_call_was_over(client: ResearchClient, stub: ModelStub) -> None:
    frames = stopped_at_once(client, stub)
    after = check_invocation(client, client.resume(id_of(frames))["invocation_id"])
    assert subcalls(after) == WHOLE
    assert events(after)[0]["topic"] == "Bridges"


def stopped_at_once(client: ResearchClient, stub: ModelStub) -> Frames:
    stub.hold(after_tokens=0)
    invocation = client.post("Bridges", thread_id="t")["invocation_id"]
    stub.wait_for_calls(1, state="held")
    client.cancel(invocation, mode="now")
    frames = check_invocation(client, invocation)
    stub.release()
    return frames


def test_guidance_that_failed_stays_in_force(client: ResearchClient, stub: ModelStub) -> None:
    check_invocation(client, client.post("Bridges", thread_id="t", config={**TINY, "phases": 3})["invocation_id"])
    stub.fail({"kind": "status", "status": 400})
    guided = client.post("Weigh the costs", thread_id="t", steering="guidance")["invocation_id"]
    check_invocation(client, guided)
    assert client.record(guided)["status"] == "failed"
    check_invocation(client, client.resume(guided)["invocation_id"])
    calls = stub.calls()
    assert len(calls) == 6
    assert all("Weigh the costs" in call.asked for call in calls[3:])


def test_it_keeps_the_turn_s_own_settings(server: ServerProcess, client: ResearchClient, stub: ModelStub) -> None:
    before = stopped(client, stub, "cancelled")
    server.set_env(NUM_PHASES="7", CALLS_PER_PHASE="1", INTER_PHASE_COOLDOWN_SEC="600", RESEARCH_MODEL="openai:other")
    server.restart()
    after = check_invocation(client, client.resume(id_of(before))["invocation_id"])
    start = events(after)[0]
    assert (start["total_phases"], start["calls_per_phase"], start["model"]) == (3, 2, "openai:stub")
    assert subcalls(before) + subcalls(after) == WHOLE
    assert {call.model for call in stub.calls()} == {"stub"}


def test_a_resumed_turn_can_stream_in_its_answer(client: ResearchClient, stub: ModelStub) -> None:
    invocation = id_of(stopped(client, stub, "failed"))
    answer = client.request("POST", f"/invocations/{invocation}/resume", headers={"accept": "text/event-stream"})
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert '"entry_mode":"resumed"' in answer.text
    assert "event: done" in answer.text
