"""The settings of a run in the page, what is refused of them, what a run has used, and runs that are deleted."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, expect

from tests.acceptance.browser import Looked
from tests.acceptance.client import ResearchClient
from tests.acceptance.conftest import MakeServer
from tests.acceptance.server_process import ServerProcess

pytestmark = pytest.mark.any_backend


def test_a_run_has_the_settings_that_were_filled_in(looked: Looked, client: ResearchClient) -> None:
    page = looked.page
    page.get_by_text("Settings").click()
    expect(page.locator("#set-phases")).to_have_attribute("placeholder", "3")
    expect(page.get_by_label("Model calls a phase")).to_have_accessible_description("1 to 100")
    page.get_by_label("Model calls a phase").fill("1")
    page.get_by_label("Tokens a call").fill("40")
    page.get_by_text("Phases of your own").click()
    page.get_by_label("Titles of the phases").fill("Foundations\n\nSpans\n")
    expect(page.locator("#set-phases")).to_be_disabled()
    invocation = looked.start("Bridges")
    looked.status("completed")
    assert client.record(invocation)["total_phases"] == 2
    expect(page.locator(".phase", has_text="Foundations")).to_be_visible()
    expect(page.locator(".call")).to_have_count(2)


def test_what_the_server_refuses_is_told_at_its_field(looked: Looked, client: ResearchClient) -> None:
    page = looked.page
    page.get_by_text("Settings").click()
    page.fill("#topic", "Bridges")
    page.get_by_label("Model of every call").fill("gpt")
    page.get_by_role("button", name="Start research").click()
    expect(page.get_by_label("Model of every call")).to_be_focused()
    expect(page.get_by_label("Model of every call")).to_have_attribute("aria-invalid", "true")
    expect(page.locator(".field", has=page.locator("#set-model")).locator(".refusal")).to_contain_text(
        "must be offline, or a provider and a model"
    )
    looked.check("refused-setting")
    page.get_by_label("Model of every call").fill("")
    expect(page.locator(".refusal")).to_have_count(0)
    page.get_by_text("Phases of your own").click()
    titles = page.get_by_label("Titles of the phases")
    titles.fill("x" * 201)
    page.get_by_role("button", name="Start research").click()
    expect(titles).to_be_focused()
    expect(titles).to_have_attribute("aria-invalid", "true")
    assert client.request("GET", "/invocations").json()["invocations"] == []


def test_usage_stands_by_role_and_in_money(context: BrowserContext, make_server: MakeServer, tmp_path: Path) -> None:
    prices = tmp_path / "prices.toml"
    prices.write_text('currency = "EUR"\n[models."openai:stub"]\ninput = 1000.0\noutput = 2000.0\n')
    server = make_server(PRICES_FILE=prices)
    server.start()
    looked = Looked(context)
    looked.page.goto(server.url)
    looked.start("Bridges")
    looked.status("completed")
    looked.page.get_by_role("tab", name="Usage").click()
    expect(looked.page.locator(".usage")).to_contain_text("€5.")
    expect(looked.page.get_by_role("row", name="synthesize")).to_be_visible()
    looked.check("usage")
    assert looked.errors == []


def test_a_thread_that_somebody_deletes_leaves_the_list(
    looked: Looked, client: ResearchClient, server: ServerProcess
) -> None:
    first = client.post("Bridges", thread_id="first")["invocation_id"]
    second = client.post("Dams", thread_id="second")["invocation_id"]
    for name in (first, second):
        client.wait_for(name, lambda record: record["ended_at"] is not None)
    looked.page.goto(server.url)
    expect(looked.page.locator(".run-link")).to_have_count(2)
    assert client.request("DELETE", "/threads/first").status_code == 204
    expect(looked.page.locator(".run-link", has_text="Bridges")).to_have_count(0, timeout=20_000)
    expect(looked.page.locator(".run-link", has_text="Dams")).to_have_count(1)
