"""Documents in the page: dropped or chosen, uploaded, searched by a run, used again, deleted."""

from __future__ import annotations

import pytest
from playwright.sync_api import FilePayload, expect

from tests.acceptance.browser import PHONE, Looked
from tests.acceptance.client import ResearchClient

pytestmark = pytest.mark.any_backend

TIDES: FilePayload = {
    "name": "tides.md",
    "mimeType": "text/markdown",
    "buffer": b"# Tides\n\nThe moon raises the tides of the sea twice on every day.\n",
}
BROKEN: FilePayload = {"name": "broken.pdf", "mimeType": "application/pdf", "buffer": b"no PDF"}
HOSTILE: FilePayload = {**TIDES, "name": "<img src=x onerror=window.hacked=1>.md"}
LARGE: FilePayload = {**TIDES, "name": "large.txt", "buffer": b"x" * (10 * 1024 * 1024 + 1)}
DROP = """(place, [name, text]) => {
    const transfer = new DataTransfer();
    transfer.items.add(new File([text], name));
    for (const type of ["dragover", "drop"]) {
        const options = { dataTransfer: transfer, bubbles: true, cancelable: true };
        place.dispatchEvent(new DragEvent(type, options));
    }
}"""


def kept(client: ResearchClient) -> list[str]:
    return [document["name"] for document in client.request("GET", "/documents").json()["documents"]]


def test_a_run_searches_what_was_uploaded(looked: Looked, client: ResearchClient) -> None:
    page = looked.page
    page.set_input_files("#files", [TIDES])
    box = page.get_by_role("checkbox", name="tides.md")
    expect(box).to_be_checked()
    expect(page.locator(".document small")).to_have_text("66 B · 1 passage")
    looked.check("documents-desktop")
    invocation = looked.start("What raises the tides?")
    looked.status("completed")
    page.get_by_role("tab", name="Sources").click()
    expect(page.locator(".source-list li").first).to_contain_text("tides.md")
    assert "tides.md" in str([frame.data for frame in client.read_stream(invocation)])
    page.goto(page.url.split("#")[0])
    expect(box).not_to_be_checked()
    page.set_input_files("#files", [TIDES])
    expect(box).to_be_checked()
    expect(page.locator(".document")).to_have_count(1)
    page.get_by_role("button", name="Delete tides.md").click()
    expect(page.get_by_role("dialog")).to_contain_text("Delete tides.md?")
    assert kept(client) == ["tides.md"]
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(page.locator(".document")).to_have_count(0)
    assert kept(client) == []


def test_what_cannot_be_read_is_told_beside_its_name(looked: Looked, client: ResearchClient) -> None:
    page = looked.page
    page.set_viewport_size(PHONE)  # type: ignore[arg-type]
    page.emulate_media(color_scheme="dark")
    page.set_input_files("#files", [BROKEN, TIDES, HOSTILE])
    expect(page.get_by_role("alert").filter(has_text="broken.pdf cannot be used")).to_be_visible()
    expect(page.get_by_role("checkbox", checked=True)).to_have_count(2)
    expect(page.locator(".document .name", has_text="onerror")).to_be_visible()
    looked.check("documents-phone-dark")
    page.fill("#topic", "What raises the tides?")
    page.get_by_role("button", name="Start research").click()
    expect(page.get_by_role("alert").filter(has_text="broken.pdf was not uploaded")).to_be_visible()
    assert client.request("GET", "/invocations").json()["invocations"] == []
    page.get_by_role("button", name="Take broken.pdf off the list").click()
    expect(page.locator(".document")).to_have_count(2)
    assert page.evaluate("window.hacked") is None
    assert sorted(kept(client)) == sorted([TIDES["name"], HOSTILE["name"]])


def test_files_are_dropped_and_one_too_large_is_not_sent(looked: Looked, client: ResearchClient) -> None:
    page = looked.page
    page.locator(".drop").evaluate(DROP, ["dropped.txt", "The moon raises the tides of the sea."])
    expect(page.get_by_role("checkbox", name="dropped.txt")).to_be_checked()
    page.set_input_files("#files", [LARGE])
    expect(page.get_by_role("alert").filter(has_text="larger than 10 MiB")).to_be_visible()
    assert kept(client) == ["dropped.txt"]


def test_a_refused_choice_says_so_and_starts_nothing(looked: Looked, client: ResearchClient) -> None:
    page = looked.page
    page.set_input_files("#files", [TIDES])
    expect(page.get_by_role("checkbox", name="tides.md")).to_be_checked()
    (document,) = client.request("GET", "/documents").json()["documents"]
    client.request("DELETE", f"/documents/{document['document_id']}")
    page.fill("#topic", "What raises the tides?")
    page.get_by_role("button", name="Start research").click()
    expect(page.get_by_role("alert").filter(has_text="no document of yours has the id")).to_be_visible()
    assert client.request("GET", "/invocations").json()["invocations"] == []
