"""Cancelling: at the next checkpoint or now, waiting or running turns, and what is left of them."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest

from tests.acceptance.client import Frames, ResearchClient, of_type
from tests.acceptance.server_process import ServerProcess
from tests.acceptance.transcript import check_invocation, events
from tests.openai_stub.process import ModelStub

MODES = ["checkpoint", "now"]


def held(client: ResearchClient, stub: ModelStub, *, call: int = 1, **body: Any) -> str:
    """A turn in the middle of the stub's model call number `call`, some of its text shown."""
    stub.hold(after_tokens=5, from_call=call)
    invocation = str(client.post("Bridges", thread_id="t", **body)["invocation_id"])
    stub.wait_for_calls(1, state="held")
    client.read_stream(invocation, until=of_type("token"))
    return invocation


def report_status(client: ResearchClient, invocation: str) -> int:
    return client.request("GET", f"/invocations/{invocation}/report").status_code


def cancelled(client: ResearchClient, invocation: str, *, phases: int) -> Frames:
    """The stream of a cancelled turn, with what is always so checked."""
    frames = check_invocation(client, invocation)
    last, record = events(frames)[-1], client.record(invocation)
    assert (last["type"], last["cause"], last["completed_phases"]) == ("winding_down", "operator_cancel", phases)
    assert (record["status"], record["superseded_by"], record["error"]) == ("cancelled", None, None)
    return frames


def test_by_default_the_call_under_way_is_finished(client: ResearchClient, stub: ModelStub) -> None:
    invocation = held(client, stub, call=3)
    assert client.cancel(invocation)["status"] == "running"
    assert client.record(invocation)["status"] == "running"
    stub.release()
    frames = cancelled(client, invocation, phases=1)
    assert [event["index"] for event in events(frames) if event["type"] == "subcall_end"] == [1, 2, 1]
    assert [call.finished for call in stub.calls()] == [True] * 3
    report = client.report(invocation)
    assert "**This report is partial:** the run was cancelled" in report
    answer = client.request("GET", f"/invocations/{invocation}/report", params={"format": "json"}).json()
    assert (answer["partial"], answer["markdown"]) == (True, report)


def test_a_turn_is_cancelled_in_its_last_call_too(client: ResearchClient, stub: ModelStub) -> None:
    invocation = held(client, stub, config={"phases": 1, "calls_per_phase": 1})
    client.cancel(invocation)
    stub.release()
    cancelled(client, invocation, phases=1)


def test_now_breaks_the_model_call_off(client: ResearchClient, stub: ModelStub) -> None:
    invocation = held(client, stub, call=3)
    before = client.cancel(invocation, mode="now")
    stub.wait_for_calls(1, state="disconnected")
    frames = cancelled(client, invocation, phases=1)  # the model is still held: nobody waited for it
    asked = client.record(invocation)["ended_at"]
    assert before["ended_at"] is None or before["ended_at"] == asked
    last_call = stub.calls()[-1]
    assert last_call.disconnected_at is not None
    assert not last_call.finished
    ended = datetime.fromisoformat(asked).timestamp()
    assert last_call.disconnected_at - ended < 1
    assert len(stub.calls()) == 3
    assert [event["index"] for event in events(frames) if event["type"] == "subcall_end"] == [1, 2]
    assert "partial" in client.report(invocation)


def test_now_after_a_cancel_that_waits(client: ResearchClient, stub: ModelStub) -> None:
    invocation = held(client, stub)
    client.cancel(invocation)
    client.cancel(invocation, mode="now")
    cancelled(client, invocation, phases=0)
    stub.wait_for_calls(1, state="disconnected")


@pytest.mark.parametrize("mode", MODES)
def test_a_turn_that_had_nothing_leaves_no_report(client: ResearchClient, stub: ModelStub, mode: str) -> None:
    first = held(client, stub)
    waiting = client.post("Dams", thread_id="t", multitask_strategy="enqueue")["invocation_id"]
    record = client.cancel(waiting, mode=mode)
    assert (record["status"], record["started_at"]) == ("cancelled", None)
    (only,) = events(cancelled(client, waiting, phases=0))
    assert only["pending_steering_inputs"] == 0
    client.cancel(first, mode="now")
    cancelled(client, first, phases=0)
    assert [report_status(client, invocation) for invocation in (first, waiting)] == [404, 404]
    assert client.record(first)["output"]["report_url"] is None
    stub.release()
    assert len(stub.calls()) == 1


