"""The line by which somebody outside reaches a run under way."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from langgraph.runtime import RunControl

if TYPE_CHECKING:
    from graph.directive import Directive


class TurnControl(RunControl):
    """A `RunControl` that also carries a directive, which the router behind a subcall sees. One for each run.

    To be called from the run's own event loop. A later directive replaces one that was not yet taken.
    """

    __slots__ = ("_changed", "_directive")

    def __init__(self) -> None:
        super().__init__()
        self._directive: Directive | None = None
        self._changed = asyncio.Event()

    @property
    def pending(self) -> bool:
        """Whether a directive waits to be taken."""
        return self._directive is not None

    def request(self, directive: Directive) -> None:
        """Asks the run to stop at its next router and take `directive`; a cooldown ends at once."""
        self._directive = directive
        self._changed.set()

    def request_drain(self, reason: str = "shutdown") -> None:
        """Asks the run to leave at its next superstep, with its checkpoint saved; a cooldown ends at once."""
        super().request_drain(reason)
        self._changed.set()

    def take(self) -> Directive | None:
        """The directive that waits, if any; it waits no longer."""
        directive, self._directive = self._directive, None
        if not self.drain_requested:
            self._changed.clear()
        return directive

    async def wait(self, seconds: float) -> None:
        """Returns after `seconds`, or as soon as something is requested."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, seconds)):
                await self._changed.wait()


def is_pending(control: RunControl | None) -> bool:
    """Whether somebody waits to reach the run; without a `TurnControl`, as in Studio, nobody can."""
    return isinstance(control, TurnControl) and control.pending
