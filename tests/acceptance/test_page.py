"""The web page in a real browser: a whole run, a steer, what it used, hostile text, a phone, accessibility."""

from __future__ import annotations

from pathlib import Path

import httpx2
import pytest
from playwright.sync_api import BrowserContext, expect

from tests.acceptance.browser import DESKTOP, PHONE, Looked
from tests.acceptance.client import ResearchClient, of_type
from tests.acceptance.conftest import MakeServer
from tests.acceptance.server_process import ServerProcess
from tests.acceptance.transcript import check_invocation, subcall_texts
from tests.openai_stub.process import ModelStub

HOSTILE = (
    '<script>window.hacked=1</script><img src=x onerror="window.hacked=1">[click](javascript:window.hacked=1) '
    "<svg onload=window.hacked=1> ![x](https://example.org/track.png) <style>body{display:none}</style>"
)

pytestmark = pytest.mark.any_backend


def test_a_whole_run(looked: Looked, client: ResearchClient) -> None:
    page = looked.page
    expect(page.get_by_text("No runs yet")).to_be_visible()
    looked.shot("home-empty")
    invocation = looked.start("What keeps bridges up?")
    looked.status("completed")
    expect(page.locator(".phase.done")).to_have_count(3)
    expect(page.get_by_role("tab", name="Report")).to_have_attribute("aria-selected", "true")
    expect(page.locator(".report h2", has_text="Sources")).to_be_visible()
    assert page.title().startswith("Completed")
    frames = check_invocation(client, invocation)
    page.locator(".call").nth(2).click()
    expect(page.locator(".text-scroll .prose", has_text=subcall_texts(frames)[2, 1].split()[-1])).to_be_visible()
    page.get_by_role("tab", name="Sources").click()
    expect(page.locator(".source-list li").first).to_be_visible()
    looked.shot("run-sources")
    page.goto(page.url.split("#")[0])
    expect(page.locator(".run-link")).to_have_count(1)
    looked.shot("home")


def test_a_run_is_steered(looked: Looked, client: ResearchClient, stub: ModelStub) -> None:
    page = looked.page
    stub.hold(after_tokens=3, from_call=3)
    first = looked.start("Bridges")
    stub.wait_for_calls(1, state="held")
    page.get_by_role("button", name="Steer", exact=True).click()
    page.fill("#steer-message", "Only steel bridges")
    looked.shot("steer")
    page.locator("dialog").get_by_role("button", name="Steer").click()
    page.wait_for_function("first => !location.hash.endsWith(first)", arg=first)
    stub.release()
    looked.status("completed")
    second = page.url.rsplit("/", 1)[1]
    assert client.record(first)["superseded_by"] == second
    expect(page.locator(".phase-fact", has_text="kept")).to_have_count(1)
    assert "Only steel bridges" in client.report(second)
    page.go_back()
    looked.status("superseded")
    page.get_by_role("link", name="Go to the run that replaced it").click()
    page.wait_for_url(f"**/#/runs/{second}")


def test_a_run_is_stopped_and_resumed(looked: Looked, client: ResearchClient, stub: ModelStub) -> None:
    page = looked.page
    stub.hold(after_tokens=3, from_call=2)
    stopped = looked.start("Bridges")
    stub.wait_for_calls(1, state="held")
    page.get_by_role("button", name="Stop", exact=True).click()
    page.get_by_role("button", name="Stop now").click()
    looked.status("cancelled")
    stub.release()
    page.get_by_role("button", name="Resume").click()
    page.wait_for_function("id => !location.hash.endsWith(id)", arg=stopped)
    looked.status("completed")
    check_invocation(client, page.url.rsplit("/", 1)[1])


def test_a_cooldown_counts_down(context: BrowserContext, make_server: MakeServer) -> None:
    server = make_server(INTRA_PHASE_COOLDOWN_SEC=3600)
    server.start()
    looked = Looked(context)
    looked.page.goto(server.url)
    looked.start("Bridges")
    countdown = looked.page.locator(".doing", has_text="Cooldown: next call in")
    expect(countdown).to_be_visible()
    first = countdown.inner_text()
    expect(countdown).not_to_have_text(first)
    assert looked.errors == []


