"""The live view of a run on a terminal: a few lines that are redrawn, and above them the lines that stay."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Mapping
from typing import TextIO

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.padding import Padding
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from client.cli.lines import count, duration, line_of
from client.cli.tally import Tally, tail
from client.fields import Fields, printable

FRAMES_PER_SEC = 12
TEXT_LINES = 8
BAR_COLUMNS = 28

_STYLES = {
    "phase_end": "green",
    "retrying": "yellow",
    "recovered": "yellow",
    "steering": "cyan",
    "winding_down": "yellow",
    "run_failed": "bold red",
    "run_complete": "bold green",
}


class LiveView:
    """Redraws by the clock, not by the event, so that no speed of the model slows it down."""

    def __init__(self, stream: TextIO, environ: Mapping[str, str], *, clock: Callable[[], float] = time.time) -> None:
        self._console = Console(file=stream, highlight=False, markup=False, _environ=environ)
        self._clock = clock
        self._tally = Tally(clock)
        # Frames are made by a thread of Rich's. Never held while printing, which takes a lock of Rich's own.
        self._lock = threading.Lock()
        self._away_until: float | None = None
        self._live = Live(
            get_renderable=self.frame, console=self._console, refresh_per_second=FRAMES_PER_SEC, transient=True
        )
        self._live.start()

    def take(self, event: Fields) -> None:
        with self._lock:
            self._away_until = None
            self._tally.take(event)
        line = line_of(event)
        if line is not None:
            self._print(Text(line, style=_STYLES.get(str(event.get("type")), "")))

    def say(self, sentence: str) -> None:
        self._print(Text(printable(sentence), style="yellow"))

    def away(self, seconds: float) -> None:
        self._away_until = self._clock() + seconds

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._live.stop()

    def frame(self) -> RenderableType:
        """What is shown now."""
        with self._lock:
            return self._frame(self._tally)

    def _frame(self, tally: Tally) -> RenderableType:
        if not tally.phase:
            return Text(self._doing() or "Starting …", style="dim")
        written = tail(tally.text, TEXT_LINES, max(20, self._console.width - 4))
        return Group(Text(""), self._bar(), self._details(), *self._text(written))

    def _bar(self) -> RenderableType:
        tally = self._tally
        row = Table.grid(padding=(0, 1))
        left = tally.seconds_left
        row.add_row(
            ProgressBar(total=1.0, completed=tally.progress, width=BAR_COLUMNS),
            Text(f"phase {tally.phase} of {tally.total_phases}", style="bold"),
            Text(f"{tally.progress:.0%}"),
            Text("" if left is None else f"about {duration(left)} left", style="dim"),
        )
        return row

    def _details(self) -> RenderableType:
        tally = self._tally
        facts = [self._doing(), count(tally.tokens, "token"), count(tally.sources, "source")]
        if not tally.rest_left and tally.tokens_per_sec >= 1:
            facts.insert(2, f"{tally.tokens_per_sec:,.0f} tokens/s")
        title = Text(tally.title, style="cyan", no_wrap=True, overflow="ellipsis")
        return Group(title, Text(", ".join(fact for fact in facts if fact), style="dim", no_wrap=True))

    def _text(self, written: list[str]) -> list[RenderableType]:
        if not written:
            return []
        return [Padding(Text("\n".join(written), no_wrap=True, overflow="crop"), (1, 2, 0, 2))]

    def _doing(self) -> str:
        tally = self._tally
        if self._away_until is not None:
            return f"the server is away, asking again in {max(0.0, self._away_until - self._clock()):.0f} s"
        if tally.retry_at:
            return f"trying again in {duration(tally.rest_left)}"
        if tally.resume_at:
            return f"cooldown, {duration(tally.rest_left)} left"
        if not tally.role:
            return "searching" if tally.phase else ""
        again = f", attempt {tally.attempt}" if tally.attempt > 1 else ""
        return f"{tally.role}, call {tally.call} of {tally.of}{again}"

    def _print(self, line: Text) -> None:
        with contextlib.suppress(OSError):
            self._console.print(line, soft_wrap=True)
