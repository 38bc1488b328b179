"""The log of a server from outside: whose each line is, and nothing of what anybody asked, sent or was answered."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.acceptance.client import ResearchClient, of_type
from tests.acceptance.conftest import MakeServer
from tests.acceptance.planted import MARKER
from tests.acceptance.server_process import ServerProcess
from tests.openai_stub.process import ModelStub

KEY = "rk-planted-0123456789abcdef"
TEXT = "planted-text of a client"

pytestmark = pytest.mark.any_backend


@pytest.fixture
def keyed(make_server: MakeServer, tmp_path: Path) -> ServerProcess:
    """At level debug, over documents of one's own, with one key."""
    documents = tmp_path / "documents"
    documents.mkdir()
    (documents / "own.md").write_text("# Planted title\n\nThe planted-document says that tides are planted.\n")
    server = make_server(
        API_KEYS=f"alice:{KEY} per_minute=600",
        LOG_LEVEL="debug",
        DOCUMENTS_DIR=documents,
        TAVILY_API_KEY="tvly-planted",
    )
    server.start()
    return server


@pytest.fixture
def alice(keyed: ServerProcess) -> Iterator[ResearchClient]:
    with ResearchClient(keyed.url, headers={"Authorization": f"Bearer {KEY}"}) as client:
        yield client


def lines(server: ServerProcess) -> list[dict[str, Any]]:
    """Each is JSON by itself."""
    return [json.loads(line) for line in server.log_text().splitlines()]


def of_event(server: ServerProcess, event: str) -> list[dict[str, Any]]:
    return [line for line in lines(server) if line["event"] == event]


def provoke(client: ResearchClient) -> list[httpx2.Response]:
    """Requests that put planted texts wherever a request has room for one."""
    wrong = {"Authorization": "Bearer rk-planted-wrong-0123456789"}
    return [
        client.request("POST", "/invocations", content=f'{{"message": "{TEXT}"'),
        client.request("POST", "/invocations", json={"message": TEXT, "config": {"model": TEXT}}),
        client.request("POST", "/invocations", json={"message": TEXT, TEXT: TEXT}),
        client.request("GET", f"/invocations/{TEXT}", params={"last_event_id": TEXT}),
        client.request("GET", "/invocations", params={"cursor": TEXT}, headers=wrong),
        client.request("GET", f"/nowhere/{TEXT}", headers={"x-request-id": TEXT, "Cookie": f"research_session={TEXT}"}),
        client.request("POST", "/web/render", json={"markdown": TEXT}),
        client.request("POST", "/session", json={"key": KEY}),
    ]


def test_lines_tell_whose_they_are_and_nothing_of_what_was_asked(
    keyed: ServerProcess, alice: ResearchClient, stub: ModelStub
) -> None:
    stub.fail({"kind": "status", "status": 429, "retry_after": "0"}, {"kind": "cut", "after_tokens": 3})
    headers = {"x-request-id": "from-the-client", "Idempotency-Key": TEXT}
    config = {"phases": [TEXT, "Second"], "calls_per_phase": 2, "inter_phase_cooldown_sec": 600}
    taken = alice.request(
        "POST",
        "/invocations",
        json={"message": f"About {TEXT}", "thread_id": "t", "config": config, "metadata": {"of": TEXT}},
        headers=headers,
    )
    first = taken.json()["invocation_id"]
    assert taken.headers["x-request-id"] == "from-the-client"
    alice.read_stream(first, until=of_type("cooldown"))
    keyed.restart()
    steer = alice.post(f"Only {TEXT}", thread_id="t", steering="guidance", config={"inter_phase_cooldown_sec": 0})
    alice.read_stream(steer["invocation_id"])
    assert alice.record(first)["status"] == "superseded"
    for answer in provoke(alice):
        assert answer.headers["x-request-id"].startswith("req_")
    (accepted, _) = of_event(keyed, "turn_accepted")
    whole = f"alice/{first}"
    assert (accepted["request_id"], accepted["thread_id"]) == ("from-the-client", "alice/t")
    assert accepted["invocation_id"] == whole
    modes = [(line["invocation_id"], line["entry_mode"]) for line in of_event(keyed, "turn_started")]
    assert modes == [(whole, "fresh"), (whole, "recovered"), (f"alice/{steer['invocation_id']}", "resumed")]
    failures = of_event(keyed, "model_call_failed")
    assert [(line["invocation_id"], line["attempt"]) for line in failures] == [(whole, 1), (whole, 2)]
    assert "(429)" in failures[0]["reason"]
    assert [line["status"] for line in of_event(keyed, "turn_ended")] == ["superseded", "completed"]
    assert MARKER not in keyed.log_text().lower()


def test_for_people_it_holds_no_more(keyed: ServerProcess, alice: ResearchClient) -> None:
    keyed.kill()
    keyed.set_env(LOG_FORMAT="console")
    keyed.start()
    alice.read_stream(alice.post(f"About {TEXT}", config={"phases": [TEXT]})["invocation_id"])
    provoke(alice)
    said = keyed.log_text()
    assert "turn_ended" in said
    assert "status=completed" in said
    assert MARKER not in said.lower()