def test_hostile_text_runs_nothing_and_loads_nothing(
    context: BrowserContext, make_server: MakeServer, tmp_path: Path
) -> None:
    documents = tmp_path / "documents"
    documents.mkdir()
    (documents / "tides.md").write_text(f"# Tides {HOSTILE}\n\n## Tides {HOSTILE}\n\nTides of the sea. {HOSTILE}\n")
    server = make_server(DOCUMENTS_DIR=documents, RESEARCH_MODEL="offline")
    server.start()
    looked = Looked(context)
    asked: list[str] = []
    looked.page.on("request", lambda request: asked.append(request.url))
    looked.page.goto(server.url)
    looked.start(f"Tides {HOSTILE}")
    looked.status("completed")
    for tab in ("Sources", "Activity", "Text", "Report"):
        looked.page.get_by_role("tab", name=tab).click()
        looked.shot(f"hostile-{tab.lower()}")
    expect(looked.page.locator(".report h2", has_text="Sources")).to_be_visible()
    links = looked.page.eval_on_selector_all("a", "links => links.map(link => link.protocol)")
    assert set(links) <= {"http:", "https:", "mailto:"}
    assert looked.page.locator("main script, main style, main img, main svg").count() == 0
    assert looked.page.evaluate("window.hacked") is None
    looked.page.goto(f"{server.url}/")
    expect(looked.page.locator(".run-link")).to_have_count(1)
    assert looked.page.evaluate("window.hacked") is None
    assert [url for url in asked if not url.startswith(server.url)] == []
    assert looked.errors == []


INSERTED = [
    "const s = document.createElement('script'); s.src = 'https://example.org/x.js'; document.body.append(s)",
    "const s = document.createElement('script'); s.textContent = 'window.hacked = 1'; document.body.append(s)",
    "document.body.innerHTML = '<img src=x onerror=window.hacked=1>'",
    "document.body.setAttribute('onclick', 'window.hacked = 1'); document.body.click()",
]


@pytest.mark.parametrize("script", INSERTED)
def test_the_policy_stops_a_script_that_gets_into_the_page(looked: Looked, script: str) -> None:
    refused = looked.page.evaluate(f"() => {{ try {{ {script} }} catch (error) {{ return String(error); }} }}")
    assert looked.page.evaluate("window.hacked") is None
    assert refused or looked.errors, "the browser refused nothing"
    looked.errors.clear()


def test_citations_lead_to_their_sources_and_back(context: BrowserContext, make_server: MakeServer) -> None:
    server = make_server(RESEARCH_MODEL="offline")
    server.start()
    looked = Looked(context)
    looked.page.goto(server.url)
    looked.start("How do agents survive crashes?")
    looked.status("completed")
    citation = looked.page.locator(".citation").first
    number = citation.inner_text()
    citation.focus()
    looked.page.keyboard.press("Enter")
    expect(looked.page.locator(f"#source-{number}")).to_be_focused()
    looked.page.get_by_role("button", name="Back to the text").click()
    expect(citation).to_be_focused()
    with looked.page.expect_download() as download:
        looked.page.get_by_role("link", name="Download").click()
    assert download.value.path().read_text().startswith("# Research report")
    looked.shot("report")
    assert looked.errors == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_accessible_in_every_view_and_never_wider_than_its_window(
    looked: Looked, scheme: str, size: dict[str, int]
) -> None:
    page = looked.page
    page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
    page.set_viewport_size(size)  # type: ignore[arg-type]
    name = f"{'phone' if size is PHONE else 'desktop'}-{scheme}"
    page.get_by_text("Settings").click()
    looked.check(f"home-{name}")
    looked.start("What keeps bridges up? " + "Averyveryverylongwordwithoutanyspace" * 6)
    looked.status("completed")
    for tab in ("Report", "Sources", "Activity", "Text"):
        page.get_by_role("tab", name=tab).click()
        looked.check(f"{tab.lower()}-{name}")
    page.get_by_role("button", name="Ask a follow-up").click()
    looked.check(f"dialog-{name}")


