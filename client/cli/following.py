"""A run followed to its end: its events on the screen, its report in a file, its end state as the exit code."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from client.cli.place import Reached
from client.cli.report_file import check_writable, report_path, write_report
from client.cli.session import Session, own_name
from client.cli.view import View
from client.errors import RequestRefused, StreamGone
from client.fields import printable
from client.records import Invocation, Report

EXIT_CODES = {"completed": 0, "failed": 1, "cancelled": 3, "timed_out": 4, "superseded": 5}
EXIT_ERROR = 2
EXIT_INTERRUPTED = 130


@dataclass(frozen=True)
class Followed:
    """How to follow: the folder for the report, and what `--json` asks."""

    reports: Path
    as_json: bool = False


def follow_to_end(session: Session, found: Reached, invocation_id: str, options: Followed, view: View) -> int:
    """The exit code. The report's path is the one thing on stdout, unless that has the events."""
    check_writable(options.reports, "reports")
    try:
        with contextlib.suppress(StreamGone):  # Past their retention: the record and the report are still there.
            for event in found.client.follow(invocation_id, on_away=view.away):
                view.take(event)
    except KeyboardInterrupt:
        view.close()
        session.say(_how_to_come_back(found, invocation_id))
        return EXIT_INTERRUPTED
    view.close()
    invocation = found.client.get(invocation_id)
    path = _written(found, invocation, options.reports)
    if path is not None and options.as_json:
        session.say(f"Report: {os.fsdecode(path)}")
    elif path is not None:
        session.print(str(path))
    if invocation.superseded_by:
        session.remember(found, invocation.superseded_by, invocation.thread_id)
        session.say(f"Superseded by {printable(invocation.superseded_by)}: `{own_name()} attach` follows that one.")
    return EXIT_CODES.get(invocation.status, EXIT_ERROR)


def report_of(found: Reached, invocation: Invocation) -> Report | None:
    """None where a run that did not complete has no report."""
    try:
        return found.client.report(invocation.invocation_id)
    except RequestRefused as refused:
        if refused.status == 404 and invocation.status != "completed":
            return None
        raise


def _written(found: Reached, invocation: Invocation, reports: Path) -> Path | None:
    report = report_of(found, invocation)
    if report is None:
        return None
    path = report_path(reports, invocation.topic, invocation.invocation_id, date.today())
    write_report(path, report.markdown.encode("utf-8", "replace"))
    return path


def _how_to_come_back(found: Reached, invocation_id: str) -> str:
    back = f"`{own_name()} attach` comes back to it"
    run = f"The run {printable(invocation_id)}"
    if found.ends_with_us:
        return f"Detached; the embedded server stops. {run} is saved: {back} and goes on."
    return f"Detached. {run} goes on without you: {back}."
