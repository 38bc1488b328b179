"""A run's progress on a pipe and on a terminal."""

from __future__ import annotations

import io
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from client.event import Event, printable
from client.lines import duration
from client.progress import Progress
from client.screen import Screen, fit

RUN: list[Event] = [
    {
        "type": "run_start",
        "topic": "Owls",
        "entry_mode": "fresh",
        "total_phases": 2,
        "calls_per_phase": 2,
        "model": "m",
    },
    {"type": "phase_start", "phase": 1, "total": 2, "title": "Scope\x1b[31m"},
    {"type": "sources", "phase": 1, "items": [{"id": "s1"}]},
    {"type": "subcall_start", "phase": 1, "role": "research", "index": 1, "of": 2, "attempt": 1},
    {"type": "token", "content": "x" * 40, "phase": 1, "index": 1},
    {"type": "retrying", "phase": 1, "index": 1, "attempt": 2, "delay_sec": 4, "error": {"message": "429\r\x1b[2K!"}},
    {"type": "run_start", "entry_mode": "recovered", "total_phases": 2},
    {"type": "recovered", "completed_phases": 0, "total_phases": 2, "completed_subcalls": 1, "in_progress_phase": 1},
    {"type": "subcall_start", "phase": 1, "role": "critique", "index": 2, "of": 2, "attempt": 1},
    {"type": "token", "content": "y" * 20, "phase": 1, "index": 2},
    {"type": "subcall_end", "phase": 1, "index": 2, "of": 2, "usage": {"output_tokens": 1500}},
    {"type": "cooldown", "duration_sec": 0.3, "stage": "inter_phase", "phase": 1, "total": 2},
    {"type": "phase_end", "phase": 1, "total": 2, "title": "Scope", "duration_sec": 125},
    {"type": "something_new", "phase": []},
    {"type": "run_complete", "phases_completed": 2, "duration_sec": 0.84},
]

LINES = [
    "Researching: Owls (2 phases of 2 calls, model m)",
    "Phase 1: 1 source",
    "Retrying call 1 of phase 1 (attempt 2, in 4.0 s): 429 [2K!",
    "Recovered: 0 of 2 phases and 1 call are kept.",
    "Phase 1 of 2 done in 2 min 5 s: Scope",
    "Done: 2 phases in 0.8 s.",
]


class FakeTerminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def shown(stream: io.StringIO, environ: dict[str, str], *, clock: Callable[[], float] = lambda: 0.0) -> str:
    progress = Progress(Screen(stream, environ), monotonic=clock)
    for event in RUN:
        progress.take(event)
    progress.close()
    return stream.getvalue()


def test_a_pipe_gets_plain_lines() -> None:
    assert shown(io.StringIO(), {}).splitlines() == LINES


def test_a_dumb_terminal_is_like_a_pipe() -> None:
    assert shown(FakeTerminal(), {"TERM": "dumb"}).splitlines() == LINES


def test_a_terminal_gets_one_status_line_that_is_updated_and_lines_that_stay() -> None:
    screen = shown(FakeTerminal(), {"NO_COLOR": "1"})
    stays = [row.rsplit("\x1b[2K", 1)[-1] for row in screen.split("\n")]
    assert stays == [*LINES, ""]
    assert "phase 1 of 2 [............] Scope [31m - research, call 1 of 2, 0 tokens" in screen
    assert "[######......] Scope [31m - cooldown 0.3 s, 1,500 tokens" in screen
    assert all(len(status) < 80 for row in screen.split("\n") for status in row.split("\r\x1b[2K"))


def test_no_color_is_honoured() -> None:
    assert "\x1b[32m" in shown(FakeTerminal(), {})
    assert "\x1b" not in shown(FakeTerminal(), {"NO_COLOR": "1"}).replace("\r\x1b[2K", "")


def test_tokens_redraw_the_status_at_most_ten_times_a_second() -> None:
    terminal, now = FakeTerminal(), [0.0]
    progress = Progress(Screen(terminal, {}), monotonic=lambda: now[0])
    for millisecond in range(1000):
        now[0] = millisecond / 1000
        progress.take({"type": "token", "content": "word "})
    assert terminal.getvalue().count("\r") <= 11


class BrokenPipe(io.StringIO):
    def write(self, _text: str) -> int:
        raise BrokenPipeError


def test_a_reader_of_the_progress_that_has_gone_does_not_end_the_run() -> None:
    assert shown(BrokenPipe(), {}) == ""


NASTY: list[object] = [None, True, -1, 1.5, float("nan"), float("inf"), 10**400, "", "\x1b[2J", "研\ud800\r\n" * 50]
NASTY += [[], [{}], {}, {"message": "\x1b[2J", "type": 1}, {"output_tokens": "many"}]
FIELDS = st.sampled_from(sorted({name for event in RUN for name in event}))


@given(
    st.sampled_from([str(event["type"]) for event in RUN]), st.dictionaries(FIELDS, st.sampled_from(NASTY), max_size=8)
)
def test_no_event_breaks_the_screen(kind: str, fields: Event) -> None:
    terminal = FakeTerminal()
    Progress(Screen(terminal, {"NO_COLOR": "1"})).take({**fields, "type": kind})
    assert "\x1b" not in terminal.getvalue().replace("\r\x1b[2K", "")


def test_text_is_cut_by_columns() -> None:
    assert fit("abcdef", 6) == "abcdef"
    assert fit("abcdef", 5) == "abcd…"
    assert fit("研究研究", 5) == "研究…"


def test_printable_text_has_no_control_characters() -> None:
    assert printable("a\x1b]0;t\x07b\r\nc\u202ed\x9b1m\ud800 é研") == "a ]0;t b c d 1m é研"


@pytest.mark.parametrize(
    ("seconds", "said"), [(0.84, "0.8 s"), (59, "59.0 s"), (125, "2 min 5 s"), (3600 * 26 + 180, "26 h 3 min")]
)
def test_durations(seconds: float, said: str) -> None:
    assert duration(seconds) == said
