"""By what a turn that runs is told that something is wanted of it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from server.invocation import Wish

if TYPE_CHECKING:
    from graph.control import TurnControl
    from graph.state import Cause


class TurnHandle:
    """One running turn's. Wishes may come before the graph is loaded; the strongest counts.

    `broken` is set when the turn is not to reach its next checkpoint but to be broken off, for `cause`.
    """

    def __init__(self, wish: Wish) -> None:
        self.broken = asyncio.Event()
        self.cause: Cause | None = None
        self._wish = Wish.NONE
        self._draining = False
        self._control: TurnControl | None = None
        self.want(wish)

    def want(self, wish: Wish) -> None:
        """Passes a wish on to the turn."""
        if wish <= self._wish:
            return
        self._wish = wish
        if wish >= Wish.CANCEL and self.broken.is_set():
            self.cause = "operator_cancel"
        elif wish is Wish.CANCEL_NOW:
            self._break_off("operator_cancel")
        elif wish is Wish.ROLL_BACK:
            self._break_off("steering")
        self._apply()

    def time_out(self) -> None:
        """The turn's time is up."""
        self._break_off("timeout")

    def drain(self) -> None:
        """The process is to end: the turn shall stop at its next checkpoint, and stay unfinished."""
        self._draining = True
        self._apply()

    def control(self) -> TurnControl:
        """The control of the graph's run, told of what is wanted already. Loads LangGraph."""
        from graph.control import TurnControl

        self._control = TurnControl()
        self._apply()
        return self._control

    def _break_off(self, cause: Cause) -> None:
        self.cause = self.cause or cause
        self.broken.set()

    def _apply(self) -> None:
        if self._control is None:
            return
        if self._draining:
            self._control.request_drain()
        if self._wish in (Wish.STEER, Wish.CANCEL):
            from graph.directive import Directive

            cause: Cause = "steering" if self._wish is Wish.STEER else "operator_cancel"
            self._control.request(Directive(action="stop", cause=cause))