@pytest.mark.parametrize("mode", MODES)
def test_an_ended_turn_is_left_alone(client: ResearchClient, mode: str) -> None:
    invocation = client.post("Bridges", config={"phases": 1, "calls_per_phase": 1})["invocation_id"]
    client.read_stream(invocation)
    before = client.record(invocation)
    assert client.cancel(invocation, mode=mode) == before == client.record(invocation)
    assert events(check_invocation(client, invocation))[-1]["type"] == "run_complete"


@pytest.mark.parametrize("mode", MODES)
def test_asking_again_changes_nothing(client: ResearchClient, stub: ModelStub, mode: str) -> None:
    invocation = held(client, stub, call=3)
    for _ in range(3):
        client.cancel(invocation, mode=mode)
    stub.release()
    frames = cancelled(client, invocation, phases=1)
    record = client.record(invocation)
    assert [client.cancel(invocation, mode=again) for again in MODES] == [record, record]
    assert [frame.data for frame in client.read_stream(invocation)] == [frame.data for frame in frames]


@pytest.mark.parametrize("stage", ["intra_phase", "inter_phase"])
@pytest.mark.parametrize("mode", MODES)
def test_during_a_cooldown(client: ResearchClient, stub: ModelStub, stage: str, mode: str) -> None:
    config = {"phases": 2, f"{stage}_cooldown_sec": 600}
    invocation = client.post("Bridges", config=config)["invocation_id"]
    client.read_stream(invocation, until=of_type("cooldown"))
    client.cancel(invocation, mode=mode)
    cancelled(client, invocation, phases=int(stage == "inter_phase"))
    assert "partial" in client.report(invocation)
    assert len(stub.calls()) == (2 if stage == "inter_phase" else 1)


@pytest.mark.parametrize("mode", MODES)
def test_a_cancel_is_the_cause_also_behind_a_steer(client: ResearchClient, stub: ModelStub, mode: str) -> None:
    invocation = held(client, stub, call=3)
    after = client.post("Dams", thread_id="t", config={"phases": 1, "calls_per_phase": 1})["invocation_id"]
    client.read_stream(invocation, until=of_type("steering"))
    client.cancel(invocation, mode=mode)
    stub.release()
    frames = cancelled(client, invocation, phases=1)
    assert events(frames)[-1]["pending_steering_inputs"] == 1
    assert events(check_invocation(client, after))[-1]["type"] == "run_complete"


def test_a_cancel_is_the_cause_also_before_a_steer(client: ResearchClient, stub: ModelStub) -> None:
    invocation = held(client, stub, call=3)
    client.cancel(invocation)
    after = client.post("Dams", thread_id="t", config={"phases": 1, "calls_per_phase": 1})["invocation_id"]
    stub.release()
    cancelled(client, invocation, phases=1)
    check_invocation(client, after)


@pytest.mark.parametrize("mode", MODES)
def test_a_cancel_survives_a_kill(server: ServerProcess, client: ResearchClient, stub: ModelStub, mode: str) -> None:
    invocation = held(client, stub, call=3)
    waiting = client.post("Dams", thread_id="t", multitask_strategy="enqueue")["invocation_id"]
    client.cancel(waiting, mode=mode)
    client.cancel(invocation, mode=mode)
    server.kill()
    stub.release()
    server.start()
    cancelled(client, invocation, phases=1)
    cancelled(client, waiting, phases=0)
    # What had been committed is told and kept; at most the call that was streaming is done again.
    assert len(stub.calls()) <= 4
    assert "partial" in client.report(invocation)


def test_bad_requests_change_nothing(client: ResearchClient, stub: ModelStub) -> None:
    invocation = held(client, stub)
    wrong: list[object] = [{"mode": "later"}, {"mode": None}, {"mode": 1}, {"when": "now"}, [], "now", 7]
    for body in wrong:
        answer = client.request("POST", f"/invocations/{invocation}/cancel", json=body)
        assert answer.status_code == 422, body
        assert answer.headers["content-type"] == "application/problem+json"
    assert client.request("POST", f"/invocations/{invocation}/cancel", content=b"{").status_code == 400
    assert client.request("POST", "/invocations/inv_0/cancel").status_code == 404
    stub.release()
    assert events(check_invocation(client, invocation))[-1]["type"] == "run_complete"


def test_a_cancel_needs_no_body(client: ResearchClient, stub: ModelStub) -> None:
    invocation = held(client, stub, call=3)
    assert client.request("POST", f"/invocations/{invocation}/cancel").status_code == 200
    stub.release()
    cancelled(client, invocation, phases=1)
