"""The log: one line an incident, errors without text of others, libraries without their chatter."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import logging
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog

from server import logs
from server.problems import Problem
from tests.acceptance.planted import leaks

Line = dict[str, Any]  # what a line of the log holds
PLANTED = "planted: what the model said"


@pytest.fixture(autouse=True)
def _as_it_was(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    monkeypatch.setattr(threading, "excepthook", threading.excepthook)
    yield
    root.handlers, root.level, logging.raiseExceptions = handlers, level, True
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


Logged = Callable[[], list[Line]]


def configured(level: str, form: str | None, *, terminal: bool = False) -> io.StringIO:
    """Where the log goes from now on."""
    stream = io.StringIO()
    stream.isatty = lambda: terminal  # type: ignore[method-assign]
    with contextlib.redirect_stderr(stream):
        logs.configure(level, form)
    return stream


@pytest.fixture
def logged() -> Logged:
    """Configures JSON at level debug; the lines that came."""
    stream = configured("debug", "json")
    return lambda: [json.loads(line) for line in stream.getvalue().splitlines()]


def failing() -> Exception:
    try:
        try:
            raise KeyError(PLANTED)
        except KeyError as error:
            raise RuntimeError(PLANTED) from error
    except RuntimeError as error:
        return error


def test_an_error_is_one_line_with_its_place_and_without_its_text(logged: Logged) -> None:
    structlog.get_logger("server.here").error("turn_failed", exc_info=failing())
    (line,) = logged()
    assert (line["event"], line["level"], line["logger"]) == ("turn_failed", "error", "server.here")
    assert [error["type"] for error in line["exception"]] == ["RuntimeError", "KeyError"]
    assert line["exception"][0]["frames"][-1].startswith("tests/unit/test_logs.py:")
    assert line["exception"][0]["frames"][-1].endswith(" failing")
    assert PLANTED not in json.dumps(line)


@pytest.mark.parametrize("error", [Problem(500, "ours"), FileNotFoundError(2, "ours"), TypeError("ours")])
def test_what_this_project_or_the_system_says_is_shown(logged: Logged, error: Exception) -> None:
    structlog.get_logger("server.here").error("turn_failed", exc_info=error)
    (line,) = logged()
    assert "ours" in line["exception"][0]["message"]


def test_groups_and_their_members_are_shown(logged: Logged) -> None:
    group = ExceptionGroup(PLANTED, [failing(), OSError("ours")])
    structlog.get_logger("server.here").error("turn_failed", exc_info=group)
    (line,) = logged()
    kinds = [error["type"] for error in line["exception"]]
    assert kinds == ["ExceptionGroup", "RuntimeError", "OSError", "KeyError"]
    assert PLANTED not in json.dumps(line)


def test_libraries_tell_warnings_alone_and_their_errors_without_text(logged: Logged) -> None:
    for name in ("openai", "httpx2", "sse_starlette.sse", "langsmith", "a.library"):
        logging.getLogger(name).debug(PLANTED)
        logging.getLogger(name).info(PLANTED)
    logging.getLogger("a.library").error("it failed", exc_info=failing())
    (line,) = logged()
    assert line["event"] == "it failed"
    assert PLANTED not in json.dumps(line)


def test_what_was_bound_stands_in_every_line(logged: Logged) -> None:
    with structlog.contextvars.bound_contextvars(request_id="r", thread_id="t", invocation_id="i"):
        structlog.get_logger("server.here").info("ours")
        logging.getLogger("a.library").warning("theirs")
    assert [(line["request_id"], line["thread_id"], line["invocation_id"]) for line in logged()] == [
        ("r", "t", "i")
    ] * 2


def test_a_thread_that_dies_is_one_line(logged: Logged) -> None:
    def die() -> None:
        raise RuntimeError(PLANTED)

    thread = threading.Thread(target=die, name="database-writer")
    thread.start()
    thread.join()
    (line,) = logged()
    assert (line["event"], line["level"], line["name"]) == ("thread_failed", "critical", "database-writer")
    assert PLANTED not in json.dumps(line)


def test_a_task_that_nobody_awaits_is_one_line(logged: Logged) -> None:
    async def fail() -> None:
        raise RuntimeError(PLANTED)

    async def main() -> None:
        logs.tell_of_forgotten_tasks(asyncio.get_running_loop())
        task = asyncio.create_task(fail(), name="forgotten")
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        del task

    asyncio.run(main())
    (line,) = logged()
    assert (line["event"], line["name"]) == ("task_failed", "forgotten")
    assert PLANTED not in json.dumps(line)


def test_for_people_an_error_has_no_text_and_no_variables_either() -> None:
    stream = configured("info", "console")
    structlog.get_logger("server.here").error("turn_failed", exc_info=failing())
    assert "turn_failed" in stream.getvalue()
    assert "failing" in stream.getvalue()
    assert PLANTED not in stream.getvalue()


@pytest.mark.parametrize(("terminal", "as_json"), [(True, False), (False, True)])
def test_unset_it_is_json_off_a_terminal(terminal: bool, as_json: bool) -> None:
    stream = configured("info", None, terminal=terminal)
    structlog.get_logger("server.here").info("here")
    assert stream.getvalue().startswith("{") == as_json


@pytest.mark.parametrize(
    "line",
    ["key sk-planted-secret", "text word1 word2", "p0123456789ab word1", "About the moon", '<task role="critique">'],
)
def test_the_search_for_what_was_planted_finds_it(tmp_path: Path, line: str) -> None:
    (tmp_path / "data.8088.log").write_text(
        f'{{"event": "turn_ended"}}\n{{"event": "x", "text": {json.dumps(line)}}}\n'
    )
    assert len(leaks(tmp_path, ["About the moon"])) >= 1
    (tmp_path / "data.8088.log").write_text('{"event": "turn_ended"}\n')
    assert leaks(tmp_path, ["About the moon"]) == []
