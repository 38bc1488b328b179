"""A client written for the HTTP surface of the Azure hosted-agents demo works unchanged."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
import requests

from tests.acceptance.client import Json
from tests.acceptance.server_process import ServerProcess
from tests.acceptance.tools import needed
from tests.openai_stub.process import ModelStub

MakeServer = Callable[..., ServerProcess]
# What the platform's gateway and its SDK send along.
HEADERS = {
    "Authorization": "Bearer eyJhbGciOi.made.up",
    "Foundry-Features": "HostedAgents=V1Preview",
    "x-ms-client-request-id": "8c1f0f0e-7a52-4c6e-9f57-0a1b2c3d4e5f",
    "User-Agent": "azsdk-python-ai-projects/2.0.0b1",
    "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
}
VERSION = {"api-version": "v1"}


def follow(http: httpx.Client, invocation: str, after: int = 0) -> Iterator[Json]:
    """As the demo's client reads: `Accept: */*`, the number in the query, lines that begin with `data:`."""
    params: dict[str, Any] = {**VERSION, "last_event_id": after}
    with http.stream("GET", f"/invocations/{invocation}", params=params, headers={"Accept": "*/*"}) as response:
        assert response.status_code == 200
        assert response.headers["content-type"].startswith("text/event-stream")
        for line in response.iter_lines():
            if line.startswith("data:"):
                yield json.loads(line[5:])


@pytest.fixture
def http(server: ServerProcess) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url, headers=HEADERS, timeout=30, trust_env=False) as client:
        yield client


@pytest.mark.parametrize("key", ["message", "topic"])
def test_start_follow_reconnect_and_list_of_the_session(http: httpx.Client, stub: ModelStub, key: str) -> None:
    assert http.get("/readiness", params=VERSION).status_code == 200
    params = {"agent_session_id": "session-1", **VERSION, "unknown": "1"}
    started = http.post("/invocations", params=params, json={key: "Bridges"})
    assert started.status_code == 202
    assert started.json()["status"] == "started"
    assert started.json()["session_id"] == started.headers["x-agent-session-id"] == "session-1"
    invocation = started.headers["x-agent-invocation-id"]
    assert invocation == started.json()["invocation_id"]
    whole = list(follow(http, invocation))
    assert [event["sequence_number"] for event in whole[:-1]] == list(range(1, len(whole)))
    assert (whole[-2]["type"], whole[-1]["type"]) == ("run_complete", "done")
    assert list(follow(http, invocation, after=5)) == whole[5:]


def test_the_stream_as_the_answer_of_the_post(http: httpx.Client, stub: ModelStub) -> None:
    with http.stream(
        "POST", "/invocations", params=VERSION, json={"message": "Bridges"}, headers={"Accept": "text/event-stream"}
    ) as response:
        assert response.status_code == 200
        lines = [line for line in response.iter_lines() if line.startswith("data:")]
    assert json.loads(lines[0][5:])["type"] == "run_start"
    assert json.loads(lines[-1][5:])["status"] == "completed"


def test_cancel_with_an_empty_object(server: ServerProcess, stub: ModelStub) -> None:
    stub.hold(after_tokens=2)
    with requests.Session() as session:
        session.trust_env = False
        session.headers.update(HEADERS)
        started = session.post(f"{server.url}/invocations", params=VERSION, json={"message": "Bridges"}, timeout=30)
        address = f"{server.url}/invocations/{started.json()['invocation_id']}"
        stub.wait_for_calls(1, state="held")
        assert session.post(f"{address}/cancel", params=VERSION, json={}, timeout=30).status_code == 200
        stub.release()
        with session.get(address, params={**VERSION, "last_event_id": "0"}, stream=True, timeout=30) as response:
            events = [json.loads(line[5:]) for line in response.iter_lines() if line.startswith(b"data:")]
    assert (events[-2]["type"], events[-2]["cause"]) == ("winding_down", "operator_cancel")
    assert events[-1]["status"] == "cancelled"


def test_a_message_on_a_busy_session_steers(http: httpx.Client, stub: ModelStub) -> None:
    stub.hold(after_tokens=2)
    params = {"agent_session_id": "session-1", **VERSION}
    first = http.post("/invocations", params=params, json={"message": "Bridges"}).json()["invocation_id"]
    stub.wait_for_calls(1, state="held")
    second = http.post("/invocations", params=params, json={"message": "Dams"})
    assert second.status_code == 202
    stub.release()
    told = list(follow(http, first))
    assert "steering" in [event["type"] for event in told]
    assert (told[-2]["type"], told[-2]["cause"]) == ("winding_down", "steering")
    assert next(follow(http, second.json()["invocation_id"]))["prior_topic"] == "Bridges"


def test_the_crash_message_and_what_comes_back(make_server: MakeServer, stub: ModelStub) -> None:
    server = make_server(DEMO_MODE=1)
    server.start()
    stub.hold(after_tokens=2)
    with httpx.Client(base_url=server.url, headers=HEADERS, timeout=30, trust_env=False) as http:
        invocation = http.post("/invocations", params=VERSION, json={"message": "Bridges"}).json()["invocation_id"]
        stub.wait_for_calls(1, state="held")
        crashing = http.post("/invocations", params=VERSION, json={"message": "crash"})
        assert (crashing.status_code, crashing.json()["status"]) == (202, "crashing")
        assert server.wait_for_exit() == 137
        stub.release()
        server.start()
        modes = [event["entry_mode"] for event in follow(http, invocation) if event["type"] == "run_start"]
    assert modes == ["fresh", "recovered"]


def test_curl_as_in_the_demo_s_readme(server: ServerProcess, stub: ModelStub) -> None:
    curl = [needed("curl"), "-sS", "--noproxy", "*"]
    headers = [item for name, value in HEADERS.items() for item in ("-H", f"{name}: {value}")]
    command = [*curl, *headers, "-X", "POST", "-H", "Content-Type: application/json", "-d", '{"message": "Bridges"}']
    address = f"{server.url}/invocations?agent_session_id=s&api-version=v1"
    started = json.loads(subprocess.run([*command, address], capture_output=True, check=True, timeout=30).stdout)
    stream = f"{server.url}/invocations/{started['invocation_id']}?api-version=v1&last_event_id=0"
    read = subprocess.run([*curl, "-N", *headers, stream], capture_output=True, check=True, timeout=60).stdout
    assert read.startswith(b"retry: 1000\n\nid: 1\n")
    assert b"event: done\n" in read
