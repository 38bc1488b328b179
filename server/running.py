"""The turns that run in this process, and what is wanted of them."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any

from server.runner import Left, Runner
from server.turn_handle import TurnHandle

if TYPE_CHECKING:
    from server.invocation import Invocation, Wish
    from server.metrics import Metrics


class Running:
    """Passes wishes on to turns; each is told once of what is wanted, whoever wanted it."""

    def __init__(self, runner: Runner, metrics: Metrics) -> None:
        self.draining = False
        self._runner = runner
        self._metrics = metrics
        self._handles: dict[str, TurnHandle] = {}
        self._tasks: dict[str, tuple[int, asyncio.Task[Left]]] = {}

    def begin(self, invocation: Invocation) -> Coroutine[Any, Any, Left]:
        """Runs a claimed turn: from this call on it hears of wishes, by awaiting what is returned it runs."""
        handle = self._handles[invocation.id] = TurnHandle(invocation.wish)
        if self.draining:
            handle.drain()
        return self._run(invocation, handle)

    def want(self, invocation_id: str, wish: Wish) -> None:
        """Passes a wish, which is on disk already, on to a turn that runs here."""
        if (handle := self._handles.get(invocation_id)) is not None:
            handle.want(wish)

    def drain(self) -> None:
        """Lets each turn stop at its next checkpoint; those that begin from now on at their first."""
        self.draining = True
        for handle in self._handles.values():
            handle.drain()

    def taken_over(self, invocation_id: str, epoch: int) -> None:
        """Breaks a turn off that is under a later claim, which is another host's."""
        mine, task = self._tasks.get(invocation_id, (epoch, None))
        if task is not None and epoch > mine:
            self._metrics.fences_lost.inc()
            task.cancel()

    def break_off(self) -> None:
        """Stops all turns where they are, as a crash would."""
        for _, task in self._tasks.values():
            task.cancel()

    async def _run(self, invocation: Invocation, handle: TurnHandle) -> Left:
        task = asyncio.create_task(self._runner.run(invocation, handle), name=invocation.id)
        self._tasks[invocation.id] = (invocation.epoch, task)
        try:
            await asyncio.wait({task})
            left = Left.BROKEN_OFF if task.cancelled() else task.result()
            if left is Left.FENCED:
                self._metrics.fences_lost.inc()
            return left
        finally:
            del self._tasks[invocation.id]
            del self._handles[invocation.id]
            if not task.done():
                task.cancel()
                await asyncio.wait({task})
