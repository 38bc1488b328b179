"""The claim that a turn is run under, for all that its run does: a shared database refuses an older one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from server.invocation import Invocation

_present: ContextVar[Invocation | None] = ContextVar("claim", default=None)


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
