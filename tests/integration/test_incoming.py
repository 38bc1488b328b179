"""What every request gets, over ASGI: an id in its answer and in its one line of the log, a place in the metrics."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
import structlog
from starlette.testclient import TestClient

from server import logs
from server.database import StorageFailed
from server.services import Services
from tests.integration.test_http import serving, start

PLANTED = "planted: what a client wrote"


@pytest.fixture
def logged(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    """Where the log goes, as JSON."""
    stream, root = io.StringIO(), logging.getLogger()
    handlers, level = root.handlers, root.level
    monkeypatch.setattr("sys.stderr", stream)
    logs.configure("info", "json")
    yield stream
    root.handlers, root.level, logging.raiseExceptions = handlers, level, True
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


@pytest.fixture
def served(tmp_path: Path, logged: io.StringIO) -> Iterator[tuple[TestClient, Services]]:
    """Over an application with routes that fail."""
    with serving(tmp_path) as (client, services):

        async def unexpected(name: str) -> None:
            raise ValueError(PLANTED)

        async def storage() -> None:
            raise StorageFailed("The disk is full.")

        client.app.get("/unexpected/{name}")(unexpected)  # type: ignore[attr-defined]  # FastAPI's own
        client.app.get("/storage")(storage)  # type: ignore[attr-defined]
        yield client, services


def incidents(logged: io.StringIO) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in logged.getvalue().splitlines()]
    return [line for line in lines if line["level"] in ("warning", "error", "critical")]


@pytest.mark.parametrize(
    ("path", "status", "event"),
    [(f"/unexpected/{PLANTED}", 500, "request_failed"), ("/storage", 503, "storage_failed")],
)
def test_what_fails_here_is_one_line_with_the_request(
    served: tuple[TestClient, Services], logged: io.StringIO, path: str, status: int, event: str
) -> None:
    answer = served[0].get(path)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    (line,) = incidents(logged)
    assert (line["event"], line["request_id"]) == (event, answer.headers["x-request-id"])
    assert line["path"] == ("/unexpected/{name}" if status == 500 else "/storage")
    assert PLANTED not in logged.getvalue()


def test_a_refusal_of_a_server_that_ends_is_one_line(served: tuple[TestClient, Services], logged: io.StringIO) -> None:
    client, services = served
    services.lifecycle.phase = "draining"
    answer = start(client, PLANTED)
    assert answer.status_code == 503
    (line,) = incidents(logged)
    assert (line["event"], line["status"], line["request_id"]) == (
        "request_refused",
        503,
        answer.headers["x-request-id"],
    )


@pytest.mark.parametrize("path", ["/liveness", "/nowhere", "/invocations?limit=x", "/unexpected/x", "/web/app.js", "/"])
@pytest.mark.parametrize(
    ("given", "kept"), [("one-2.3:4_5", True), ("x" * 128, True), ("x" * 129, False), ("a b", False), ("", False)]
)
def test_an_id_that_is_well_formed_is_kept(
    served: tuple[TestClient, Services], path: str, given: str, kept: bool
) -> None:
    answer = served[0].get(path, headers={"x-request-id": given})
    assert (answer.headers["x-request-id"] == given) == kept
    assert len(answer.headers.get_list("x-request-id")) == 1


def test_no_two_requests_get_one_id(served: tuple[TestClient, Services]) -> None:
    assert len({served[0].get("/liveness").headers["x-request-id"] for _ in range(20)}) == 20


def figures(client: TestClient) -> str:
    answer: httpx2.Response = client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    return answer.text


def test_requests_are_counted_by_the_route_as_it_is_declared(served: tuple[TestClient, Services]) -> None:
    client, _ = served
    for path in ("/invocations/one", "/invocations/two", "/nowhere/one", "/unexpected/one", "/web/app.js"):
        client.get(path)
    client.request("BREW", "/nowhere")
    text = figures(client)
    for labels, count in {
        'method="GET",route="/invocations/{invocation_id}",status="404"': 2,
        'method="GET",route="other",status="404"': 1,
        'method="GET",route="/unexpected/{name}",status="500"': 1,
        'method="other",route="other",status="404"': 1,
    }.items():
        assert f"research_http_requests_total{{{labels}}} {count}.0" in text, text


def test_a_database_that_does_not_answer_is_a_figure(
    served: tuple[TestClient, Services], monkeypatch: pytest.MonkeyPatch
) -> None:
    client, services = served
    assert "research_database_up 1.0" in figures(client)
    assert 'research_turns_unfinished{status="queued"} 0.0' in figures(client)

    async def failing(_: object) -> None:
        raise StorageFailed("It is away.")

    monkeypatch.setattr(services.database, "read", failing)
    assert "research_database_up 0.0" in figures(client)
    assert 'research_turns_unfinished{status="queued"} NaN' in figures(client)


def test_openmetrics_where_it_is_asked_for(served: tuple[TestClient, Services]) -> None:
    answer = served[0].get("/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"})
    assert answer.headers["content-type"].startswith("application/openmetrics-text")
    assert answer.text.endswith("# EOF\n")
