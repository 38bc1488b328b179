"""A real headless Chromium, and what a test looks at in the page."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from axe_playwright_python.sync_playwright import Axe  # type: ignore[import-untyped]
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

SHOTS = Path(os.environ.get("SCREENSHOTS") or Path(__file__).parents[2] / "data" / "screenshots")
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"]

# fmt: off
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]
# fmt: on
CHROMIUM = next((path for path in ("/usr/bin/chromium", "/usr/bin/chromium-browser") if os.path.exists(path)), None)
DESKTOP, PHONE = {"width": 1280, "height": 860}, {"width": 390, "height": 844}


@contextmanager
def chromium() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        try:
            yield browser
        finally:
            browser.close()


class Looked:
    """A page, with all that went wrong in it: errors of its scripts, and what its policy refused."""

    def __init__(self, context: BrowserContext, shots: Path = SHOTS) -> None:
        self.page: Page = context.new_page()
        self.page.set_default_timeout(30_000)
        self.errors: list[str] = []
        self._shots = shots
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("console", lambda message: self._heard(message.type, message.text))

    def _heard(self, kind: str, text: str) -> None:
        # A server that was killed is what some tests are about.
        if kind == "error" and not re.search(r"net::ERR_|status of (401|404|409|410|413|422|503)", text):
            self.errors.append(text)

    def shot(self, name: str) -> None:
        """Kept by the test run, for people to look at."""
        self._shots.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=self._shots / f"{name}.png")

    def check(self, name: str) -> None:
        """Kept as a picture; accessible, and no wider than its window."""
        self.shot(name)
        found = Axe().run(self.page, options={"runOnly": RULES})
        assert found.violations_count == 0, f"{name}: {found.generate_report()}"
        assert self.page.evaluate("document.documentElement.scrollWidth <= innerWidth"), name

    def start(self, topic: str) -> str:
        """Starts a run by the form; its invocation id."""
        self.page.fill("#topic", topic)
        self.page.click("text=Start research")
        self.page.wait_for_url("**/#/runs/*")
        return self.page.url.rsplit("/", 1)[1]

    def status(self, name: str, timeout: float = 60_000) -> None:
        self.page.wait_for_selector(f".status-row .badge.{name}", timeout=timeout)
