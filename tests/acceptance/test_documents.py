"""Documents over HTTP: uploaded, searched and cited by the runs that name them, seen by their key alone."""

from __future__ import annotations

import re
import zlib
from pathlib import Path

import httpx2
import pytest

from tests.acceptance.client import Json, ResearchClient, of_type
from tests.acceptance.conftest import MakeServer
from tests.acceptance.server_process import ServerProcess
from tests.acceptance.stored import Stored
from tests.acceptance.test_encryption import KEY
from tests.acceptance.test_keys import ALICE, BOB, of
from tests.acceptance.transcript import check_invocation
from tests.openai_stub.process import ModelStub

TIDES = "# Tides\n\nThe moon raises the tides of the sea twice on every day, says Planted-source-Tides.\n"
MIB = 1024 * 1024
UNKNOWN = f"doc_{0:032x}"
SMALL = {"phases": 1, "calls_per_phase": 1}
HOLLOW_PDF = (
    b"%%PDF-1.4\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj 2 0 obj<</Type/Pages/Kids[3 0 R]/Count 1>>endobj"
    b" 3 0 obj<</Type/Page/Parent 2 0 R/Contents 4 0 R>>endobj\n4 0 obj<</Filter/FlateDecode/Length %d>>stream\n%s\n"
    b"endstream endobj\ntrailer<</Root 1 0 R>>"
)


def upload(client: ResearchClient, name: str, content: str | bytes) -> httpx2.Response:
    return client.request("POST", "/documents", params={"name": name}, content=content)


def uploaded(client: ResearchClient, name: str, content: str | bytes) -> str:
    answer = upload(client, name, content)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["document_id"])


def kept(client: ResearchClient) -> list[str]:
    return [one["document_id"] for one in client.request("GET", "/documents").json()["documents"]]


def refused(answer: httpx2.Response, status: int, field: str | None = None) -> Json:
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json"), answer.text
    problem: Json = answer.json()
    assert field is None or [error["field"] for error in problem["errors"]] == [field]
    return problem


def completed(client: ResearchClient, message: str, documents: list[str] | None, thread: str) -> Json:
    config = SMALL if documents is None else {**SMALL, "documents": documents}
    name = client.post(message, thread_id=thread, config=config)["invocation_id"]
    record = client.wait_for(name, lambda record: record["ended_at"] is not None)
    assert record["status"] == "completed", record
    return record


def sources_of(client: ResearchClient, record: Json) -> str:
    return "\n".join(
        frame.data or "" for frame in client.read_stream(record["invocation_id"]) if of_type("sources")(frame)
    )


def report_of(client: ResearchClient, record: Json) -> str:
    """Without the backslashes that keep Markdown from taking names for its marks."""
    return client.report(record["invocation_id"]).replace("\\", "")


def test_uploaded_listed_and_deleted(client: ResearchClient) -> None:
    answer = upload(client, "tides.md", TIDES)
    record = answer.json()
    assert answer.status_code == 201
    assert re.fullmatch(r"doc_[0-9a-f]{32}", record["document_id"])
    assert (record["name"], record["size_bytes"], record["passages"]) == ("tides.md", len(TIDES), 1)
    assert answer.headers["location"] == f"/documents/{record['document_id']}"
    again = upload(client, "tides.md", TIDES)
    assert (again.status_code, again.json()) == (200, record)
    other = uploaded(client, "other name.TXT", TIDES)
    assert kept(client) == [other, record["document_id"]]
    assert client.request("GET", answer.headers["location"]).json() == record
    assert client.request("DELETE", answer.headers["location"]).status_code == 204
    for method in ("GET", "DELETE"):
        refused(client.request(method, answer.headers["location"]), 404)
    assert kept(client) == [other]


