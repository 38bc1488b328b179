"""Runs one claimed turn from where it is to its end: graph events into the log, the end state behind them."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from enum import Enum, auto
from typing import TYPE_CHECKING, Any

import structlog

from graph.context import Context
from graph.events import Event
from graph.seen import Seen
from server.database import StorageFailed
from server.event_log import Ending, EventLog, StreamWriter, Superseded
from server.status import ENDED_BY_CAUSE, Status

if TYPE_CHECKING:
    from graph.control import TurnControl
    from graph.turn import Turn, TurnResult
    from server.engine import Engine
    from server.invocation import Invocation

_log = structlog.get_logger(__name__)


class Left(Enum):
    """How the runner left a turn."""

    ENDED = auto()
    DRAINED = auto()
    STORAGE_FAILED = auto()
    SUPERSEDED = auto()


class Runner:
    """Drives turns. `now` is Unix seconds."""

    def __init__(self, engine: Engine, log: EventLog, now: Callable[[], float]) -> None:
        self._engine = engine
        self._event_log = log
        self._now = now

    async def run(self, invocation: Invocation, control: Callable[[], TurnControl]) -> Left:
        """Runs the turn that was claimed; only `ENDED` has given it an end state."""
        log = _log.bind(thread=invocation.thread_id, invocation=invocation.id)
        try:
            with self._event_log.attached(invocation.id):
                await self._run(invocation, control)
        except Superseded as error:
            log.warning("turn_superseded", reason=str(error))
            return Left.SUPERSEDED
        except (StorageFailed, sqlite3.Error) as error:
            log.error("storage_failed", reason=str(error))
            return Left.STORAGE_FAILED
        except _Drained:
            log.info("turn_drained")
            return Left.DRAINED
        log.info("turn_ended")
        return Left.ENDED

    async def _run(self, invocation: Invocation, control: Callable[[], TurnControl]) -> None:
        writer = self._event_log.writer(invocation)
        recovers = invocation.last_event_id > 0
        seen = Seen.from_tail(*await self._event_log.keys_and_tail(invocation)) if recovers else None
        # Before the graph is loaded: readers learn of a recovery within the process's first second.
        writer.put(_run_start(invocation, recovers=recovers))
        turn = await self._turn(invocation, control(), seen)
        await writer.end(await self._ending(invocation, turn, writer))

    async def _turn(self, invocation: Invocation, control: TurnControl, seen: Seen | None) -> Turn:
        graph = await self._engine.graph()
        from graph.turn import Turn

        return Turn(
            graph,
            thread_id=invocation.thread_id,
            run_id=invocation.id,
            input={"message": invocation.message, "steering": invocation.steering},  # type: ignore[typeddict-item]
            context=Context(**invocation.config),
            control=control,
            seen=seen,
            now=self._now,
        )

    async def _ending(self, invocation: Invocation, turn: Turn, writer: StreamWriter) -> Ending:
        from langgraph.errors import GraphDrained

        from graph.failure import ModelFailed

        try:
            async for event in turn.events():
                writer.put(event)
                await writer.room()
        except (StorageFailed, sqlite3.Error, Superseded):
            raise
        except GraphDrained as error:
            await writer.flushed()
            raise _Drained from error
        except ModelFailed as error:
            return _failed({"type": error.failure.type, "message": error.failure.message}, turn)
        except Exception as error:  # noqa: BLE001
            # The edge of a turn: whatever a node, a search or a model raised ends this turn and no other.
            _log.exception("turn_failed", thread=invocation.thread_id, invocation=invocation.id)
            return _failed({"type": type(error).__name__, "message": "The run met an unexpected error."}, turn)
        return _finished(invocation, turn.result, self._now())


class _Drained(Exception):
    """The turn stopped at a checkpoint because the process is to end."""


def _run_start(invocation: Invocation, *, recovers: bool) -> Event:
    entry_mode = "recovered" if recovers else "fresh" if invocation.turn == 1 else "resumed"
    event: Event = {
        "type": "run_start",
        "topic": invocation.topic,
        "entry_mode": entry_mode,
        "thread_id": invocation.thread_id,
        "invocation_id": invocation.id,
        "total_phases": invocation.total_phases,
        "calls_per_phase": invocation.config["calls_per_phase"],
        "model": invocation.config["model"],
    }
    return event if invocation.prior_topic is None else event | {"prior_topic": invocation.prior_topic}


def _finished(invocation: Invocation, result: TurnResult, now: float) -> Ending:
    if result.cause is not None:
        event: dict[str, Any] = {
            "type": "winding_down",
            "cause": result.cause,
            "completed_phases": result.phases_completed,
            "total_phases": result.total_phases,
            "pending_steering_inputs": 0,
        }
        return Ending(event, ENDED_BY_CAUSE[result.cause], report=result.report)
    event = {
        "type": "run_complete",
        "phases_completed": result.phases_completed,
        "duration_sec": round(now - (invocation.started_at or now), 3),
        "usage": result.usage,
        "report_url": report_url(invocation.id),
    }
    return Ending(event, Status.COMPLETED, report=result.report)


def _failed(error: dict[str, str], turn: Turn) -> Ending:
    event = {
        "type": "run_failed",
        "error": error,
        "completed_phases": turn.progress.completed_phases,
        "resumable": True,
    }
    return Ending(event, Status.FAILED, error=error)


def report_url(invocation_id: str) -> str:
    """Where the report of an invocation is read."""
    return f"/invocations/{invocation_id}/report"
