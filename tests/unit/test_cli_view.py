"""A run on a pipe, as JSON, and live on a terminal."""

from __future__ import annotations

import io
import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from client.cli.lines import duration
from client.cli.live import LiveView
from client.cli.tally import Tally, tail
from client.cli.view import JsonLines, Lines
from client.fields import Fields, printable

RUN: list[Fields] = [
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


TERMINAL = {"TERM": "xterm", "COLUMNS": "80", "LINES": "24"}


def test_a_pipe_gets_plain_lines() -> None:
    stream = io.StringIO()
    lines = Lines(stream)
    for event in RUN:
        lines.take(event)
    assert stream.getvalue().splitlines() == LINES


def test_json_is_one_event_a_line() -> None:
    out = io.BytesIO()
    view = JsonLines(out, io.StringIO())
    for event in RUN:
        view.take(event)
    assert [json.loads(line) for line in out.getvalue().splitlines()] == RUN


def live(now: list[float], *, environ: dict[str, str] = TERMINAL) -> tuple[LiveView, FakeTerminal]:
    terminal = FakeTerminal()
    return LiveView(terminal, environ, clock=lambda: now[0]), terminal


def shown(view: LiveView) -> str:
    """The frame as text."""
    from rich.console import Console

    console = Console(file=io.StringIO(), width=80, force_terminal=False)
    console.print(view.frame())
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_a_terminal_gets_lines_that_stay_and_a_frame_that_changes() -> None:
    now = [1000.0]
    view, terminal = live(now)
    for event in RUN[:5]:
        view.take(event)
    frame = shown(view)
    assert "phase 1 of 2" in frame
    assert "research, call 1 of 2" in frame
    assert "1 source" in frame
    assert "x" * 40 in frame
    for event in RUN[5:12]:
        view.take(event)
    assert "1,500 tokens" in shown(view)
    view.close()
    for line in LINES[:4]:
        assert line in terminal.getvalue()


def test_a_cooldown_and_an_absence_count_down() -> None:
    now = [1_000_000.0]
    view, _ = live(now)
    for event in RUN[:2]:
        view.take(event)
    view.take({"type": "cooldown", "duration_sec": 30, "stage": "intra_phase", "resume_at": "1970-01-12T13:47:10Z"})
    assert "cooldown, 30.0 s left" in shown(view)
    now[0] += 12
    assert "cooldown, 18.0 s left" in shown(view)
    view.away(5)
    assert "the server is away, asking again in 5 s" in shown(view)
    view.close()


def test_time_left_is_by_the_calls_and_rests_so_far() -> None:
    tally = Tally(lambda: 0.0)
    tally.take({"type": "run_start", "total_phases": 3, "calls_per_phase": 2})
    assert tally.seconds_left is None
    for event in (
        {"type": "phase_start", "phase": 1, "total": 3},
        {"type": "subcall_start", "phase": 1, "index": 1, "of": 2},
        {"type": "subcall_end", "phase": 1, "index": 1, "of": 2, "duration_sec": 10},
        {"type": "cooldown", "stage": "intra_phase", "duration_sec": 2},
        {"type": "subcall_start", "phase": 1, "index": 2, "of": 2},
        {"type": "subcall_end", "phase": 1, "index": 2, "of": 2, "duration_sec": 20},
        {"type": "cooldown", "stage": "inter_phase", "duration_sec": 5},
    ):
        tally.take(event)
    # Four calls of 15 s on average, two rests between phases, and some between calls.
    assert tally.seconds_left == pytest.approx(4 * 15 + 2 * 5 + 2)
    assert tally.progress == pytest.approx(2 / 6)


def test_five_thousand_tokens_are_rendered_in_under_a_second() -> None:
    view = LiveView(FakeTerminal(), TERMINAL)
    for event in RUN[:4]:
        view.take(event)
    began = time.process_time()
    for number in range(5000):
        view.take({"type": "token", "content": f"word{number} ", "phase": 1, "index": 1})
    assert "word4999" in shown(view)
    # Of this process, its drawing thread included: what the machine does besides does not count.
    assert time.process_time() - began < 1
    view.close()


def test_text_is_wrapped_to_its_last_lines() -> None:
    assert tail("one two three\nfour", 2, 8) == ["three", "four"]
    assert tail("x" * 20, 2, 8) == ["xxxxxxxx", "xxxx"]
    assert tail("", 2, 8) == []
    assert tail("a\x1b[2Jb", 1, 80) == ["a [2Jb"]


class BrokenPipe(io.StringIO):
    def write(self, _text: str) -> int:
        raise BrokenPipeError


def test_a_reader_of_the_progress_that_has_gone_does_not_end_the_run() -> None:
    lines = Lines(BrokenPipe())
    for event in RUN:
        lines.take(event)


NASTY: list[object] = [None, True, -1, 1.5, float("nan"), float("inf"), 10**400, "", "\x1b[2J", "研\ud800\r\n" * 50]
NASTY += [[], [{}], {}, {"message": "\x1b[2J", "type": 1}, {"output_tokens": "many"}]
FIELDS = st.sampled_from(sorted({name for event in RUN for name in event}))


@given(
    st.sampled_from([str(event["type"]) for event in RUN]), st.dictionaries(FIELDS, st.sampled_from(NASTY), max_size=8)
)
def test_no_event_breaks_the_screen(kind: str, fields: Fields) -> None:
    view, terminal = live([1000.0])
    view.take({"type": "phase_start", "phase": 1, "total": 1, "title": "T"})
    view.take({**fields, "type": kind})
    assert "\x1b[2J" not in shown(view)
    view.close()
    assert "\x1b[2J" not in terminal.getvalue()


def test_printable_text_has_no_control_characters() -> None:
    assert printable("a\x1b]0;t\x07b\r\nc\u202ed\x9b1m\ud800 é研") == "a ]0;t b c d 1m é研"


@pytest.mark.parametrize(
    ("seconds", "said"), [(0.84, "0.8 s"), (59, "59.0 s"), (125, "2 min 5 s"), (3600 * 26 + 180, "26 h 3 min")]
)
def test_durations(seconds: float, said: str) -> None:
    assert duration(seconds) == said
