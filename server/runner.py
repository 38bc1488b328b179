"""Runs one claimed turn from where it is to its end: graph events into the log, the end state behind them."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncGenerator, Callable, Coroutine, Sequence
from contextlib import aclosing
from dataclasses import fields
from enum import StrEnum, auto
from typing import TYPE_CHECKING

import structlog
from structlog.contextvars import bound_contextvars

from graph.context import Context
from graph.events import Event
from graph.seen import Seen
from server.claims import under_claim
from server.database import StorageFailed
from server.endings import Drained, failed, finished, how_it_failed
from server.event_rows import Ending, Superseded
from server.observing import Observe, Observers

if TYPE_CHECKING:
    from graph.turn import Turn
    from server.engine import Engine
    from server.event_log import EventLog, StreamWriter
    from server.invocation import Invocation
    from server.invocation_store import InvocationStore
    from server.turn_handle import TurnHandle

_log = structlog.get_logger(__name__)


class Left(StrEnum):
    """How the runner left a turn. `FENCED`: a later claim has it."""

    ENDED = auto()
    DRAINED = auto()
    STORAGE_FAILED = auto()
    FENCED = auto()
    BROKEN_OFF = auto()


class Runner:
    """Drives turns; `observe` hears of each. `now` is Unix seconds."""

    def __init__(
        self,
        engine: Engine,
        store: InvocationStore,
        log: EventLog,
        now: Callable[[], float],
        observe: Sequence[Observe] = (),
    ) -> None:
        self._engine = engine
        self._store = store
        self._event_log = log
        self._now = now
        self._observe = observe

    async def run(self, invocation: Invocation, handle: TurnHandle) -> Left:
        """Runs the turn that was claimed; only `ENDED` has given it an end state."""
        with bound_contextvars(thread_id=invocation.thread_id, invocation_id=invocation.id):
            observers, left = Observers(self._observe, invocation), Left.BROKEN_OFF
            try:
                left = await self._driven(invocation, handle, observers)
            finally:
                observers.left(left)
            return left

    async def _driven(self, invocation: Invocation, handle: TurnHandle, observers: Observers) -> Left:
        try:
            with self._event_log.attached(invocation.id), under_claim(invocation):
                await self._run(invocation, handle, observers)
        except Superseded as error:
            _log.warning("turn_superseded", reason=str(error))
            return Left.FENCED
        except (StorageFailed, sqlite3.Error) as error:
            _log.error("storage_failed", reason=str(error))
            return Left.STORAGE_FAILED
        except Drained:
            _log.info("turn_drained")
            return Left.DRAINED
        except Exception as error:  # noqa: BLE001
            # Not even its end could be written: an event or a report that cannot be. The turn must not hang for that.
            _log.error("turn_broken", exc_info=error)
            return await self._give_up(invocation, observers)
        return Left.ENDED

    async def _give_up(self, invocation: Invocation, observers: Observers) -> Left:
        """Ends a turn whose own end failed, by a writer that knows nothing of it."""
        error = {"type": "Unwritable", "message": "The run met something that could not be written down."}
        try:
            with self._event_log.attached(invocation.id):
                writer = self._event_log.writer(invocation)
                ending = await failed(error, None, writer)
                await writer.end(ending)
        except Superseded:
            return Left.FENCED
        except StorageFailed:
            return Left.STORAGE_FAILED
        observers.ended(ending)
        return Left.ENDED

    async def _run(self, invocation: Invocation, handle: TurnHandle, observers: Observers) -> None:
        writer = self._event_log.writer(invocation)
        ending = await self._ending(invocation, writer, handle, observers)
        await writer.end(ending)
        observers.ended(ending)

    async def _ending(
        self, invocation: Invocation, writer: StreamWriter, handle: TurnHandle, observers: Observers
    ) -> Ending:
        limit = _time_limit(invocation, handle, self._now())
        turn: Turn | None = None
        try:
            turn = await self._turn(invocation, handle)
            await self._play(turn, writer, handle, observers)
        except (StorageFailed, sqlite3.Error, Superseded):
            raise
        except Exception as error:  # noqa: BLE001
            # The edge of a turn: whatever a node, a search or a model raised ends this turn and no other.
            return await failed(how_it_failed(error), turn, writer)
        finally:
            if limit is not None:
                limit.cancel()
        return finished(invocation, turn.result, self._now(), self._engine.prices)

    async def _turn(self, invocation: Invocation, handle: TurnHandle) -> Turn:
        seen = Seen.from_tail(*await self._event_log.keys_and_tail(invocation)) if invocation.epoch > 1 else None
        graph = await self._engine.graph()
        if (rolled_back := await self._store.rolled_back_before(invocation)) is not None:
            await self._engine.roll_back(invocation.thread_id, rolled_back)
        from graph.turn import Turn

        return Turn(
            graph,
            thread_id=invocation.thread_id,
            run_id=invocation.id,
            input={"message": invocation.message, "steering": invocation.steering},  # type: ignore[typeddict-item]
            context=context_of(invocation),
            control=handle.control(),
            seen=seen,
            now=self._now,
            prices=self._engine.prices,
        )

    async def _play(self, turn: Turn, writer: StreamWriter, handle: TurnHandle, observers: Observers) -> None:
        """Writes the turn's events, until it is over or is broken off."""
        if not handle.broken.is_set() and await _unless_broken(_write_all(turn.events(), writer, observers), handle):
            return
        assert handle.cause is not None
        await _write_all(turn.settle(handle.cause), writer, observers)


async def _write_all(events: AsyncGenerator[Event, None], writer: StreamWriter, observers: Observers) -> None:
    # Closed also where a write fails: the graph must not run on behind a turn that is given back.
    async with aclosing(events):
        async for event in events:
            writer.put(event)
            if event["type"] != "token":
                observers.told(event)
            await writer.room()


async def _unless_broken(writing: Coroutine[None, None, None], handle: TurnHandle) -> bool:
    """Whether the writing came to its end, and was not broken off. Raises what it raised."""
    driving = asyncio.create_task(writing)
    broken = asyncio.create_task(handle.broken.wait())
    try:
        await asyncio.wait({driving, broken}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        broken.cancel()
        if not driving.done():
            driving.cancel()
            await asyncio.wait({driving})
    if driving.cancelled():
        return False
    error = driving.exception()
    if error is not None and not (handle.broken.is_set() and not isinstance(error, StorageFailed | sqlite3.Error)):
        raise error
    return error is None


def _time_limit(invocation: Invocation, handle: TurnHandle, now: float) -> asyncio.TimerHandle | None:
    seconds = invocation.config.get("run_timeout_sec")
    if seconds is None:
        return None
    # Never more than the whole of it, should the clock have been set back.
    rest = min(seconds, (invocation.started_at or now) + seconds - now)
    if rest <= 0:
        handle.time_out()
        return None
    return asyncio.get_running_loop().call_later(rest, handle.time_out)


def context_of(invocation: Invocation) -> Context:
    """The graph's part of the turn's configuration."""
    config = invocation.config
    # A turn that an older version accepted knows less; `review` is none's, as nobody could answer it over HTTP.
    return Context(**{field.name: config[field.name] for field in fields(Context) if field.name in config})
