"""The page over crashes of the server, cuts of the network, and a connection that died in silence."""

from __future__ import annotations

import re
import signal

import pytest
from playwright.sync_api import BrowserContext, Route, expect

from tests.acceptance.browser import Looked
from tests.acceptance.client import ResearchClient
from tests.acceptance.network import Network
from tests.acceptance.server_process import ServerProcess
from tests.acceptance.transcript import check_invocation, subcall_texts
from tests.openai_stub.process import ModelStub

pytestmark = pytest.mark.any_backend

AWAY = "The server is away. Reconnecting"


def test_killed_under_the_open_page(
    looked: Looked, server: ServerProcess, client: ResearchClient, stub: ModelStub
) -> None:
    page = looked.page
    stub.hold(after_tokens=8, from_call=3)
    invocation = looked.start("Bridges under load")
    expect(page.locator(".streaming", has_text="word5")).to_be_visible()
    server.kill()
    expect(page.get_by_text("The server is away. Reconnecting")).to_be_visible()
    looked.shot("server-away")
    stub.release()
    server.start()
    looked.status("completed")
    page.get_by_role("tab", name="Activity").click()
    expect(page.get_by_text("The server came back after a crash")).to_be_visible()
    frames = check_invocation(client, invocation)
    # What is shown of the call that was repeated is its last attempt, whole and once.
    page.locator(".call").nth(2).click()
    shown = page.locator(".text-scroll .prose:not(.streaming)")
    expect(shown).to_contain_text(subcall_texts(frames)[2, 1].split()[0])
    assert shown.inner_text().split() == subcall_texts(frames)[2, 1].split()


@pytest.mark.parametrize("kind", ["laptop", "cable"])
def test_the_network_goes_in_the_middle_of_a_stream_and_comes_back(
    kind: str, context: BrowserContext, server: ServerProcess, client: ResearchClient, stub: ModelStub
) -> None:
    """`cable`: connections break, new ones too; `laptop`: besides, the browser knows that it has no network."""
    with Network(server.port) as network:
        looked = Looked(context)
        page, asked = looked.page, list[int]()
        page.goto(network.url)
        page.on("request", lambda request: asked.extend(map(int, re.findall(r"last_event_id=(\d+)$", request.url))))
        stub.control(tokens=60)
        stub.hold(after_tokens=20)
        invocation = looked.start("Bridges")
        streaming = page.locator(".streaming")
        expect(streaming).to_contain_text("word19")
        context.set_offline(kind == "laptop")
        network.cut()
        expect(page.get_by_text(AWAY)).to_be_visible()
        looked.shot(f"network-away-{kind}")
        # Meanwhile the run goes on: the rest of that call, and the beginning of the next.
        stub.control(release=True, hold_after_tokens=30, hold_from_call=2)
        stub.wait_for_calls(2, state="held")
        assert "word20" not in streaming.inner_text()
        network.restore()
        context.set_offline(False)
        expect(page.get_by_text("Live", exact=True)).to_be_visible()
        expect(streaming).to_contain_text("word29")
        stub.release()
        looked.status("completed")
        texts = subcall_texts(check_invocation(client, invocation))
        for (phase, index), text in texts.items():
            page.locator(".phase").nth(phase - 1).locator(".call").nth(index - 1).click()
            expect(page.locator(".text-scroll .prose:not(.streaming)")).to_contain_text(text.split()[0])
            assert page.locator(".text-scroll .prose").inner_text().split() == text.split()
        # From where it was, which is behind the beginning of the first call, and not from the start again.
        assert asked[0] == 0
        assert min(asked[1:]) > 4, asked
        assert looked.errors == []


def test_an_answer_that_a_proxy_lost_is_not_a_second_run(looked: Looked, client: ResearchClient) -> None:
    page, taken = looked.page, list[int]()

    def lose_the_first(route: Route) -> None:
        if route.request.method == "POST" and not taken:
            taken.append(route.fetch().status)
            route.fulfill(status=503, body="no server is available")
        else:
            route.continue_()

    page.route("**/invocations", lose_the_first)
    page.fill("#topic", "Bridges")
    page.click("text=Start research")
    expect(page.get_by_text("The server answered 503.")).to_be_visible()
    page.click("text=Start research")
    page.wait_for_url("**/#/runs/*")
    invocation = page.url.rsplit("/", 1)[1]
    assert taken == [202]
    listed = client.request("GET", "/invocations").json()["invocations"]
    assert [record["invocation_id"] for record in listed] == [invocation]


def test_a_connection_that_died_without_a_word(
    looked: Looked, server: ServerProcess, client: ResearchClient, stub: ModelStub
) -> None:
    """As behind a sleep: nothing closes the connection, and an hour has passed."""
    page = looked.page
    page.clock.install()
    page.reload()
    stub.hold(after_tokens=4)
    invocation = looked.start("Bridges")
    expect(page.locator(".streaming", has_text="word3")).to_be_visible()
    server.signal(signal.SIGSTOP)
    page.clock.fast_forward("01:00:00")
    expect(page.get_by_text("Reconnecting")).to_be_visible()
    server.signal(signal.SIGCONT)
    expect(page.get_by_text("Live", exact=True)).to_be_visible()
    stub.release()
    looked.status("completed")
    check_invocation(client, invocation)


def test_two_pages_see_the_same(looked: Looked, context: BrowserContext, stub: ModelStub) -> None:
    stub.hold(after_tokens=4, from_call=2)
    looked.start("Bridges")
    stub.wait_for_calls(1, state="held")
    other = Looked(context)
    other.page.goto(looked.page.url)
    stub.release()
    for each in (looked, other):
        each.status("completed")
        expect(each.page.locator(".report h2", has_text="Sources")).to_be_visible()
    assert looked.page.locator(".report").inner_text() == other.page.locator(".report").inner_text()
    assert other.errors == []
