"""Claims the turns that wait, in their order, as many as may run at once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import structlog

from server.database import StorageFailed
from server.runner import Left, Runner

if TYPE_CHECKING:
    from graph.control import TurnControl
    from server.invocation import Invocation
    from server.invocation_store import InvocationStore

_log = structlog.get_logger(__name__)

STORAGE_REST_SEC: Final = 1.0


class Dispatcher:
    """Keeps up to `limit` turns running."""

    def __init__(self, store: InvocationStore, runner: Runner, *, limit: int, now: Callable[[], float]) -> None:
        self._store = store
        self._runner = runner
        self._limit = limit
        self._now = now
        self._woken = asyncio.Event()
        self._turns: dict[str, asyncio.Task[None]] = {}
        self._controls: dict[str, TurnControl] = {}
        self._loop: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begins to claim."""
        self._woken.set()
        self._loop = asyncio.create_task(self._claim_all(), name="dispatcher")

    def wake(self) -> None:
        """To be called when a turn may have become claimable."""
        self._woken.set()

    async def stop(self) -> None:
        """Breaks off what runs, as a crash would: a later process goes on with it."""
        tasks = [task for task in (self._loop, *self._turns.values()) if task is not None]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    async def _claim_all(self) -> None:
        while True:
            await self._woken.wait()
            self._woken.clear()
            try:
                while len(self._turns) < self._limit and (invocation := await self._store.claim(self._now())):
                    self._begin(invocation)
            except StorageFailed as error:
                _log.error("claim_failed", reason=str(error))
                asyncio.get_running_loop().call_later(STORAGE_REST_SEC, self._woken.set)

    def _begin(self, invocation: Invocation) -> None:
        task = asyncio.create_task(self._run(invocation), name=invocation.id)
        self._turns[invocation.id] = task

    async def _run(self, invocation: Invocation) -> None:
        try:
            left = await self._runner.run(invocation, lambda: self._control(invocation.id))
        finally:
            self._controls.pop(invocation.id, None)
            self._turns.pop(invocation.id, None)
        if left is Left.STORAGE_FAILED:
            asyncio.get_running_loop().call_later(STORAGE_REST_SEC, self._give_back, invocation)
        self.wake()

    def _control(self, invocation_id: str) -> TurnControl:
        from graph.control import TurnControl

        return self._controls.setdefault(invocation_id, TurnControl())

    def _give_back(self, invocation: Invocation) -> None:
        # Held in the table of turns, so that it counts as running until it waits again.
        self._turns[invocation.id] = asyncio.create_task(self._requeue(invocation), name=invocation.id)

    async def _requeue(self, invocation: Invocation) -> None:
        try:
            await self._store.requeue(invocation)
        except StorageFailed as error:
            _log.error("requeue_failed", invocation=invocation.id, reason=str(error))
            asyncio.get_running_loop().call_later(STORAGE_REST_SEC, self._give_back, invocation)
        finally:
            self._turns.pop(invocation.id, None)
        self.wake()
