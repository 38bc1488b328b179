"""The server with a planted leak, so that the soak can be seen to find one: `python -m tests.soak --leak memory`."""

from __future__ import annotations

import os
import sys
import threading

from server.__main__ import main
from server.engine import Engine
from server.event_log import EventLog, StreamWriter
from server.invocation import Invocation

LEAKS = ("memory", "files", "threads", "disk")

_kept: list[object] = []
_writer = EventLog.writer


def command_of(leak: str) -> tuple[str, ...]:
    """How `ServerProcess` starts it."""
    return (sys.executable, "-m", "tests.soak.leaky_server", leak)


def _leak(kind: str) -> None:
    if kind == "memory":
        _kept.append(os.urandom(100_000))
    elif kind == "files":
        _kept.append(open(os.devnull))  # noqa: SIM115 - left open, which is the point
    elif kind == "threads":
        threading.Thread(target=threading.Event().wait, daemon=True).start()


async def _keep(_: Engine, thread_id: str) -> None:
    """Leaves the checkpoints of a thread that is deleted."""


def _plant(kind: str) -> None:
    def leaking(log: EventLog, invocation: Invocation) -> StreamWriter:
        """A turn begins, and leaves something behind."""
        _leak(kind)
        return _writer(log, invocation)

    setattr(EventLog, "writer", leaking)  # noqa: B010 - mypy lets no method be replaced
    if kind == "disk":
        setattr(Engine, "erase", _keep)  # noqa: B010


if __name__ == "__main__":
    _plant(sys.argv.pop(1))
    sys.exit(main())
