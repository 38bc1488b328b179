"""With ENCRYPTION_KEY no text of a user, a source or a model is on the disk; what was changed there is not read."""

from __future__ import annotations

import base64
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.acceptance.client import Json, ResearchClient, of_type
from tests.acceptance.conftest import MakeServer
from tests.acceptance.server_process import ServerProcess
from tests.acceptance.stored import Stored
from tests.acceptance.transcript import check_invocation, check_same, model_calls_repeated
from tests.openai_stub.process import ModelStub

KEY = base64.b64encode(bytes(range(32))).decode()
OTHER = base64.b64encode(bytes(range(100, 132))).decode()
SMALL = {"NUM_PHASES": 1, "CALLS_PER_PHASE": 1}
BROKEN = 2

# What is to be found nowhere: of the user, of a source, of the model.
TOPIC, STEER, TITLE, NOTE = "Planted-topic-Aurora", "Planted-steer-Borealis", "Planted-title-Corona", "Planted-note"
SOURCE, ANSWER = "Planted-source-Dawn", "word3 word4"
PLANTED = (TOPIC, STEER, TITLE, NOTE, SOURCE, ANSWER)
CHANGED = ("flipped", "swapped", "moved", "report", "topic", "checkpoint")
KIND, REFUSED = "StoredValueRefused", "A stored value cannot be read"


@contextmanager
def client_of(server: ServerProcess) -> Iterator[ResearchClient]:
    """A client of a server that runs while the context is open; then it is killed."""
    server.start()
    try:
        with ResearchClient(server.url) as client:
            yield client
    finally:
        server.kill()


def found(stored: Stored) -> list[str]:
    return [planted for planted in PLANTED if stored.holds(planted)]


def refused(client: ResearchClient, path: str, words: str = REFUSED) -> None:
    answer = client.request("GET", path, headers={"accept": "text/event-stream, application/json;q=0.5"})
    assert (answer.status_code, answer.headers["content-type"]) == (500, "application/problem+json")
    assert words in answer.json()["detail"]


def wait_for_all(client: ResearchClient, timeout: float = 30) -> dict[str, Json]:
    """The records, when no turn waits or runs any more."""
    deadline = time.monotonic() + timeout
    while True:
        shown = client.request("GET", "/invocations").json()["invocations"]
        if all(one["ended_at"] for one in shown):
            return {one["invocation_id"]: one for one in shown}
        assert time.monotonic() < deadline, shown
        time.sleep(0.02)


def completed(client: ResearchClient, topic: str, thread: str, *, steering: str = "new_topic") -> str:
    name: str = client.post(topic, thread_id=thread, steering=steering)["invocation_id"]
    client.wait_for(name, lambda record: record["status"] == "completed")
    return name


def refused_start(server: ServerProcess, key: str | None) -> str:
    """What a server says that does not start."""
    server.set_env(ENCRYPTION_KEY=key)
    said = len(server.log_text())
    server.spawn()
    assert server.wait_for_exit() == BROKEN
    return server.log_text()[said:]


def test_no_planted_text_is_on_disk_and_a_crash_loses_nothing(
    make_server: MakeServer, stub: ModelStub, tmp_path: Path, database_url: str | None
) -> None:
    documents = tmp_path / "documents"
    documents.mkdir()
    (documents / "aurora.md").write_text(f"# Aurora\n\n{TOPIC} glows: {SOURCE} says so, in green light.\n")
    server = make_server(ENCRYPTION_KEY=KEY, DOCUMENTS_DIR=documents)
    stored = Stored(server.data_dir, database_url)
    stub.hold(after_tokens=5, from_call=3)
    with client_of(server) as client:
        config = {"phases": [TITLE, "Background"]}
        first = client.post(TOPIC, thread_id="line", config=config, metadata={"note": NOTE})["invocation_id"]
        stub.wait_for_calls(3)
        before = client.read_stream(first, until=of_type("token", phase=2))
        server.kill()
        assert found(stored) == []
        stub.release()
        server.start()
        after = check_invocation(client, first)
        check_same(before, after)
        assert model_calls_repeated(after) == 1
        second = completed(client, STEER, "line", steering="guidance")
        told = [*(frame.data or "" for frame in after), str(client.record(first)), str(client.record(second))]
    assert [planted for planted in PLANTED if not any(planted in one for one in told)] == []
    assert stored.holds(first), "the dump is of another database"
    assert found(stored) == []
    assert [secret for secret in (KEY, *PLANTED) if secret in server.log_text()] == []


