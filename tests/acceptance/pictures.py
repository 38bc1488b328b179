"""Makes the README's pictures from real runs: `make pictures`."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.text import Text

from tests.acceptance.browser import Looked, chromium
from tests.acceptance.server_process import CHECKOUT, ServerProcess

PICTURES = CHECKOUT / "docs" / "pictures"
TOPIC = "How do long-running agents survive crashes without losing work?"
COLUMNS = 104


def main() -> None:
    PICTURES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        page(Path(folder))
        terminal(Path(folder))


def page(folder: Path) -> None:
    """A run of the built-in model, in its third phase."""
    pace = {"INTRA_PHASE_COOLDOWN_SEC": "0.5", "INTER_PHASE_COOLDOWN_SEC": "5", "TARGET_OUTPUT_TOKENS": "300"}
    server = ServerProcess(folder / "data", {"NUM_PHASES": "6", "CALLS_PER_PHASE": "3", **pace})
    with server, chromium() as browser:
        context = browser.new_context(
            viewport={"width": 1280, "height": 800}, device_scale_factor=1.5, reduced_motion="reduce"
        )
        looked = Looked(context, PICTURES)
        looked.page.goto(server.url)
        looked.start(TOPIC)
        looked.page.locator(".phase.done").nth(2).wait_for(timeout=60_000)
        looked.page.locator(".prose:not(.streaming):not(.report)").wait_for()
        looked.shot("page")
        context.close()


def terminal(folder: Path) -> None:
    """The demonstration, as a terminal showed it."""
    env = {**os.environ, "PYTHONPATH": str(CHECKOUT), "FORCE_COLOR": "1", "COLUMNS": str(COLUMNS)}
    shown = subprocess.run(
        [sys.executable, "-m", "client", "demo"], cwd=folder, env=env, stderr=subprocess.PIPE, text=True, check=True
    ).stderr
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True)
    console.print(Text("$ make demo", style="bold"))
    console.print(Text.from_ansi(shown))
    # Without the fonts that Rich would have it fetch from the network.
    picture = re.sub(r"@font-face \{.*?\}", "", console.export_svg(title="make demo"), flags=re.DOTALL)
    (PICTURES / "terminal.svg").write_text(picture, encoding="utf-8")


if __name__ == "__main__":
    main()
