"""What the clients send and what they make of the answers; sync and async alike."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import anyio
import httpx2
import pytest

from client import (
    AnswerNotUnderstood,
    AsyncResearchClient,
    Document,
    Invocation,
    Page,
    Report,
    RequestRefused,
    ResearchClient,
    ServerGone,
    Started,
)

TAKEN = {"status": "started", "invocation_id": "inv_1", "thread_id": "t"}
RECORD = {
    "invocation_id": "inv_1",
    "thread_id": "t",
    "status": "failed",
    "topic": "Owls",
    "created_at": "2026-11-23T10:13:00.123Z",
    "ended_at": None,
    "usage": {"input_tokens": 5, "output_tokens": 7},
    "error": {"type": "Quota", "message": "no quota"},
    "new_field": 1,
}
DOCUMENT = {"document_id": "doc_1", "name": "owls.md", "size_bytes": 9, "passages": 2, "created_at": None}
REPORT = {"invocation_id": "inv_1", "partial": True, "markdown": "# Owls\n"}


class Recorder:
    """Answers every request alike, after so many lost ones, and keeps them."""

    def __init__(self, answer: object, status: int = 200, lost: int = 0) -> None:
        self.requests: list[httpx2.Request] = []
        self._answer, self._status, self._lost = answer, status, lost

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        self.requests.append(request)
        if len(self.requests) <= self._lost:
            raise httpx2.ReadError("cut")
        return httpx2.Response(self._status, json=self._answer)


CALLS: list[tuple[str, Callable[[Any], Any], object, str, object]] = [
    ("start", lambda c: c.start("Owls", config={"phases": 2}), TAKEN, "POST /invocations", Started),
    ("steer", lambda c: c.steer("t", "Only snowy ones"), TAKEN, "POST /invocations", Started),
    ("cancel", lambda c: c.cancel("inv_1", now=True), RECORD, "POST /invocations/inv_1/cancel", Invocation),
    ("resume", lambda c: c.resume("inv_1"), TAKEN, "POST /invocations/inv_1/resume", Started),
    ("report", lambda c: c.report("a/b"), REPORT, "GET /invocations/a%2Fb/report?format=json", Report),
    ("get", lambda c: c.get("inv_1"), RECORD, "GET /invocations/inv_1", Invocation),
    ("list", lambda c: c.list(thread_id="t"), {"invocations": [RECORD]}, "GET /invocations?thread_id=t&limit=50", Page),
    ("upload", lambda c: c.upload_document("o w.md", b"# Owls"), DOCUMENT, "POST /documents?name=o+w.md", Document),
    ("documents", lambda c: c.documents(), {"documents": [DOCUMENT]}, "GET /documents", tuple),
    ("delete", lambda c: c.delete_document("doc/1"), None, "DELETE /documents/doc%2F1", type(None)),
]


@pytest.mark.parametrize(("name", "call", "answer", "line", "kind"), CALLS, ids=[call[0] for call in CALLS])
def test_each_call_in_both_clients(
    name: str, call: Callable[[Any], Any], answer: object, line: str, kind: type[object]
) -> None:
    del name
    sent, results = [], []
    server = Recorder(answer)
    with ResearchClient("http://server", transport=httpx2.MockTransport(server)) as client:
        results.append(call(client))
    sent += server.requests

    async def asynchronously() -> None:
        async with AsyncResearchClient("http://server", transport=httpx2.MockTransport(server)) as client:
            results.append(await call(client))

    anyio.run(asynchronously)
    assert results[0] == results[1]
    assert isinstance(results[0], kind)
    for request in server.requests:
        assert f"{request.method} {request.url.raw_path.decode()}" == line
    assert server.requests[0].content == server.requests[1].content


def test_a_document_that_has_gone_is_deleted() -> None:
    server = Recorder({"detail": "No document of this id is kept."}, status=404)
    with ResearchClient("http://server", transport=httpx2.MockTransport(server)) as client:
        client.delete_document("doc_1")


def test_a_steer_says_what_it_means() -> None:
    server = Recorder(TAKEN)
    with ResearchClient("http://server", transport=httpx2.MockTransport(server)) as client:
        client.steer("t", "Owls", steering="new_topic", multitask_strategy="rollback")
    assert json.loads(server.requests[0].content) == {
        "message": "Owls",
        "thread_id": "t",
        "steering": "new_topic",
        "multitask_strategy": "rollback",
    }


def test_a_lost_post_is_sent_again_under_its_key() -> None:
    server = Recorder(TAKEN, lost=2)
    with ResearchClient("http://server", transport=httpx2.MockTransport(server), sleep=lambda _: None) as client:
        assert client.start("Owls").invocation_id == "inv_1"
    assert len({request.headers["idempotency-key"] for request in server.requests}) == 1
    assert len(server.requests) == 3


def test_a_server_that_stays_away_is_given_up() -> None:
    server = Recorder(TAKEN, lost=1000)
    transport = httpx2.MockTransport(server)
    with (
        ResearchClient("http://server", transport=transport, sleep=lambda _: None, give_up_after_sec=0.5) as client,
        pytest.raises(ServerGone),
    ):
        client.get("inv_1")


def test_a_record_is_read_without_trusting_it() -> None:
    record = Invocation.of(RECORD)
    assert record.created_at == datetime(2026, 11, 23, 10, 13, 0, 123000, tzinfo=UTC)
    assert (record.ended, record.usage.output_tokens) == (True, 7)
    assert record.error is not None
    assert record.error.message == "no quota"
    assert record.fields["new_field"] == 1
    odd = Invocation.of({"status": 5, "usage": [], "error": "x", "created_at": "never", "last_event_id": "many"})
    assert (odd.status, odd.created_at, odd.last_event_id, odd.error) == ("", None, 0, None)


def test_a_notebook_shows_a_report_as_markdown() -> None:
    report = Report.of(REPORT)
    assert report._repr_markdown_() == str(report) == "# Owls\n"
    assert report.partial


@pytest.mark.parametrize(
    ("server", "error", "said"),
    [
        (Recorder({"title": "Gone", "detail": "no such run"}, status=404), RequestRefused, "no such run"),
        (Recorder([1]), AnswerNotUnderstood, "not what the protocol says"),
        (Recorder({"status": "crashing"}), AnswerNotUnderstood, "crashing"),
    ],
)
def test_refusals_and_nonsense(server: Recorder, error: type[Exception], said: str) -> None:
    transport = httpx2.MockTransport(server)
    with ResearchClient("http://server", transport=transport) as client, pytest.raises(error, match=said):
        client.start("crash")
