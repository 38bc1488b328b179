"""Reports in every form, usage by role and phase, models by role and other searches: from outside, over HTTP."""

from __future__ import annotations

import ctypes.util
import io
import re
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.acceptance.client import Json, ResearchClient
from tests.acceptance.server_process import ServerProcess
from tests.acceptance.transcript import check_invocation, events
from tests.openai_stub.process import ModelStub
from tests.search_stub import SearchStub

pytestmark = pytest.mark.any_backend

MakeServer = Callable[..., ServerProcess]


def finished(
    server: ServerProcess, message: str = "How do agents survive crashes?", config: Json | None = None
) -> tuple[str, list[Json]]:
    with ResearchClient(server.url, timeout=60) as client:
        invocation = client.post(message, config=config or {})["invocation_id"]
        return invocation, events(check_invocation(client, invocation))


def got(server: ServerProcess, invocation: str, form: str) -> tuple[int, dict[str, str], bytes]:
    with ResearchClient(server.url, timeout=120) as client:
        answer = client.request("GET", f"/invocations/{invocation}/report", params={"format": form})
        return answer.status_code, dict(answer.headers), answer.content


@pytest.fixture
def offline(make_server: MakeServer) -> ServerProcess:
    server = make_server(RESEARCH_MODEL="offline")
    server.start()
    return server


def test_the_report_is_there_in_every_form(offline: ServerProcess) -> None:
    invocation, _ = finished(offline)
    with ResearchClient(offline.url) as client:
        whole = client.request("GET", f"/invocations/{invocation}/report", params={"format": "json"}).json()
        markdown = client.report(invocation)
    report = whole["report"]
    assert whole["partial"] is False
    assert whole["markdown"] == markdown
    assert report["title"] == "How do agents survive crashes?"
    assert [section["title"] for section in report["sections"]][-1] == "Recommendations"
    assert report["summary"]
    assert report["recommendations"]
    assert report["making"]["models"] == ["offline"]
    cited = {number for source in report["sources"] for number in source["numbers"]}
    text = report["summary"] + "".join(section["text"] for section in report["sections"])
    assert {int(number) for number in re.findall(r"\[(\d+)\]", text)} == cited
    assert report["verification"]["removed_citations"] == 0
    assert report["verification"]["quotations"] == report["verification"]["verified_quotations"] > 5
    _check_html(*got(offline, invocation, "html"), cited=cited)
    status, headers, pdf = got(offline, invocation, "pdf")
    if ctypes.util.find_library("pangoft2-1.0"):
        assert (status, headers["content-type"], pdf[:5]) == (200, "application/pdf", b"%PDF-")
    else:
        assert status == 501
        assert b"apt-get install libpango" in pdf
    status, headers, docx = got(offline, invocation, "docx")
    assert status == 200
    document = zipfile.ZipFile(io.BytesIO(docx)).read("word/document.xml").decode()
    assert "How do agents survive crashes?" in document
    assert "Recommendations" in document


def _check_html(status: int, headers: dict[str, str], content: bytes, *, cited: set[int]) -> None:
    html = content.decode()
    assert status == 200
    assert headers["content-type"] == "text/html; charset=utf-8"
    assert "default-src 'none'" in headers["content-security-policy"]
    assert html.startswith("<!doctype html>")
    assert "<script" not in html
    assert "http://" not in html
    links = set(re.findall(r'href="#source-(\d+)"', html))
    assert links == {str(number) for number in cited}
    assert links == set(re.findall(r'id="source-(\d+)"', html)), "every citation leads to its source"


@pytest.mark.parametrize("form", ["rtf", "HTML", ""])
def test_another_form_is_refused(offline: ServerProcess, form: str) -> None:
    invocation, _ = finished(offline)
    status, _, body = got(offline, invocation, form)
    assert status == 422
    assert b"format" in body


