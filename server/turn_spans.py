"""The spans of one claim of a turn, made from its events: phases, subcalls, model calls. Needs the extra `otel`.

Names and attributes follow OpenTelemetry's conventions for generative AI: opentelemetry.io/docs/specs/semconv/gen-ai.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from opentelemetry.trace import SpanKind, Status, StatusCode, set_span_in_context

from graph.events import Event
from graph.usage import total
from server.status import Status as State

if TYPE_CHECKING:
    from opentelemetry.trace import Span, Tracer

    from graph.state import Usage
    from server.event_rows import Ending
    from server.runner import Left


class TurnSpans:
    """Hears of a turn; `config` is the turn's whole configuration."""

    def __init__(self, tracer: Tracer, span: Span, config: Mapping[str, Any]) -> None:
        self._tracer = tracer
        self._turn = span
        self._config = config
        self._phase: Span | None = None
        self._number = 0
        self._phase_began_ns = 0
        self._subcall: Span | None = None
        self._subcall_began_ns = 0
        self._call: Span | None = None
        self._error: str | None = None

    def told(self, event: Event) -> None:
        """Opens and closes spans as the event says."""
        kind = event["type"]
        if kind == "phase_start":
            self._in_phase(event["phase"])
        elif kind == "sources":
            self._searched(event)
        elif kind == "subcall_start":
            self._begin_call(event)
        elif kind == "retrying":
            self._fail_call(event)
        elif kind == "subcall_end":
            self._end_subcall(event)
        elif kind == "phase_end":
            self._end_phase()
        elif kind == "cooldown":
            self._turn.add_event("cooldown", {"stage": event["stage"], "duration_sec": event["duration_sec"]})
        elif kind == "recovered":
            self._turn.add_event("recovered", {"completed_phases": event["completed_phases"]})

    def ended(self, ending: Ending) -> None:
        """Notes how the turn ended, and what it cost."""
        self._turn.set_attribute("research.status", ending.status)
        if ending.spent is not None:
            self._turn.set_attributes(_usage(total(ending.spent)))
        if ending.status is State.FAILED:
            self._error = (ending.error or {}).get("type", "unknown")
            _failed(self._turn, self._error)

    def left(self, how: Left) -> None:
        """Closes what is open: as failed where an error ended the turn."""
        self._turn.set_attribute("research.left", how)
        for span in (self._call, self._subcall, self._phase):
            if span is not None:
                if self._error is not None:
                    _failed(span, self._error)
                span.end()
        self._turn.end()

    def _child(self, parent: Span, name: str, **options: Any) -> Span:  # options are OpenTelemetry's own
        return self._tracer.start_span(name, context=set_span_in_context(parent), **options)

    def _in_phase(self, number: int) -> Span:
        """The phase's span, which begins here where it is not open: after a crash no event tells of its start again."""
        if self._phase is None or self._number != number:
            self._end_phase()
            self._number, self._phase_began_ns = number, time.time_ns()
            self._phase = self._child(self._turn, f"phase {number}", attributes={"research.phase": number})
        return self._phase

    def _end_phase(self) -> None:
        if self._phase is not None:
            self._phase.end()
            self._phase = None

    def _searched(self, event: Event) -> None:
        phase = self._in_phase(event["phase"])
        attributes = {
            "gen_ai.operation.name": "execute_tool",
            "gen_ai.tool.name": "search",
            "research.sources": len(event["items"]),
        }
        self._child(phase, "execute_tool search", attributes=attributes, start_time=self._phase_began_ns).end()

    def _begin_call(self, event: Event) -> None:
        phase, role = self._in_phase(event["phase"]), event["role"]
        where = {"research.phase": event["phase"], "research.role": role, "research.index": event["index"]}
        if self._subcall is None:
            self._subcall_began_ns = time.time_ns()
            self._subcall = self._child(phase, f"subcall {role}", attributes=where)
        named = self._config.get("role_models", {}).get(role) or self._config["model"]
        provider, _, model = named.rpartition(":")
        attributes = {
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": provider or model,
            "gen_ai.request.model": model,
            "research.attempt": event["attempt"],
        }
        self._call = self._child(self._subcall, f"chat {model}", kind=SpanKind.CLIENT, attributes=attributes)

    def _fail_call(self, event: Event) -> None:
        if self._call is not None:
            _failed(self._call, event["error"]["type"])
            self._call.end()
            self._call = None

    def _end_subcall(self, event: Event) -> None:
        # The event comes behind its commit; the call was over when the answer was.
        answered_ns = min(time.time_ns(), self._subcall_began_ns + int(event["duration_sec"] * 1e9))
        if self._call is not None:
            self._call.set_attributes(_usage(event["usage"]))
            self._call.end(answered_ns)
        if self._subcall is not None:
            self._subcall.set_attributes(_usage(event["usage"]))
            self._subcall.end()
        self._call = self._subcall = None


def _usage(usage: Usage) -> dict[str, int]:
    return {
        "gen_ai.usage.input_tokens": usage["input_tokens"],
        "gen_ai.usage.output_tokens": usage["output_tokens"],
    }


def _failed(span: Span, error: str) -> None:
    span.set_attribute("error.type", error)
    span.set_status(Status(StatusCode.ERROR))
