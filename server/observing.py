"""Who hears of a turn while it runs: the log, the metrics, the traces. None of them can hold it up."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

import structlog

from graph.events import Event
from server.spent_rows import spent_told
from server.status import Status

if TYPE_CHECKING:
    from server.event_rows import Ending
    from server.invocation import Invocation
    from server.metrics import Metrics
    from server.runner import Left

_log = structlog.get_logger(__name__)


class TurnObserver(Protocol):
    """Hears of one claim of a turn, from its start on."""

    def told(self, event: Event) -> None:
        """An event of the turn, other than a token."""

    def ended(self, ending: Ending) -> None:
        """The turn came to its end, which is on disk."""

    def left(self, how: Left) -> None:
        """This process runs the turn no more."""


# Begins to observe a turn that was claimed.
Observe = Callable[["Invocation"], TurnObserver]


class Observers:
    """Several as one."""

    def __init__(self, observe: Sequence[Observe], invocation: Invocation) -> None:
        self._observers = [begin(invocation) for begin in observe]

    def told(self, event: Event) -> None:
        for observer in self._observers:
            observer.told(event)

    def ended(self, ending: Ending) -> None:
        for observer in self._observers:
            observer.ended(ending)

    def left(self, how: Left) -> None:
        for observer in self._observers:
            observer.left(how)


class LoggedTurn:
    """The turn's lines in the log."""

    def __init__(self, invocation: Invocation) -> None:
        _log.info("turn_started", entry_mode=entry_mode(invocation), epoch=invocation.epoch)

    def told(self, event: Event) -> None:
        if event["type"] == "retrying":
            error = event["error"]
            where = {name: event[name] for name in ("phase", "role", "index", "attempt", "delay_sec")}
            _log.warning("model_call_failed", **where, error=error["type"], reason=error["message"])

    def ended(self, ending: Ending) -> None:
        _log.info("turn_ended", status=ending.status, **({"error": ending.error["type"]} if ending.error else {}))

    def left(self, how: Left) -> None: ...


class CountedTurn:
    """The turn's part in the metrics. `now` is Unix seconds."""

    def __init__(self, invocation: Invocation, metrics: Metrics, now: Callable[[], float]) -> None:
        self._invocation = invocation
        self._metrics = metrics
        self._now = now
        metrics.running.inc()
        metrics.started[entry_mode(invocation)].inc()
        if invocation.epoch == 1 and invocation.started_at is not None:
            metrics.waited.observe(max(0.0, invocation.started_at - invocation.created_at))

    def told(self, event: Event) -> None:
        metrics, kind = self._metrics, event["type"]
        if kind == "retrying":
            metrics.retries.labels(metrics.errors.of(event["error"]["type"])).inc()
            self._note_limit(event["error"])
        elif kind == "subcall_end":
            metrics.subcall.labels(event["role"]).observe(event["duration_sec"])
        for row in spent_told(event):
            metrics.spent(row["model"], row["input_tokens"], row["output_tokens"])

    def ended(self, ending: Ending) -> None:
        metrics, began = self._metrics, self._invocation.started_at
        if began is not None:
            metrics.duration.labels(ending.status).observe(max(0.0, self._now() - began))
        if ending.status is Status.FAILED and ending.error is not None:
            metrics.failed.labels(metrics.errors.of(ending.error["type"])).inc()
            self._note_limit(ending.error)
        for row in ending.spent or ():
            # Of a turn's calls no event tells of this one.
            if row["phase"] == 0:
                metrics.spent(row["model"], row["input_tokens"], row["output_tokens"])

    def _note_limit(self, error: Mapping[str, str]) -> None:
        from graph.failure import RATE_LIMITED

        if error["message"] in RATE_LIMITED:
            self._metrics.provider_limited.inc()

    def left(self, how: Left) -> None:
        self._metrics.running.dec()
        if (counter := self._metrics.left.get(how.value)) is not None:
            counter.inc()


def entry_mode(invocation: Invocation) -> str:
    """`fresh`, `resumed` (the thread had turns before) or `recovered` (begun again), as in `run_start`."""
    if invocation.epoch > 1:
        return "recovered"
    return "fresh" if invocation.turn == 1 else "resumed"