@pytest.mark.parametrize("form", ["html", "json", "docx"])
def test_a_partial_report_says_so_in_every_form(
    server: ServerProcess, client: ResearchClient, stub: ModelStub, form: str
) -> None:
    stub.hold(after_tokens=5, from_call=3)
    invocation = client.post("Bridges")["invocation_id"]
    stub.wait_for_calls(1, state="held")
    status, _, body = got(server, invocation, form)
    assert status == 200
    if form in ("html", "json"):
        assert b"partial" in body
        assert b"still under way" in body
    client.cancel(invocation, mode="now")
    client.wait_for(invocation, lambda record: record["status"] == "cancelled")
    assert got(server, invocation, form)[0] == 200
    stub.release()


def test_usage_is_told_by_role_and_phase_with_what_it_costs(make_server: MakeServer, tmp_path: Path) -> None:
    prices = tmp_path / "prices.toml"
    prices.write_text('currency = "EUR"\n[models."openai:stub"]\ninput = 1000000\noutput = 0\n')
    server = make_server(PRICES_FILE=prices)
    server.start()
    invocation, told = finished(server)
    with ResearchClient(server.url) as client:
        usage = client.record(invocation)["usage"]
        report = client.request("GET", f"/invocations/{invocation}/report", params={"format": "json"}).json()["report"]
    ends = [event for event in told if event["type"] == "subcall_end"]
    assert {event["model"] for event in ends} == {"openai:stub"}
    for kind in ("input_tokens", "output_tokens"):
        whole = sum(event["usage"][kind] for event in ends)
        assert usage[kind] == whole
        assert sum(used[kind] for used in usage["by_role"].values()) == whole
        assert sum(used[kind] for used in usage["by_phase"].values()) == whole
        assert sum(event["usage"][kind] for event in told if event["type"] == "phase_end") == whole
        assert told[-1]["usage"][kind] == whole
        assert sum(used[kind] for used in told[-1]["usage_by_role"].values()) == whole
    assert set(usage["by_role"]) == {"research", "synthesize"}
    assert set(usage["by_phase"]) == {"1", "2", "3"}
    assert usage["cost"] == {"amount": float(usage["input_tokens"]), "currency": "EUR", "unpriced": []}
    assert told[-1]["cost"] == report["making"]["usage"]["cost"] == usage["cost"]


def test_a_role_has_its_own_model_address_and_key(make_server: MakeServer, stub: ModelStub) -> None:
    with ModelStub(tokens=5) as other:
        server = make_server(
            RESEARCH_MODEL_SYNTHESIZE="openai:other",
            OPENAI_BASE_URL_SYNTHESIZE=other.base_url,
            OPENAI_API_KEY_SYNTHESIZE="sk-other-secret",
        )
        server.start()
        _, told = finished(server)
        assert [call.model for call in stub.calls()] == ["stub"] * 3
        assert [call.model for call in other.calls()] == ["other"] * 3
        models = {(event["role"], event["model"]) for event in told if event["type"] == "subcall_end"}
        assert models == {("research", "openai:stub"), ("synthesize", "openai:other")}
        assert "secret" not in server.log_text()


def test_a_request_names_models_by_role(server: ServerProcess, stub: ModelStub) -> None:
    finished(server, config={"phases": 1, "models": {"research": "openai:one", "synthesize": "openai:two"}})
    assert [call.model for call in stub.calls()] == ["one", "two"]
    with ResearchClient(server.url) as client:
        answer = client.request(
            "POST", "/invocations", json={"message": "x", "config": {"models": {"poet": "offline"}}}
        )
    assert answer.status_code == 422
    assert "models" in answer.text


@pytest.fixture
def searxng() -> Iterator[SearchStub]:
    with SearchStub().serving() as found:
        yield found


def test_a_web_search_is_asked_and_told(make_server: MakeServer, searxng: SearchStub) -> None:
    server = make_server(RESEARCH_MODEL="offline", SEARCH="searxng,documents", SEARXNG_URL=searxng.url, FETCH_PAGES=0)
    server.start()
    invocation, told = finished(server, "What does the Arven station cost?")
    sources = [event for event in told if event["type"] == "sources"]
    assert len(sources) == 3
    assert {item["origin"] for event in sources for item in event["items"]} == {"searxng", "documents"}
    assert {search["engine"] for event in sources for search in event["searches"]} == {"searxng", "documents"}
    assert any("Arven" in each["q"] for each in searxng.asked)
    with ResearchClient(server.url) as client:
        assert "<https://arven.example/" in client.report(invocation)


