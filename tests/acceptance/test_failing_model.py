"""A model that limits, breaks, hangs or talks nonsense: tried again where it may help, and no work is lost."""

from __future__ import annotations

import email.utils
import time
from collections.abc import Callable, Iterator

import pytest

from tests.acceptance.client import Json, ResearchClient
from tests.acceptance.server_process import ServerProcess
from tests.acceptance.transcript import check_invocation, events, subcall_texts
from tests.openai_stub.model import Call, tokens_of
from tests.openai_stub.process import ModelStub

MakeServer = Callable[..., ServerProcess]

pytestmark = pytest.mark.any_backend

SECRET = "sk-planted-secret"  # what conftest.py sets as the key
TRANSIENT: dict[str, dict[str, object]] = {
    "429": {"kind": "status", "status": 429},
    "500": {"kind": "status", "status": 500},
    "503": {"kind": "status", "status": 503, "retry_after": "1"},
    "refused": {"kind": "refuse"},
    "cut": {"kind": "cut", "after_tokens": 7},
    "silent at once": {"kind": "silent"},
    "silent midway": {"kind": "silent", "after_tokens": 7},
    "empty": {"kind": "empty"},
    "malformed": {"kind": "malformed", "after_tokens": 7},
}
FINAL = {"401": 401, "404": 404}


@pytest.fixture
def server(make_server: MakeServer) -> Iterator[ServerProcess]:
    """Two phases of one call; a failed call is tried twice more, silence is borne for half a second."""
    server = make_server(NUM_PHASES=2, CALLS_PER_PHASE=1, MODEL_ATTEMPTS=3, MODEL_IDLE_TIMEOUT_SEC=0.5)
    server.start()
    yield server
    assert SECRET not in server.log_text()


def of_kind(happened: list[Json], kind: str) -> list[Json]:
    return [event for event in happened if event["type"] == kind]


def assert_no_secret(client: ResearchClient, invocation_id: str) -> None:
    frames = client.read_stream(invocation_id)
    seen = [str(client.record(invocation_id)), *(frame.data or "" for frame in frames)]
    seen.append(client.request("GET", f"/invocations/{invocation_id}/report").text)
    assert not [text for text in seen if SECRET in text]


def text_of(call: Call) -> str:
    return "".join(tokens_of(call.prompt, 20))


def test_what_may_pass_is_tried_again(server: ServerProcess, client: ResearchClient, stub: ModelStub) -> None:
    """A phase for each kind, whose one call fails so at first."""
    for fault in TRANSIENT.values():
        stub.fail(fault, {"kind": "ok"})
    invocation = client.post("Bridges", config={"phases": list(TRANSIENT), "calls_per_phase": 1})["invocation_id"]
    frames = check_invocation(client, invocation)
    happened, calls, texts = events(frames), stub.calls(), subcall_texts(frames)
    assert len(calls) == 2 * len(TRANSIENT)
    told = {event["phase"]: event for event in of_kind(happened, "retrying")}
    for phase, name in enumerate(TRANSIENT, 1):
        broken, whole = calls[2 * phase - 2 : 2 * phase]
        retrying = told.pop(phase)
        assert retrying["index"] == 1, name
        assert retrying["error"]["type"], name
        assert retrying["error"]["message"], name
        assert broken.prompt == whole.prompt, name
        ended = broken.finished_at or broken.disconnected_at or broken.started_at
        assert whole.started_at - ended >= retrying["delay_sec"] - 0.1, name
        # The text of the broken attempt is superseded.
        assert texts[phase, 1] == text_of(whole), name
    assert told == {}
    assert [event["attempt"] for event in of_kind(happened, "subcall_start")] == [1, 2] * len(TRANSIENT)
    assert client.record(invocation)["status"] == "completed"
    assert_no_secret(client, invocation)


@pytest.mark.parametrize("form", ["seconds", "date"])
def test_retry_after_is_honoured(server: ServerProcess, client: ResearchClient, stub: ModelStub, form: str) -> None:
    # A date has whole seconds: two ahead are more than one at any moment.
    value = "2" if form == "seconds" else email.utils.formatdate(time.time() + 3, usegmt=True)
    least = 2.0 if form == "seconds" else 1.0
    stub.fail({"kind": "status", "status": 429, "retry_after": value})
    happened = events(check_invocation(client, client.post("Bridges")["invocation_id"]))
    (retrying,) = of_kind(happened, "retrying")
    assert retrying["delay_sec"] >= least
    first, second, _ = stub.calls()
    assert second.started_monotonic - first.started_monotonic >= least


