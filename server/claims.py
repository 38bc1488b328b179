"""The claim that a turn is run under, for all that its run does: a shared database refuses an older one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from server.invocation import Invocation

_present: ContextVar[Invocation | None] = ContextVar("claim", default=None)
_looked_at: ContextVar[str | None] = ContextVar("thread", default=None)


@contextmanager
def under_claim(invocation: Invocation) -> Iterator[None]:
    """What is done meanwhile, and in tasks that are begun meanwhile, is done under this claim."""
    token = _present.set(invocation)
    try:
        yield
    finally:
        _present.reset(token)


def present_claim() -> Invocation | None:
    """The claim that the calling task is under; None outside of turns."""
    return _present.get()


@contextmanager
def looking_at(thread_id: str) -> Iterator[None]:
    """What is read meanwhile, outside of turns, is this thread's."""
    token = _looked_at.set(thread_id)
    try:
        yield
    finally:
        _looked_at.reset(token)


def present_thread() -> str:
    """The thread whose checkpoints the calling task writes or reads."""
    claim = _present.get()
    thread = claim.thread_id if claim is not None else _looked_at.get()
    assert thread is not None, "checkpoints are read and written for one thread"
    return thread
