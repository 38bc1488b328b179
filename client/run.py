"""`run`: one research run with a server of its own, from the topic to the report's file."""

from __future__ import annotations

import contextlib
import os
import shlex
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Protocol
from urllib.parse import quote

import httpx2

from client.connection import Sleep, ask, json_object
from client.embedded import Restarts, server_environment
from client.errors import AnswerNotUnderstood, ClientError, RequestRefused, StreamGone
from client.event import Event, part, text
from client.follow import follow
from client.progress import Progress
from client.report_file import check_readable, check_writable, report_path, write_report
from client.server_process import ServerProcess

DEFAULT_TOPIC = "How can a long-running research agent survive crashes without losing work?"

EXIT_CODES = {"completed": 0, "failed": 1, "cancelled": 3, "timed_out": 4, "superseded": 5}
EXIT_ERROR = 2
EXIT_INTERRUPTED = 130

_REQUEST_TIMEOUT_SEC = 30.0


class Output(Protocol):
    def write(self, data: bytes, /) -> object: ...


@dataclass(frozen=True)
class RunOptions:
    topic: str
    documents: Path | None
    reports: Path
    data: Path


def run(options: RunOptions, *, environ: Mapping[str, str], progress: Progress, out: Output, today: date) -> int:
    """The exit code. Only the report's path goes to `out`; all else is progress."""
    try:
        _check_folders(options)
        return _run(options, environ, progress, out, today)
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except (ClientError, httpx2.HTTPError) as error:
        progress.say(str(error), "red")
    except OSError as error:
        progress.say(f"{error.strerror}: {error.filename}" if error.filename else str(error), "red")
    return EXIT_ERROR


def topic_of(given: str | None) -> str:
    """The default where none or a blank one is given. A byte that was not UTF-8 on the command line becomes `?`."""
    return (given or "").encode("utf-8", "replace").decode().strip() or DEFAULT_TOPIC


def research(
    http: httpx2.Client, options: RunOptions, *, progress: Progress, out: Output, today: date, sleep: Sleep
) -> int:
    """The run itself, over HTTP alone: starts it, follows it to its end, writes its report. The exit code."""
    invocation_id = _start(http, options.topic, sleep)
    try:
        # Events past their retention: the record and the report are still there.
        with contextlib.suppress(StreamGone):
            for event in follow(http, invocation_id, sleep=sleep):
                progress.take(event)
    except KeyboardInterrupt:
        progress.say(f"Stopping. The run {invocation_id} is saved and continues next time with `{_serve(options)}`.")
        raise
    progress.close()
    record = _record(http, invocation_id, sleep)
    report = _report(http, invocation_id, record, sleep)
    if report is not None:
        path = report_path(options.reports, options.topic, invocation_id, today)
        write_report(path, report)
        _print_path(path, out)
    return _ending(record, progress)


def _check_folders(options: RunOptions) -> None:
    if options.documents is not None:
        check_readable(options.documents, "documents")
    check_writable(options.reports, "reports")
    check_writable(options.data, "data")


def _run(options: RunOptions, environ: Mapping[str, str], progress: Progress, out: Output, today: date) -> int:
    env = server_environment(options.data, options.documents, environ)
    with (
        ServerProcess(env, options.data / "server.log") as server,
        httpx2.Client(base_url=server.url, trust_env=False, timeout=_REQUEST_TIMEOUT_SEC) as http,
    ):
        restarts = Restarts(server, progress.say)
        return research(http, options, progress=progress, out=out, today=today, sleep=restarts.pause)


def _start(http: httpx2.Client, topic: str, sleep: Sleep) -> str:
    """The key makes the POST safe to repeat when the server dies before its answer is here."""
    headers = {"Idempotency-Key": uuid.uuid4().hex}
    answer = json_object(ask(http, "POST", "/invocations", json={"message": topic}, headers=headers, sleep=sleep))
    invocation_id = text(answer, "invocation_id")
    if not invocation_id:
        raise AnswerNotUnderstood(f"The server took the topic but started no run (status {text(answer, 'status')}).")
    return invocation_id


def _record(http: httpx2.Client, invocation_id: str, sleep: Sleep) -> Event:
    accept = {"Accept": "application/json"}
    return json_object(ask(http, "GET", _path(invocation_id), headers=accept, sleep=sleep))


def _report(http: httpx2.Client, invocation_id: str, record: Event, sleep: Sleep) -> bytes | None:
    """None where a run that did not complete has no report."""
    try:
        return ask(http, "GET", f"{_path(invocation_id)}/report", sleep=sleep).content
    except RequestRefused as refused:
        if refused.status == 404 and record.get("status") != "completed":
            return None
        raise


def _ending(record: Event, progress: Progress) -> int:
    status = text(record, "status")
    if status != "completed":
        progress.say(_sentence(status, record), "red")
    return EXIT_CODES.get(status, EXIT_ERROR)


def _sentence(status: str, record: Event) -> str:
    match status:
        case "failed":
            error = part(record, "error")
            return f"The run failed: {text(error, 'message') or text(error, 'type') or 'the server gives no reason'}"
        case "cancelled":
            return "The run was cancelled."
        case "timed_out":
            return "The run was stopped at its time limit."
        case "superseded":
            return f"The run was superseded by {text(record, 'superseded_by') or 'another one'}."
    return f"The run ended in a state that this client does not know: {status}."


def _serve(options: RunOptions) -> str:
    """The command with which the server finds this run and its documents again; `./data` it finds by itself."""
    settings = {}
    if options.data.resolve() != Path("data").resolve():
        settings["DATA_DIR"] = options.data
    if options.documents is not None:
        settings["DOCUMENTS_DIR"] = options.documents
    assignments = [f"{name}={shlex.quote(str(folder.resolve()))}" for name, folder in settings.items()]
    return " ".join([*assignments, "make serve"])


def _path(invocation_id: str) -> str:
    return f"/invocations/{quote(invocation_id, safe='')}"


def _print_path(path: Path, out: Output) -> None:
    """As bytes: the file's name, whatever encoding the terminal has."""
    out.write(os.fsencode(path) + b"\n")