def test_a_refused_connection_is_tried_again(server: ServerProcess, client: ResearchClient, stub: ModelStub) -> None:
    stub.stop()
    invocation = client.post("Bridges")["invocation_id"]
    client.read_stream(invocation, until=lambda frame: frame.data is not None and '"retrying"' in frame.data)
    stub.start()
    frames = check_invocation(client, invocation)
    assert client.record(invocation)["status"] == "completed"
    assert "onnect" in of_kind(events(frames), "retrying")[0]["error"]["message"]
    assert_no_secret(client, invocation)


def test_after_the_last_attempt_the_work_stays(server: ServerProcess, client: ResearchClient, stub: ModelStub) -> None:
    stub.fail({"kind": "ok"}, {"kind": "status", "status": 500, "times": 3})
    failed = client.post("Bridges")["invocation_id"]
    happened = events(check_invocation(client, failed))
    assert [event["attempt"] for event in of_kind(happened, "subcall_start")] == [1, 1, 2, 3]
    assert len(of_kind(happened, "retrying")) == 2
    end = happened[-1]
    assert (end["type"], end["resumable"], end["completed_phases"]) == ("run_failed", True, 1)
    record = client.record(failed)
    assert (record["status"], record["error"], record["phases_completed"]) == ("failed", end["error"], 1)
    report = client.report(failed)
    assert text_of(stub.calls()[0]) in report
    assert "partial" in report.lower()
    assert_no_secret(client, failed)
    # After a restart as well: the failure is an end, and only somebody's wish goes on from it.
    server.restart()
    resumed = client.resume(failed)["invocation_id"]
    check_invocation(client, resumed)
    assert client.record(resumed)["status"] == "completed"
    calls = stub.calls()
    assert len(calls) == 5
    assert calls[4].prompt == calls[3].prompt
    assert text_of(calls[0]) in client.report(resumed)


@pytest.mark.parametrize("status", FINAL.values(), ids=FINAL.keys())
def test_what_cannot_pass_fails_at_once(
    server: ServerProcess, client: ResearchClient, stub: ModelStub, status: int
) -> None:
    stub.fail({"kind": "status", "status": status})
    invocation = client.post("Bridges")["invocation_id"]
    happened = events(check_invocation(client, invocation))
    assert len(stub.calls()) == 1
    assert of_kind(happened, "retrying") == []
    end = happened[-1]
    assert (end["type"], end["resumable"]) == ("run_failed", True)
    assert str(status) in end["error"]["message"]
    assert end["error"]["message"].endswith(".")
    assert client.record(invocation)["error"] == end["error"]
    assert_no_secret(client, invocation)


def test_a_limit_slows_every_run(server: ServerProcess, client: ResearchClient, stub: ModelStub) -> None:
    stub.hold(after_tokens=10, from_call=2)
    stub.fail({"kind": "status", "status": 429, "retry_after": "1"})
    limited = client.post("Bridges")["invocation_id"]
    client.read_stream(limited, until=lambda frame: frame.data is not None and '"retrying"' in frame.data)
    # This one comes while the endpoint wants its rest.
    other = client.post("Dams")["invocation_id"]
    stub.wait_for_calls(3)
    stub.release()
    for invocation in (limited, other):
        check_invocation(client, invocation)
        assert client.record(invocation)["status"] == "completed"
    first, *rest = stub.calls()
    assert len(rest) == 4
    assert min(call.started_monotonic for call in rest) - first.started_monotonic >= 1


def test_a_crash_during_the_rest_counts_attempts_on(
    server: ServerProcess, client: ResearchClient, stub: ModelStub
) -> None:
    stub.fail({"kind": "cut", "after_tokens": 5})
    invocation = client.post("Bridges")["invocation_id"]
    client.read_stream(invocation, until=lambda frame: frame.data is not None and '"retrying"' in frame.data)
    server.restart()
    frames = check_invocation(client, invocation)
    assert [event["attempt"] for event in of_kind(events(frames), "subcall_start")] == [1, 2, 1]
    assert len(stub.calls()) == 3
