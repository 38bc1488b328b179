"""Runs and reports on stdout."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

from client.cli.lines import count, duration
from client.cli.report_file import write_report
from client.cli.session import Session
from client.cli.view import write_json
from client.fields import printable
from client.records import Invocation, Report

_TOPIC_COLUMNS = 60
_CONTROL = re.compile(r"[^\n\t\x20-\x7e\xa0-\U0010ffff]|[\u202a-\u202e\u2066-\u2069]")


def runs_table(runs: Iterable[Invocation]) -> str:
    """A line a run: when, how it stands, how far it came, its id, its topic."""
    rows = [_row(run) for run in runs]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]) - 1)]
    return "\n".join("  ".join([*map(str.ljust, row, widths), row[-1]]) for row in rows)


def run_lines(run: Invocation) -> str:
    """What the record says, a line each."""
    facts = [
        ("run", run.invocation_id),
        ("thread", run.thread_id),
        ("topic", _short(run.topic, 200)),
        ("status", run.status),
        ("phases", f"{run.phases_completed} of {run.total_phases}"),
        ("tokens", f"{run.usage.input_tokens:,} in, {run.usage.output_tokens:,} out"),
        ("begun", _time(run.started_at or run.created_at)),
        ("took", _took(run)),
        ("error", run.error.message or run.error.type if run.error else ""),
        ("superseded by", run.superseded_by or ""),
    ]
    return "\n".join(f"{name + ':':15}{printable(value)}" for name, value in facts if value)


def print_report(session: Session, report: Report, output: str, as_json: bool) -> None:
    """Into a file, as JSON, set for a terminal, or as it is for a pipe."""
    if output:
        write_report(Path(output), report.markdown.encode("utf-8", "replace"))
    elif as_json:
        write_json(session.out, report.__dict__)
    elif sys.stdout.isatty():
        _set(report.markdown)
    else:
        session.out.write(report.markdown.encode("utf-8", "replace"))


def _set(markdown: str) -> None:
    from rich.console import Console
    from rich.markdown import Markdown

    # What a model or a document wrote may hold escape codes.
    Console().print(Markdown(_CONTROL.sub("", markdown), hyperlinks=False))


def _row(run: Invocation) -> tuple[str, ...]:
    phases = f"{run.phases_completed}/{run.total_phases}"
    return _time(run.created_at), printable(run.status), phases, printable(run.invocation_id), _short(run.topic)


def _short(topic: str, columns: int = _TOPIC_COLUMNS) -> str:
    line = printable(topic)
    return line if len(line) <= columns else f"{line[: columns - 1]}…"


def _time(moment: datetime | None) -> str:
    return moment.astimezone().strftime("%Y-%m-%d %H:%M") if moment else ""


def _took(run: Invocation) -> str:
    if not run.started_at:
        return ""
    seconds = ((run.ended_at or datetime.now(UTC)) - run.started_at).total_seconds()
    return duration(max(0.0, seconds)) + ("" if run.ended_at else f" so far, {count(run.last_event_id, 'event')}")
