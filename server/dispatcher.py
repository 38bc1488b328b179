"""Claims the turns that wait, in their order, as many as may run at once; passes wishes on to those that run."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, Final, Protocol

import structlog

from graph.faults import reach
from server.database import StorageFailed
from server.runner import Left

if TYPE_CHECKING:
    from server.invocation import Invocation, Wish
    from server.invocation_store import InvocationStore
    from server.running import Running

_log = structlog.get_logger(__name__)

STORAGE_REST_SEC: Final = 1.0
LONGEST_REST_SEC: Final = 60.0


class Dispatching(Protocol):
    """What runs turns in this process, or does not."""

    def start(self) -> None:
        """Begins to take turns."""

    def wake(self) -> None:
        """To be called when a turn may have become claimable."""

    def want(self, invocation_id: str, wish: Wish) -> None:
        """Passes a wish, which is on disk already, on to a turn that runs here."""

    async def drain(self, grace_sec: float) -> None:
        """Takes nothing more, lets each turn come to its next checkpoint, and breaks off what takes longer."""

    async def stop(self) -> None:
        """Breaks off what runs, as a crash would: a later process goes on with it."""


class Dispatcher:
    """Keeps up to `limit` turns running, of a database that is this process's own."""

    def __init__(self, store: InvocationStore, running: Running, *, limit: int, now: Callable[[], float]) -> None:
        self._store = store
        self._running = running
        self._limit = limit
        self._now = now
        self._woken = asyncio.Event()
        self._turns: dict[str, asyncio.Task[None]] = {}
        self._loop: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begins to claim."""
        self._woken.set()
        self._loop = asyncio.create_task(self._claim_all(), name="dispatcher")

    def wake(self) -> None:
        """To be called when a turn may have become claimable."""
        self._woken.set()

    def want(self, invocation_id: str, wish: Wish) -> None:
        """Passes a wish, which is on disk already, on to a turn that runs here."""
        self._running.want(invocation_id, wish)

    async def drain(self, grace_sec: float) -> None:
        """Claims nothing more, lets each turn come to its next checkpoint, and breaks off what takes longer."""
        self._running.drain()
        if self._turns:
            await asyncio.wait(list(self._turns.values()), timeout=grace_sec)
        await self.stop()

    async def stop(self) -> None:
        """Breaks off what runs, as a crash would: a later process goes on with it."""
        self._running.draining = True
        tasks = [task for task in (self._loop, *self._turns.values()) if task is not None]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    async def _claim_all(self) -> None:
        while not self._running.draining:
            await self._woken.wait()
            self._woken.clear()
            try:
                while self._has_room() and (invocation := await self._store.claim(self._now())):
                    self._begin(invocation)
            except StorageFailed as error:
                _log.error("claim_failed", reason=str(error))
                asyncio.get_running_loop().call_later(STORAGE_REST_SEC, self._woken.set)

    def _has_room(self) -> bool:
        return len(self._turns) < self._limit and not self._running.draining

    def _begin(self, invocation: Invocation) -> None:
        turn = self._running.begin(invocation)
        self._turns[invocation.id] = asyncio.create_task(self._run(invocation, turn), name=invocation.id)

    async def _run(self, invocation: Invocation, turn: Coroutine[Any, Any, Left]) -> None:
        try:
            left = await turn
        finally:
            self._turns.pop(invocation.id, None)
            self.wake()
        if left is Left.STORAGE_FAILED:
            self._give_back_later(invocation)
        reach("handover")

    def _give_back_later(self, invocation: Invocation) -> None:
        asyncio.get_running_loop().call_later(rest_before(invocation), self._give_back, invocation)

    def _give_back(self, invocation: Invocation) -> None:
        if not self._running.draining:
            self._turns[invocation.id] = asyncio.create_task(self._requeue(invocation), name=invocation.id)

    async def _requeue(self, invocation: Invocation) -> None:
        try:
            await self._store.requeue(invocation)
        except StorageFailed as error:
            _log.error("requeue_failed", invocation_id=invocation.id, reason=str(error))
            self._give_back_later(invocation)
        finally:
            self._turns.pop(invocation.id, None)
        self.wake()


def rest_before(invocation: Invocation) -> float:
    """Seconds to wait before a turn is claimed again whose storage failed.

    Each claim writes to the stream, so a disk that stays broken must not be asked every second.
    """
    return min(LONGEST_REST_SEC, STORAGE_REST_SEC * 2.0 ** min(invocation.epoch - 1, 6))