def test_a_run_is_started_and_read_with_the_keyboard_alone(looked: Looked) -> None:
    page = looked.page
    page.keyboard.press("Tab")
    expect(page.get_by_text("Skip to the content")).to_be_focused()
    page.locator("#topic").focus()
    page.keyboard.type("Bridges")
    page.keyboard.press("Control+Enter")
    looked.status("completed")
    page.get_by_role("tab", name="Report").focus()
    page.keyboard.press("ArrowRight")
    expect(page.get_by_role("tab", name="Sources")).to_be_focused()
    expect(page.locator(".source-list li").first).to_be_visible()


def test_smooth_with_a_hundred_thousand_tokens(looked: Looked, stub: ModelStub) -> None:
    """At the stub's full speed, and no frame of the page holds the thread for long."""
    page = looked.page
    stub.control(tokens=16_000)
    page.evaluate(
        """() => { window.longest = 0; new PerformanceObserver(list => { for (const entry of list.getEntries())
        window.longest = Math.max(window.longest, entry.duration); }).observe({entryTypes: ['longtask']}); }"""
    )
    looked.start("Bridges")
    looked.status("completed", timeout=120_000)
    page.locator(".call").nth(3).click()
    expect(page.locator(".text-scroll")).to_contain_text("word15999")
    assert page.evaluate("window.longest") < 1000
    # However much came, the page holds one call's text.
    assert page.locator(".text-scroll *").count() < 1000


def test_the_page_is_validated_and_guarded(server: ServerProcess) -> None:
    for path in ("/", "/web/app.js", "/web/base.css"):
        first = httpx2.get(f"{server.url}{path}", trust_env=False)
        assert first.status_code == 200
        policy = first.headers["content-security-policy"]
        assert "script-src 'self';" in policy
        assert "unsafe" not in policy
        assert first.headers["x-content-type-options"] == "nosniff"
        again = httpx2.get(f"{server.url}{path}", headers={"If-None-Match": first.headers["etag"]}, trust_env=False)
        assert (again.status_code, again.content) == (304, b"")
    assert httpx2.get(f"{server.url}/web/none.js", trust_env=False).status_code == 404
    assert httpx2.get(f"{server.url}/web/..%2f..%2fpyproject.toml", trust_env=False).status_code == 404
    assert httpx2.post(f"{server.url}/web/render", json={"markdown": 5}, trust_env=False).status_code == 422


def test_the_page_of_the_api_is_the_server_s_own(context: BrowserContext, make_server: MakeServer) -> None:
    server = make_server(API_KEYS="alice:alice-planted-key-0123456789")
    server.start()
    looked, asked = Looked(context), list[str]()
    looked.page.on("request", lambda request: asked.append(request.url))
    answer = looked.page.goto(f"{server.url}/docs")
    assert answer
    assert "script-src 'self';" in answer.headers["content-security-policy"]
    assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
    expect(looked.page.locator(".opblock-summary-path", has_text="/invocations/{invocation_id}/report")).to_be_visible()
    looked.page.locator(".opblock-summary-path", has_text="/readiness").click()
    looked.page.get_by_role("button", name="Try it out").click()
    looked.page.get_by_role("button", name="Execute").click()
    expect(looked.page.locator(".live-responses-table .microlight").first).to_contain_text("ready")
    looked.shot("api-docs")
    assert [url for url in asked if not url.startswith((server.url, "data:"))] == []
    assert looked.errors == []
    assert httpx2.get(f"{server.url}/redoc", trust_env=False).status_code == 401


def test_events_past_their_retention_leave_the_report(
    context: BrowserContext, make_server: MakeServer, stub: ModelStub
) -> None:
    server = make_server(EVENT_TTL_SEC=0.05)
    server.start()
    with ResearchClient(server.url) as client:
        invocation = client.post("Bridges")["invocation_id"]
        client.read_stream(invocation, until=of_type("run_complete"))
        client.wait_for(invocation, lambda record: bool(record["status"] == "completed"))
    looked = Looked(context)
    looked.page.goto(f"{server.url}/#/runs/{invocation}")
    looked.status("completed")
    expect(looked.page.locator(".report h2", has_text="Sources")).to_be_visible()
    assert looked.errors == []
