"""Reads an event stream with the EventSource of Chromium; prints each event's data as a line."""

import sys
from urllib.parse import urljoin

from playwright.sync_api import sync_playwright

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
FOLLOW = """address => new Promise((resolve, reject) => {
    const source = new EventSource(address);
    source.onmessage = event => heard(event.data);
    source.addEventListener('done', event => { source.close(); resolve(event.data); });
    source.onerror = () => { if (source.readyState === EventSource.CLOSED) reject('closed'); };
})"""

address, chromium = sys.argv[1:]
with sync_playwright() as playwright:
    browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
    page = browser.new_page()
    page.expose_function("heard", lambda data: print(data, flush=True))
    # Any page of the same origin.
    page.goto(urljoin(address, "/liveness"))
    print(page.evaluate(FOLLOW, address), flush=True)
    browser.close()
