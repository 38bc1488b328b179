"""Logging: one line an incident on stderr, as JSON or for people. Never prompts, texts or keys."""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Final

import structlog

from server.tracebacks import shown, told

_OWN: Final = ("server", "graph", "client")
# The only libraries whose lines tell an operator something; at INFO these say no more than where the server listens.
_AT_INFO: Final = ("uvicorn.error",)

_log = structlog.get_logger(__name__)


def configure(level: str, form: str | None) -> None:
    """Sends the logs of this process and its libraries to stderr; `level` and `form` are LOG_LEVEL and LOG_FORMAT.

    Without a `form` it is `console` on a terminal, else `json`. `level` is for this project's own lines: libraries log
    addresses, headers and what they send at INFO and DEBUG, so of them nothing below a warning is shown.
    """
    as_json = form == "json" or (form is None and not sys.stderr.isatty())
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    structlog.configure(
        processors=[structlog.stdlib.filter_by_level, *shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(_told_elsewhere)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *_renderer(as_json)],
        )
    )
    _set_levels(level.upper(), handler)
    sys.excepthook = _uncaught
    threading.excepthook = _uncaught_in_thread


def tell_of_forgotten_tasks(loop: asyncio.AbstractEventLoop) -> None:
    """Has errors that nobody awaited logged as others are: asyncio shows them with their text."""
    loop.set_exception_handler(_forgotten)


def _renderer(as_json: bool) -> list[Any]:
    if as_json:
        return [_with_traceback, structlog.processors.JSONRenderer()]
    console = structlog.dev.ConsoleRenderer(
        colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
    )
    return [_with_printed_traceback, console]


def _set_levels(level: str, handler: logging.Handler) -> None:
    # A line that cannot be written must not be shown with all that it held.
    logging.raiseExceptions = False
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.WARNING)
    for name in _OWN:
        logging.getLogger(name).setLevel(level)
    for name in _AT_INFO:
        logging.getLogger(name).setLevel(logging.INFO)


def _told_elsewhere(record: logging.LogRecord) -> bool:
    """Whether a record is to be shown: uvicorn repeats an error of a request that has its line (problems.py)."""
    return not (record.name == "uvicorn.error" and str(record.msg).startswith("Exception in ASGI application"))


def _with_traceback(_: Any, __: str, line: dict[str, Any]) -> dict[str, Any]:
    if (error := _error_of(line)) is not None:
        line["exception"] = told(error)
    return line


def _with_printed_traceback(_: Any, __: str, line: dict[str, Any]) -> dict[str, Any]:
    if (error := _error_of(line)) is not None:
        line["exception"] = shown(error)
    return line


def _error_of(line: dict[str, Any]) -> BaseException | None:
    info = line.pop("exc_info", None)
    if info is True:
        info = sys.exc_info()
    error = info[1] if isinstance(info, tuple) else info
    return error if isinstance(error, BaseException) else None


def _uncaught(kind: type[BaseException], error: BaseException, at: TracebackType | None) -> None:
    if isinstance(error, KeyboardInterrupt):
        sys.__excepthook__(kind, error, at)
    else:
        _log.critical("process_failed", exc_info=error)


def _uncaught_in_thread(failed: threading.ExceptHookArgs) -> None:
    if failed.exc_value is not None and not isinstance(failed.exc_value, SystemExit):
        _log.critical("thread_failed", name=failed.thread.name if failed.thread else None, exc_info=failed.exc_value)


def _forgotten(_: asyncio.AbstractEventLoop, context: Mapping[str, Any]) -> None:
    task = context.get("future") or context.get("task")
    name = task.get_name() if isinstance(task, asyncio.Task) else None
    _log.error("task_failed", name=name, exc_info=context.get("exception"))
