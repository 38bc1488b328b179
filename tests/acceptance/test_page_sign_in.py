"""The page of a server with API keys: signing in, whose runs are seen, a key that is revoked under it, signing out."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, BrowserContext, expect

from tests.acceptance.browser import DESKTOP, PHONE, Looked
from tests.acceptance.client import ResearchClient
from tests.acceptance.conftest import MakeServer
from tests.acceptance.server_process import ServerProcess
from tests.acceptance.transcript import check_invocation
from tests.openai_stub.process import ModelStub

ALICE, BOB = "alice-planted-key-0123456789", "bob-planted-key-0123456789abc"

pytestmark = pytest.mark.any_backend


@pytest.fixture
def keyed(make_server: MakeServer) -> ServerProcess:
    """A server with a file of two keys, which can be changed under it."""
    file = make_server().data_dir.with_name("own-keys")
    file.write_text(f"alice:{ALICE}\nbob:{BOB}\n")
    server = make_server(API_KEYS=file)
    server.start()
    return server


@pytest.fixture
def looked(context: BrowserContext, keyed: ServerProcess) -> Iterator[Looked]:
    looked = Looked(context)
    looked.page.goto(keyed.url)
    yield looked
    assert looked.errors == []


def sign_in(looked: Looked, key: str) -> None:
    looked.page.get_by_label("API key").fill(key)
    looked.page.get_by_role("button", name="Sign in").click()


def as_alice(server: ServerProcess) -> ResearchClient:
    return ResearchClient(server.url, headers={"Authorization": f"Bearer {ALICE}"})


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_a_wrong_key_is_told_and_a_good_one_lets_in(looked: Looked, scheme: str, size: dict[str, int]) -> None:
    page = looked.page
    page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
    page.set_viewport_size(size)  # type: ignore[arg-type]
    name = f"{'phone' if size is PHONE else 'desktop'}-{scheme}"
    expect(page.get_by_label("API key")).to_be_focused()
    looked.check(f"sign-in-{name}")
    sign_in(looked, ALICE[:-1])
    expect(page.get_by_role("alert").filter(has_text="not known here, or was revoked")).to_be_visible()
    looked.check(f"sign-in-refused-{name}")
    page.keyboard.press("Escape")
    page.keyboard.press("Escape")
    expect(page.get_by_label("API key")).to_be_visible()
    sign_in(looked, f" {ALICE}\n")
    expect(page.locator(".who")).to_have_text("alice")
    expect(page.locator("#topic")).to_be_visible()
    looked.check(f"signed-in-{name}")
    page.reload()
    expect(page.locator(".who")).to_have_text("alice")
    expect(page.get_by_role("dialog")).to_have_count(0)


def test_each_key_sees_its_own_runs_and_follows_them(looked: Looked, keyed: ServerProcess, browser: Browser) -> None:
    sign_in(looked, ALICE)
    run = looked.start("Bridges of Alice")
    looked.status("completed")
    expect(looked.page.locator(".report h2", has_text="Sources")).to_be_visible()
    with as_alice(keyed) as client:
        check_invocation(client, run)
    other = Looked(browser.new_context())
    other.page.goto(keyed.url)
    sign_in(other, BOB)
    expect(other.page.get_by_text("No runs yet")).to_be_visible()
    other.page.goto(looked.page.url)
    expect(other.page.get_by_text("The server does not know this run")).to_be_visible()
    assert other.errors == []
    other.page.context.close()


def test_the_key_is_kept_nowhere_in_the_page(looked: Looked, context: BrowserContext) -> None:
    sign_in(looked, ALICE)
    expect(looked.page.locator(".who")).to_have_text("alice")
    kept = looked.page.evaluate(
        "JSON.stringify([{...localStorage}, {...sessionStorage}, document.cookie, location.href,"
        " document.body.outerHTML, [...document.querySelectorAll('input')].map(input => input.value)])"
    )
    assert ALICE not in kept
    assert "research_session" not in kept
    (cookie,) = context.cookies()
    assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Strict")
    assert ALICE not in cookie["value"]


def test_a_key_revoked_under_an_open_page(looked: Looked, keyed: ServerProcess, stub: ModelStub) -> None:
    """The page asks to sign in, and goes on where it was: in the middle of a run, its stream cut by a restart."""
    page = looked.page
    sign_in(looked, ALICE)
    stub.control(tokens=60)
    stub.hold(after_tokens=20)
    run = looked.start("Bridges")
    expect(page.locator(".streaming", has_text="word19")).to_be_visible()
    file = keyed.data_dir.with_name("own-keys")
    file.write_text(f"bob:{BOB}\n")
    keyed.kill()
    stub.release()
    keyed.start()
    expect(page.get_by_role("heading", name="Sign in again")).to_be_visible()
    expect(page.locator(".streaming")).to_contain_text("word19")
    looked.check("sign-in-again")
    sign_in(looked, ALICE)
    expect(page.get_by_role("alert").filter(has_text="not known here, or was revoked")).to_be_visible()
    file.write_text(f"alice:{ALICE}\nbob:{BOB}\n")
    sign_in(looked, ALICE)
    looked.status("completed")
    assert page.url.endswith(run)
    with as_alice(keyed) as client:
        check_invocation(client, run)


def test_what_was_written_is_kept_over_a_sign_in(looked: Looked, keyed: ServerProcess) -> None:
    page = looked.page
    sign_in(looked, ALICE)
    page.fill("#topic", "Bridges, and how they stand")
    file = keyed.data_dir.with_name("own-keys")
    file.write_text(f"alice:{ALICE[::-1]}\n")
    # Not by a click: whatever else the page asks for may meet the refusal first, and its question is in the way then.
    page.locator("form.start").evaluate("form => form.requestSubmit()")
    sign_in(looked, ALICE[::-1])
    looked.status("completed")
    expect(page.locator("h1.topic")).to_have_text("Bridges, and how they stand")


def test_somebody_else_signs_in_and_sees_nothing_of_the_first(looked: Looked, keyed: ServerProcess) -> None:
    page = looked.page
    sign_in(looked, ALICE)
    looked.start("Bridges of Alice")
    looked.status("completed")
    page.goto(keyed.url)
    expect(page.locator(".run-link")).to_have_count(1)
    keyed.data_dir.with_name("own-keys").write_text(f"bob:{BOB}\n")
    expect(page.get_by_role("heading", name="Sign in again")).to_be_visible()
    sign_in(looked, BOB)
    expect(page.locator(".who")).to_have_text("bob")
    expect(page.get_by_text("No runs yet")).to_be_visible()
    expect(page.locator(".run-link")).to_have_count(0)


def test_signing_out_takes_everything_away_in_every_tab(looked: Looked, context: BrowserContext) -> None:
    page = looked.page
    sign_in(looked, ALICE)
    looked.start("Bridges")
    looked.status("completed")
    other = Looked(context)
    other.page.goto(page.url)
    other.status("completed")
    page.get_by_role("button", name="Sign out").click()
    for each in (looked, other):
        expect(each.page.get_by_role("heading", name="Sign in", exact=True)).to_be_visible()
        expect(each.page.locator("main")).to_be_empty()
    assert context.cookies() == []
    sign_in(other, ALICE)
    for each in (looked, other):
        each.status("completed")
    assert other.errors == []
