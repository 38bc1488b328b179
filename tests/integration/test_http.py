"""The application over ASGI: every refusal is a problem that names its field and changes nothing."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import orjson
import pytest
from starlette.testclient import TestClient

from server import web_routes
from server.app import create_app
from server.data_folder import DataFolder
from server.services import Services, open_services
from server.settings import Settings
from tests.acceptance.client import Json

Send = Callable[[TestClient], httpx2.Response]

SMALL: dict[str, Any] = {
    "num_phases": 1,
    "calls_per_phase": 1,
    "target_output_tokens": 50,
    "intra_phase_cooldown_sec": 0,
    "inter_phase_cooldown_sec": 0,
}
BUSY = {"phases": 2, "calls_per_phase": 2, "intra_phase_cooldown_sec": 86_400}


@contextmanager
def serving(folder: Path, **settings: Any) -> Iterator[tuple[TestClient, Services]]:
    """The application with its lifespan, over the data in `folder`."""
    documents = folder / "documents"
    documents.mkdir(exist_ok=True)
    (documents / "tides.md").write_text("# Tides\n\nThe moon raises the tides of the sea twice on every day.\n")
    # Made without reading the environment.
    values = Settings.model_construct(**{**_defaults(), **SMALL, "documents_dir": documents, **settings})
    with DataFolder(folder / "data") as data:
        services = open_services(values, data, began=time.monotonic())
        with TestClient(create_app(services), base_url="http://127.0.0.1", raise_server_exceptions=False) as client:
            # Loaded before anything is asked: what is stopped while it loads is another test's matter.
            assert client.portal is not None
            client.portal.call(services.engine.graph)
            yield client, services


def _defaults() -> dict[str, Any]:
    return {name: field.default for name, field in Settings.model_fields.items()}


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """One server for the requests that are to change nothing, with a turn under way on the thread `busy`."""
    with serving(tmp_path_factory.mktemp("shared")) as (client, _):
        assert start(client, thread_id="busy", config=BUSY).status_code == 202
        yield client


@pytest.fixture
def client(tmp_path: Path) -> Iterator[TestClient]:
    with serving(tmp_path) as (client, _):
        yield client


def start(client: TestClient, message: str = "Tides", headers: Json | None = None, **body: Any) -> httpx2.Response:
    return client.post("/invocations", json={"message": message, **body}, headers=headers)


def ended(client: TestClient, **body: Any) -> Json:
    """A turn that has run to its end."""
    response = start(client, headers={"Accept": "text/event-stream"}, **body)
    assert response.status_code == 200
    return record(client, response.headers["x-agent-invocation-id"])


def record(client: TestClient, invocation_id: str) -> Json:
    found: Json = client.get(f"/invocations/{invocation_id}", headers={"Accept": "application/json"}).json()
    return found


def turns(client: TestClient) -> list[tuple[str, str]]:
    """Every turn and thread, without what goes on by itself."""
    page = client.get("/invocations", params={"limit": 200}).json()
    return [(turn["invocation_id"], turn["thread_id"]) for turn in page["invocations"]]


def problem(response: httpx2.Response) -> Json:
    """The body of a refusal, in the shape of RFC 9457."""
    assert response.headers["content-type"] == "application/problem+json"
    body: Json = response.json()
    assert {"type", "title", "status", "detail"} <= body.keys()
    assert body["status"] == response.status_code
    assert body["detail"].strip()
    assert "Traceback" not in body["detail"]
    return body


def posted(body: bytes | str, **headers: str) -> Send:
    return lambda client: client.post("/invocations", content=body, headers=headers)


def posting(**body: Any) -> Send:
    return lambda client: client.post("/invocations", content=orjson.dumps(body))


def named(name: str, value: str) -> Send:
    return lambda client: start(client, headers={name: value})


def getting(path: str, **headers: str) -> Send:
    return lambda client: client.get(path, headers=headers)


def in_chunks(client: TestClient) -> httpx2.Response:
    def chunks() -> Iterator[bytes]:
        yield b'{"message": "'
        for _ in range(300):
            yield b"x" * 1024
        yield b'"}'

    response = client.post("/invocations", content=chunks())
    assert "content-length" not in response.request.headers
    return response


REFUSED: list[tuple[str, Send, int, str]] = [
    ("no body", posted(b""), 400, ""),
    ("no JSON", posted("{"), 400, ""),
    ("NaN", posted('{"message": NaN}'), 400, ""),
    ("no UTF-8", posted(b'{"message": "\xff"}'), 400, ""),
    ("nested too deep", posted('{"message": "m", "metadata": {"a": ' + "[" * 100_000), 400, ""),
    ("a list", posted("[]"), 422, "body"),
    ("a number", posted("7"), 422, "body"),
    ("a text", posted('"m"'), 422, "body"),
    ("null", posted("null"), 422, "body"),
    ("a lone surrogate", posted('{"message": "\\ud800"}'), 422, "body"),
    ("no message", posting(), 422, "message"),
    ("a blank message", posting(message=" \n"), 422, "message"),
    ("a long message", posting(message="x" * 32_001), 422, "message"),
    ("a wrong message", posting(message=7), 422, "message"),
    ("an unknown field", posting(message="m", colour="red"), 422, "colour"),
    ("bad phases", posting(message="m", config={"phases": 0}), 422, "phases"),
    ("a bad config", posting(message="m", config={"calls_per_phase": 0}), 422, "config.calls_per_phase"),
    ("an unknown setting", posting(message="m", config={"speed": 1}), 422, "config.speed"),
    ("a bad thread", posting(message="m", thread_id="a b"), 422, "thread_id"),
    ("a long thread", posting(message="m", thread_id="x" * 129), 422, "thread_id"),
    ("a bad strategy", posting(message="m", multitask_strategy="later"), 422, "multitask_strategy"),
    ("a bad steering", posting(message="m", steering="resume"), 422, "steering"),
    (
        "a bad session",
        lambda client: client.post("/invocations?agent_session_id=a%20b", json={"message": "m"}),
        422,
        "thread_id",
    ),
    ("a bad name", named("x-agent-invocation-id", "a b"), 422, "x-agent-invocation-id"),
    ("a long name", named("x-agent-invocation-id", "x" * 129), 422, "x-agent-invocation-id"),
    (
        "a bad position of the stream that is asked for",
        lambda client: start(client, headers={"Accept": "text/event-stream", "Last-Event-ID": "x"}),
        422,
        "last_event_id",
    ),
    ("too much", posted('{"message": "' + "x" * 262_144 + '"}'), 413, ""),
    ("too much in chunks", in_chunks, 413, ""),
    ("a busy thread", posting(message="m", thread_id="busy", multitask_strategy="reject"), 409, ""),
    ("an unknown invocation", getting("/invocations/inv_0"), 404, ""),
    ("the record of an unknown one", getting("/invocations/inv_0", Accept="application/json"), 404, ""),
    ("the report of an unknown one", getting("/invocations/inv_0/report"), 404, ""),
    ("a cancel of an unknown one", lambda client: client.post("/invocations/inv_0/cancel"), 404, ""),
    ("a resume of an unknown one", lambda client: client.post("/invocations/inv_0/resume"), 404, ""),
    ("an unknown thread", getting("/threads/nobody"), 404, ""),
    ("the history of an unknown thread", getting("/threads/nobody/history"), 404, ""),
    ("the end of an unknown thread", lambda client: client.delete("/threads/nobody"), 404, ""),
    ("the end of a busy thread", lambda client: client.delete("/threads/busy"), 409, ""),
    ("a bad thread's state", getting("/threads/a%20b"), 422, "thread_id"),
    ("a negative position", getting("/invocations/inv_0?last_event_id=-1"), 422, "last_event_id"),
    ("a broken position", getting("/invocations/inv_0?last_event_id=1.5"), 422, "last_event_id"),
    ("an empty position", getting("/invocations/inv_0?last_event_id="), 422, "last_event_id"),
    ("a bad position in the header", getting("/invocations/inv_0", **{"Last-Event-ID": "x"}), 422, "last_event_id"),
    ("no limit", getting("/invocations?limit=0"), 422, "limit"),
    ("a large limit", getting("/invocations?limit=201"), 422, "limit"),
    ("a wrong limit", getting("/invocations?limit=many"), 422, "limit"),
    ("a wrong state", getting("/invocations?status=asleep"), 422, "status"),
    ("a wrong cursor", getting("/invocations?cursor=x"), 422, "cursor"),
    ("a wrong thread to list", getting("/invocations?thread_id=a%20b"), 422, "thread_id"),
    ("an unknown route", getting("/nowhere"), 404, ""),
    ("a wrong method", lambda client: client.put("/invocations", json={}), 405, ""),
    ("another wrong method", lambda client: client.delete("/invocations/inv_0"), 405, ""),
]


@pytest.mark.parametrize(("send", "status", "field"), [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED])
def test_a_refusal_is_a_problem_and_changes_nothing(shared: TestClient, send: Send, status: int, field: str) -> None:
    before = turns(shared)
    response = send(shared)
    assert response.status_code == status
    body = problem(response)
    assert field in body["detail"]
    if status == 422:
        assert body["errors"]
        assert all(set(error) == {"field", "message"} for error in body["errors"])
    assert turns(shared) == before


def test_a_wrong_method_says_which_is_right(shared: TestClient) -> None:
    assert shared.delete("/invocations/inv_0").headers["allow"] == "GET"


def test_an_eleventh_turn_that_waits_is_429_with_retry_after(client: TestClient) -> None:
    start(client, thread_id="t", config=BUSY)
    for _ in range(10):
        assert start(client, thread_id="t", multitask_strategy="enqueue").status_code == 202
    before = turns(client)
    response = start(client, thread_id="t", multitask_strategy="enqueue")
    assert response.status_code == 429
    assert int(response.headers["retry-after"]) > 0
    problem(response)
    assert turns(client) == before


def test_a_server_that_drains_is_503_with_retry_after(tmp_path: Path) -> None:
    with serving(tmp_path) as (client, services):
        services.lifecycle.phase = "draining"
        for response in (start(client), client.get("/readiness"), client.post("/invocations/inv_0/resume")):
            assert response.status_code == 503
            assert int(response.headers["retry-after"]) > 0
            problem(response)
        assert client.get("/liveness").status_code == 200
        assert turns(client) == []


def test_an_accepted_turn_says_where_it_is(client: TestClient) -> None:
    response = start(client, thread_id="t")
    assert response.status_code == 202
    body = response.json()
    assert body["status"] == "started"
    assert body["thread_id"] == body["session_id"] == response.headers["x-agent-session-id"] == "t"
    assert body["invocation_id"] == response.headers["x-agent-invocation-id"]
    assert response.headers["location"] == f"/invocations/{body['invocation_id']}"
    assert client.get(response.headers["location"], headers={"Accept": "application/json"}).status_code == 200


def test_a_turn_without_a_thread_gets_one_and_a_time_ordered_name(client: TestClient) -> None:
    bodies = [start(client).json() for _ in range(3)]
    assert len({body["thread_id"] for body in bodies}) == 3
    names = [body["invocation_id"] for body in bodies]
    assert all(name.startswith("inv_") and len(name) == 36 and int(name[4:], 16) for name in names)


@pytest.mark.parametrize("field", ["message", "topic"])
def test_the_topic_may_come_under_both_names(client: TestClient, field: str) -> None:
    body = client.post("/invocations", json={field: "  Tides "}).json()
    assert record(client, body["invocation_id"])["topic"] == "Tides"


def test_the_thread_may_come_as_the_session_of_the_query(client: TestClient) -> None:
    response = client.post("/invocations?agent_session_id=s", json={"message": "m"})
    assert response.json()["thread_id"] == "s"


def test_a_turn_behind_another_is_queued(client: TestClient) -> None:
    start(client, thread_id="t", config=BUSY)
    assert start(client, thread_id="t", multitask_strategy="enqueue").json()["status"] == "queued"


def test_a_repeated_request_answers_the_first_ones_invocation(client: TestClient) -> None:
    first = start(client, headers={"Idempotency-Key": "k"}).json()["invocation_id"]
    second = start(client, "Other", headers={"Idempotency-Key": "k"}).json()["invocation_id"]
    assert first == second
    assert len(turns(client)) == 1


def test_a_name_that_was_used_answers_the_first_ones_record(client: TestClient) -> None:
    start(client, headers={"x-agent-invocation-id": "mine"}, thread_id="t")
    body = start(client, "Other", headers={"x-agent-invocation-id": "mine"}, thread_id="u").json()
    assert (body["invocation_id"], body["thread_id"]) == ("mine", "t")
    assert turns(client) == [("mine", "t")]


def test_a_stream_that_is_asked_for_has_its_headers_and_comes_to_its_end(client: TestClient) -> None:
    response = start(client, headers={"Accept": "text/event-stream"})
    assert response.status_code == 200
    assert response.headers["content-type"].startswith("text/event-stream")
    assert response.headers["cache-control"] == "no-store"
    assert response.headers["x-accel-buffering"] == "no"
    assert response.headers["x-agent-invocation-id"]
    assert response.text.startswith("retry: 1000\n\nid: 1\n")
    assert '"status":"completed"' in response.text.rpartition("event: done\n")[2]


@pytest.mark.parametrize(
    ("accept", "media_type"),
    [
        (None, "text/event-stream"),
        ("*/*", "text/event-stream"),
        ("text/event-stream", "text/event-stream"),
        ("application/json", "application/json"),
        ("text/event-stream;q=0.1, application/json", "application/json"),
        ("application/*", "application/json"),
    ],
)
def test_what_a_get_answers(client: TestClient, accept: str | None, media_type: str) -> None:
    del client.headers["accept"]
    invocation = ended(client)["invocation_id"]
    headers = {} if accept is None else {"Accept": accept}
    response = client.get(f"/invocations/{invocation}", headers=headers)
    assert response.headers["content-type"].startswith(media_type)


def test_a_position_is_taken_from_the_query_before_the_header(client: TestClient) -> None:
    done = ended(client)
    path, last = f"/invocations/{done['invocation_id']}", done["last_event_id"]
    whole = client.get(path).text
    behind = client.get(f"{path}?last_event_id={last - 1}", headers={"Last-Event-ID": "1"}).text
    assert behind.count("\nid: ") == 1
    assert f"id: {last}\n" in behind
    by_header = client.get(path, headers={"Last-Event-ID": "1"}).text
    assert by_header.partition("id: 2\n")[2] == whole.partition("id: 2\n")[2]
    for beyond in (last, last + 1, 10**30):
        assert "id:" not in client.get(f"{path}?last_event_id={beyond}").text


def test_the_record_of_an_ended_turn(client: TestClient) -> None:
    done = ended(client, metadata={"k": "v"}, thread_id="t")
    assert (done["status"], done["thread_id"], done["topic"], done["error"]) == ("completed", "t", "Tides", None)
    assert (done["phases_completed"], done["total_phases"]) == (1, 1)
    assert done["created_at"] <= done["started_at"] <= done["ended_at"]
    assert done["usage"]["output_tokens"] > 0
    assert done["output"]["report_url"] == f"/invocations/{done['invocation_id']}/report"
    report = client.get(done["output"]["report_url"])
    assert report.headers["content-type"] == "text/markdown; charset=utf-8"
    assert report.text == done["output"]["reply"]
    as_json = client.get(done["output"]["report_url"], params={"format": "json"}).json()
    assert as_json["markdown"] == report.text
    assert as_json["partial"] is False


def test_lists_go_on_by_their_cursor(client: TestClient) -> None:
    names = [start(client, thread_id=f"t{number}").json()["invocation_id"] for number in range(5)]
    seen: list[str] = []
    cursor: str | None = None
    while True:
        params: Json = {"limit": 2} | ({} if cursor is None else {"cursor": cursor})
        page = client.get("/invocations", params=params).json()
        seen += [turn["invocation_id"] for turn in page["invocations"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert seen == names[::-1]


def test_a_turn_outlives_its_server(tmp_path: Path) -> None:
    with serving(tmp_path) as (client, _):
        name = start(client, thread_id="t", config=BUSY).json()["invocation_id"]
    with serving(tmp_path) as (client, _):
        assert record(client, name)["status"] in ("queued", "running")
        again = start(client, headers={"x-agent-invocation-id": name}, thread_id="u").json()
        assert again["thread_id"] == "t"


@pytest.mark.parametrize("depth", [200, 300, 500, 700, 900, 940, 960, 980])
def test_metadata_is_either_refused_or_can_be_read_back(client: TestClient, depth: int) -> None:
    nested = b'{"message": "m", "thread_id": "t", "metadata": {"a": ' + b"[" * depth + b"]" * depth + b"}}"
    response = client.post("/invocations", content=nested)
    assert readable(client, response)


def test_a_number_beyond_floats_is_either_refused_or_can_be_read_back(client: TestClient) -> None:
    response = client.post("/invocations", content=b'{"message": "m", "thread_id": "t", "metadata": {"a": 1e400}}')
    assert readable(client, response)


def readable(client: TestClient, response: httpx2.Response) -> bool:
    """Whether a turn was refused, or else can be read by every route that shows its record."""
    if response.status_code in (400, 422):
        return turns(client) == []
    paths = (response.headers["location"], "/invocations", "/threads/t")
    answers = [client.get(path, headers={"Accept": "application/json"}) for path in paths]
    return [answer.status_code for answer in answers] == [200, 200, 200]


def test_the_process_says_that_it_is_up_and_ready(shared: TestClient) -> None:
    assert shared.get("/liveness").json() == {"status": "alive"}
    assert shared.get("/readiness").status_code == 200


def test_openapi_builds_and_has_every_route(shared: TestClient) -> None:
    document = shared.get("/openapi.json").json()
    assert {"/invocations", "/invocations/{invocation_id}", "/threads/{thread_id}", "/liveness"} <= set(
        document["paths"]
    )
    assert shared.get("/docs").status_code == 200


def test_a_long_text_is_rendered_beside_what_others_ask(shared: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, answered = threading.Event(), threading.Event()

    def takes_long(markdown: str) -> str:
        begun.set()
        return markdown if answered.wait(30) else "nobody was answered meanwhile"

    monkeypatch.setattr(web_routes, "html_of", takes_long)
    with ThreadPoolExecutor(1) as pool:
        rendered = pool.submit(shared.post, "/web/render", json={"markdown": "text"})
        assert begun.wait(30)
        assert shared.get("/liveness").status_code == 200
        answered.set()
        assert rendered.result().text == "text"