def test_another_key_or_none_is_refused_and_changes_nothing(make_server: MakeServer, database_url: str | None) -> None:
    server = make_server(ENCRYPTION_KEY=KEY, **SMALL)
    with client_of(server) as client:
        first = completed(client, TOPIC, "line")
        report = client.report(first)
    assert refused_start(server, OTHER).startswith("error: ENCRYPTION_KEY: ")
    assert refused_start(server, None) == (
        "error: ENCRYPTION_KEY: this database is encrypted with the key of fingerprint b8e9428a, and it is unset.\n"
    )
    server.set_env(ENCRYPTION_KEY=f"{OTHER},{KEY}")
    with client_of(server) as client:
        assert client.report(first) == report
        assert client.record(completed(client, STEER, "line", steering="guidance"))["topic"] == TOPIC
    assert refused_start(server, KEY).count("\n") == 1
    server.set_env(ENCRYPTION_KEY=f"{KEY},{OTHER}")
    with client_of(server) as client:
        assert client.report(first) == report


@pytest.mark.any_backend
def test_what_was_begun_without_a_key_stays_so(make_server: MakeServer) -> None:
    server = make_server(**SMALL)
    with client_of(server) as client:
        first = completed(client, TOPIC, "line")
    assert "begun without a key" in refused_start(server, KEY)
    server.set_env(ENCRYPTION_KEY=None)
    with client_of(server) as client:
        assert client.record(first)["topic"] == TOPIC


def test_what_was_changed_is_refused_in_words_and_the_rest_is_served(
    make_server: MakeServer, database_url: str | None
) -> None:
    server = make_server(ENCRYPTION_KEY=KEY, **SMALL)
    stored = Stored(server.data_dir, database_url)
    with client_of(server) as client:
        names = {name: completed(client, TOPIC, f"of-{name}") for name in CHANGED}
        good = completed(client, TOPIC, "untouched")
        whole = client.read_stream(good)
    number = {name: stored.number(invocation) for name, invocation in names.items()}
    stored.flip("events", "data", "n = ? AND seq = 5", number["flipped"])
    stored.swap_events(number["swapped"], 2, 3)
    stored.move_event(number["moved"], stored.number(good), 2)
    stored.flip("reports", "markdown", "n = ?", number["report"])
    stored.flip("invocations", "topic", "n = ?", number["topic"])
    stored.flip_checkpoints("of-checkpoint")
    with client_of(server) as client:
        for name in ("flipped", "swapped", "moved"):
            refused(client, f"/invocations/{names[name]}")
            refused(client, f"/invocations/{names[name]}?last_event_id=1")
        refused(client, f"/invocations/{names['report']}/report")
        refused(client, f"/invocations/{names['topic']}")
        refused(client, "/threads/of-checkpoint", "A checkpoint cannot be decrypted")
        again = client.post(STEER, thread_id="of-checkpoint", steering="guidance")["invocation_id"]
        record = client.wait_for(again, lambda record: record["ended_at"] is not None)
        assert (record["status"], record["error"]["type"]) == ("failed", "CheckpointRefused")
        shown = client.request("GET", "/invocations").json()["invocations"]
        assert [one["error"]["type"] for one in shown if one["invocation_id"] == names["topic"]] == [KIND]
        assert client.read_stream(good) == whole
        assert [client.request("DELETE", f"/threads/of-{name}").status_code for name in CHANGED] == [204] * len(CHANGED)
    assert "Traceback" not in server.log_text()


def test_a_waiting_turn_that_was_changed_fails_and_the_next_one_runs(
    make_server: MakeServer, stub: ModelStub, database_url: str | None
) -> None:
    server = make_server(ENCRYPTION_KEY=KEY, MAX_CONCURRENT_RUNS=1, **SMALL)
    stored = Stored(server.data_dir, database_url)
    stub.hold(after_tokens=1)
    with client_of(server) as client:
        running, changed, waiting = (client.post(TOPIC, thread_id=name)["invocation_id"] for name in "abc")
        stub.wait_for_calls(1)
    stored.flip("invocations", "message", "id = ?", changed)
    stored.flip("events", "data", "n = ?", stored.number(running))
    stub.release()
    with client_of(server) as client:
        client.wait_for(waiting, lambda record: record["status"] == "completed")
        listed = wait_for_all(client)
        assert [(listed[name]["status"], listed[name]["error"]["type"]) for name in (running, changed)] == [
            ("failed", KIND),
            ("failed", KIND),
        ]
    assert "Traceback" not in server.log_text()