@pytest.mark.parametrize("name", ["tavily", "openai"])
def test_a_search_with_a_key_is_asked_and_its_key_stays_secret(
    make_server: MakeServer, searxng: SearchStub, name: str
) -> None:
    secret = "sk-search-secret"
    settings: dict[str, dict[str, object]] = {
        "tavily": {"TAVILY_API_KEY": secret, "TAVILY_BASE_URL": searxng.url},
        "openai": {
            "OPENAI_API_KEY": secret,
            "OPENAI_BASE_URL": f"{searxng.url}/v1",
            "SEARCH_MODEL": "openai:gpt-5",
            "FETCH_PAGES": 1,
        },
    }
    server = make_server(RESEARCH_MODEL="offline", SEARCH=name, NUM_PHASES=1, **settings[name])
    server.start()
    invocation, told = finished(server, "What does the Arven station cost?")
    assert set(searxng.keys) == {f"Bearer {secret}"}
    (sources,) = (event for event in told if event["type"] == "sources")
    assert {item["origin"] for item in sources["items"]} == {name}
    with ResearchClient(server.url) as client:
        usage, report = client.record(invocation)["usage"], client.report(invocation)
    asked = {"input_tokens": 1200 * len(searxng.asked), "output_tokens": 80 * len(searxng.asked)}
    assert usage["by_role"].get("search") == (asked if name == "openai" else None)
    assert told[-1]["usage_by_role"].get("search") == usage["by_role"].get("search")
    # There is no such name: the page cannot be read, and the search's own words stand.
    assert ("Pages that could not be read" in report) == (name == "openai")
    assert secret not in server.log_text() + report + str(told)


def test_a_search_that_fails_stands_in_the_report(make_server: MakeServer, searxng: SearchStub) -> None:
    searxng.failures = [403] * 20
    server = make_server(RESEARCH_MODEL="offline", SEARCH="searxng", SEARXNG_URL=searxng.url)
    server.start()
    invocation, told = finished(server)
    assert all(event["items"] == [] for event in told if event["type"] == "sources")
    assert all(search["error"] for event in told if event["type"] == "sources" for search in event["searches"])
    with ResearchClient(server.url) as client:
        report = client.report(invocation)
    assert "The search by searxng failed: SearXNG refused (403)" in report
    assert "found nothing: its text rests on no source" in report
    assert "secret" not in report


def test_files_that_cannot_be_read_stand_in_the_report(make_server: MakeServer, tmp_path: Path) -> None:
    folder = tmp_path / "documents"
    folder.mkdir()
    (folder / "good.md").write_text(
        "# Crashes\n\nAgents survive crashes by checkpoints that are on disk before they go on."
    )
    (folder / "broken.pdf").write_bytes(b"%PDF-1.4 nothing")
    server = make_server(RESEARCH_MODEL="offline", DOCUMENTS_DIR=folder)
    server.start()
    invocation, _ = finished(server)
    with ResearchClient(server.url) as client:
        report = client.report(invocation)
    assert report.count("broken.pdf could not be read: it is not a readable PDF.") == 1
    assert "checkpoints that are on disk" in report


@pytest.mark.parametrize(
    ("name", "value", "hint"),
    [
        ("SEARCH", "tavily", "TAVILY_API_KEY"),
        ("SEARCH", "google", "unknown"),
        ("RESEARCH_MODEL_CRITIQUE", "gpt", "RESEARCH_MODEL_CRITIQUE"),
        ("PRICES_FILE", "/nowhere.toml", "cannot be read"),
    ],
)
def test_a_wrong_setting_is_one_sentence(make_server: MakeServer, name: str, value: str, hint: str) -> None:
    server = make_server(cold=True, **{name: value})
    server.spawn()
    assert server.wait_for_exit() == 2
    assert server.log_text().startswith(f"error: {name}: ")
    assert hint in server.log_text()
    assert "Traceback" not in server.log_text()
