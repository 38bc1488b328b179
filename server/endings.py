"""How turns end: the last event and the end state for each way."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

import structlog

from graph.clock import elapsed
from graph.turn_events import ended, expected_failure, run_failed
from server.event_rows import Ending
from server.owners import public
from server.sealing import StoredValueRefused
from server.status import ENDED_BY_CAUSE, Status

if TYPE_CHECKING:
    from graph.prices import Prices
    from graph.report import Report
    from graph.turn import Turn, TurnResult
    from server.event_log import StreamWriter
    from server.invocation import Invocation

_log = structlog.get_logger(__name__)


class Drained(Exception):
    """The turn stopped at a checkpoint because the process is to end."""


def finished(invocation: Invocation, result: TurnResult, now: float, prices: Prices | None = None) -> Ending:
    """The end of a turn that did its plan, or wound down. `now` is Unix seconds."""
    event = ended(
        result,
        duration_sec=elapsed(invocation.started_at or now, now),
        report_url=report_url(invocation.id),
        prices=prices,
    )
    status = Status.COMPLETED if result.cause is None else ENDED_BY_CAUSE[result.cause]
    return _with_report(Ending(event, status, spent=result.spent), result.document)


def how_it_failed(error: Exception) -> dict[str, str]:
    """`{type, message}` of what ended a turn, in words that hold no secret. Raises `Drained` where nothing failed."""
    from langgraph.errors import GraphDrained

    from graph.checkpoint_refused import CheckpointRefused

    if isinstance(error, GraphDrained):
        raise Drained from error
    if (expected := expected_failure(error)) is not None:
        return expected
    if isinstance(error, CheckpointRefused | StoredValueRefused):
        _log.error("stored_value_refused", reason=str(error))
        return {"type": type(error).__name__, "message": str(error)}
    _log.error("turn_failed", exc_info=error)
    return {"type": type(error).__name__, "message": "The run met an unexpected error; the server's log tells more."}


async def failed(error: dict[str, str], turn: Turn | None, writer: StreamWriter) -> Ending:
    """The end of a turn that met an error: all that was done stays, and can be gone on from."""
    await writer.flushed()
    event = run_failed(error, turn.progress.completed_phases if turn else 0)
    report = turn.report_so_far("the run failed before it was done") if turn else None
    return _with_report(Ending(event, Status.FAILED, error=error), report)


def report_url(invocation_id: str) -> str:
    """Where the report of an invocation is read."""
    return f"/invocations/{public(invocation_id)}/report"


def _with_report(ending: Ending, report: Report | None) -> Ending:
    if report is None:
        return ending
    from graph.report import markdown_of

    return replace(ending, report=markdown_of(report), document=cast("dict[str, Any]", report))