def test_what_cannot_be_kept_is_refused_in_words(client: ResearchClient) -> None:
    for name in ("", "tides", "tides.exe", "a/b.md", "a\\b.md", "a\0.md", "a\u202e.md", f"{'a' * 198}.md"):
        refused(upload(client, name, TIDES), 422, "name")
    refused(client.request("POST", "/documents", content=TIDES), 422, "name")
    for content in (b"", b"\xff\x00\xff no text", b" \n "):
        refused(upload(client, "notes.txt", content), 422, "body")
    assert "it has no text" in refused(upload(client, "notes.txt", b" \n "), 422, "body")["detail"]
    refused(upload(client, "paper.pdf", b"no PDF"), 422, "body")
    hollow = zlib.compress(b" " * (3 * 1024 * MIB // 4), 1)
    assert len(hollow) < 10 * MIB
    refused(upload(client, "bomb.pdf", HOLLOW_PDF % (len(hollow), hollow)), 422, "body")
    assert kept(client) == []
    uploaded(client, "largest.txt", b"word " * (2 * MIB))


@pytest.mark.any_backend
def test_a_document_too_large_is_refused(client: ResearchClient) -> None:
    large = b"x" * (10 * MIB + 1)
    assert refused(upload(client, "a.txt", large), 413)["detail"] == "The document is larger than 10 MiB."
    chunks = (large[at : at + MIB] for at in range(0, len(large), MIB))
    refused(client.request("POST", "/documents", params={"name": "a.txt"}, content=chunks), 413)
    assert kept(client) == []


def test_a_run_cites_the_documents_that_it_names_over_a_kill(
    server: ServerProcess, client: ResearchClient, stub: ModelStub
) -> None:
    document, other = (
        uploaded(client, "tides.md", TIDES),
        uploaded(client, "left out.md", TIDES.replace("Tides", "Ebb")),
    )
    stub.hold(after_tokens=3)
    config = {"phases": 2, "calls_per_phase": 1, "documents": [document]}
    name = client.post("What raises the tides?", thread_id="sea", config=config)["invocation_id"]
    stub.wait_for_calls(1)
    server.kill()
    stub.release()
    server.start()
    frames = check_invocation(client, name)
    # What ships with the server is searched where a run has nothing of its own.
    sources = [frame.data for frame in frames if frame.data and '"type":"sources"' in frame.data]
    assert sources
    assert all(f"{document}/tides.md" in source and source.count('"url"') == 1 for source in sources)
    assert not any(other in (frame.data or "") for frame in frames)
    assert 'title="Tides"' in stub.take_calls()[0].last_user
    # The thread goes on with it, until another choice is made.
    assert f"{document}/tides.md" in sources_of(client, completed(client, "Tides again", None, "sea"))
    assert document not in sources_of(client, completed(client, "Deserts", [], "sea"))


def test_a_run_goes_on_without_a_document_that_was_deleted(client: ResearchClient, stub: ModelStub) -> None:
    document = uploaded(client, "tides.md", TIDES)
    stub.hold(after_tokens=3)
    config = {"phases": 2, "calls_per_phase": 1, "documents": [document]}
    name = client.post("What raises the tides?", config=config)["invocation_id"]
    stub.wait_for_calls(1)
    assert client.request("DELETE", f"/documents/{document}").status_code == 204
    stub.release()
    check_invocation(client, name)
    assert f"{document}/tides.md" in sources_of(client, client.record(name))
    assert f"{document} could not be read: it was deleted." in report_of(client, client.record(name))


def test_unknown_documents_are_refused_and_nothing_starts(client: ResearchClient) -> None:
    for documents in ([UNKNOWN], ["doc_1"], "doc", [1], [UNKNOWN] * 51):
        answer = client.request("POST", "/invocations", json={"message": "Tides", "config": {"documents": documents}})
        assert refused(answer, 422)["errors"][0]["field"].startswith("config.documents")
    assert (
        UNKNOWN
        in client.request("POST", "/invocations", json={"message": "Tides", "config": {"documents": [UNKNOWN]}}).json()[
            "detail"
        ]
    )
    assert client.request("GET", "/invocations").json()["invocations"] == []


def test_each_key_has_its_own(make_server: MakeServer) -> None:
    server = make_server(API_KEYS=f"alice:{ALICE},bob:{BOB}", RESEARCH_MODEL="offline")
    server.start()
    with of(server, ALICE) as alice, of(server, BOB) as bob:
        document = uploaded(alice, "tides.md", TIDES)
        for method in ("GET", "DELETE"):
            assert (
                refused(bob.request(method, f"/documents/{document}"), 404)["detail"]
                == (refused(bob.request(method, f"/documents/{UNKNOWN}"), 404)["detail"])
            )
        run = {"message": "Tides", "config": {**SMALL, "documents": [document]}}
        refused(bob.request("POST", "/invocations", json=run), 422)
        assert kept(bob) == []
        assert uploaded(bob, "tides.md", TIDES) != document
        assert f"{document}/tides.md" in report_of(alice, completed(alice, "Tides", [document], "t"))
        with ResearchClient(server.url) as nobody:
            refused(upload(nobody, "tides.md", TIDES), 401)


def test_with_an_encryption_key_no_file_holds_a_document(
    make_server: MakeServer, tmp_path: Path, database_url: str | None
) -> None:
    server = make_server(ENCRYPTION_KEY=KEY, RESEARCH_MODEL="offline")
    server.start()
    stored = Stored(server.data_dir, database_url)
    with ResearchClient(server.url) as client:
        document = uploaded(client, "planted-name.md", TIDES)
        assert upload(client, "planted-name.md", TIDES).status_code == 200
        report = report_of(client, completed(client, "Tides", [document], "t"))
        assert "planted-name.md" in report
        server.kill()
        for text in ("Planted-source-Tides", "planted-name"):
            assert not stored.holds(text)
        assert stored.holds(document), "the dump is of another database"
        stored.flip("documents", "name", "id = ?", document)
        server.start()
        (record,) = client.request("GET", "/documents").json()["documents"]
        assert record["name"] == "(cannot be decrypted)"
        report = report_of(client, completed(client, "Tides", [document], "t"))
        assert f"{document} could not be read: it cannot be decrypted." in report
        assert client.request("DELETE", f"/documents/{document}").status_code == 204
