"""Traces of turns by OpenTelemetry: a span for each turn, phase, subcall and model call, without any text.

A span's place needs no storage: the trace of an invocation and the span of each of its claims are derived from its id,
so that a later process links to what an earlier one began (docs/adr/0022-traces-derived-from-ids.md). Needs the extra
`otel`; imported where traces are asked for.
"""

from __future__ import annotations

import asyncio
import hashlib
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.id_generator import IdGenerator, RandomIdGenerator
from opentelemetry.trace import Link, SpanContext, SpanKind, TraceFlags
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from server.turn_spans import TurnSpans

if TYPE_CHECKING:
    from fastapi import Request
    from opentelemetry.trace import Tracer

    from server.invocation import Invocation

SERVICE: Final = "research-agent"
# Posts whose caller the turn links back to, where it starts in the same process.
MOST_CALLERS: Final = 1000
# What the process gives the last spans at its end; a collector that is away must not hold it up.
GOODBYE_SEC: Final = 0.8


class DerivedIds(IdGenerator):
    """Random ids, but for a span whose place is told beforehand."""

    def __init__(self) -> None:
        self._random = RandomIdGenerator()
        self._told: SpanContext | None = None

    @contextmanager
    def of(self, place: SpanContext) -> Iterator[None]:
        """The span that is started meanwhile stands there."""
        self._told = place
        try:
            yield
        finally:
            self._told = None

    def generate_trace_id(self) -> int:
        return self._random.generate_trace_id() if self._told is None else self._told.trace_id

    def generate_span_id(self) -> int:
        return self._random.generate_span_id() if self._told is None else self._told.span_id


class Traces:
    """Makes spans, and gives them to `processor`, by default in batches to the collector of OTEL_EXPORTER_OTLP_*."""

    def __init__(self, processor: SpanProcessor | None = None) -> None:
        self._ids = DerivedIds()
        # What the environment says of the resource comes before the name.
        resource = Resource({"service.name": SERVICE}).merge(OTELResourceDetector().detect())
        self._provider = TracerProvider(resource=resource, id_generator=self._ids, shutdown_on_exit=False)
        self._provider.add_span_processor(processor or BatchSpanProcessor(OTLPSpanExporter()))
        self._callers: dict[str, SpanContext] = {}

    @property
    def _tracer(self) -> Tracer:
        return self._provider.get_tracer("research-agent")

    def accepted(self, request: Request, invocation: Invocation) -> None:
        """A POST made this invocation: a span below its caller's, with a link to the turn that comes of it."""
        route = getattr(request.scope.get("route"), "path", "")
        span = self._tracer.start_span(
            f"{request.method} {route}",
            context=TraceContextTextMapPropagator().extract(dict(request.headers)),
            kind=SpanKind.SERVER,
            attributes={
                "http.request.method": request.method,
                "http.route": route,
                "research.request_id": str(getattr(request.state, "request_id", "")),
                **_names(invocation),
            },
            links=[Link(place_of(invocation.id, 1))],
            start_time=getattr(request.state, "received_ns", None),
        )
        span.end()
        self._callers[invocation.id] = span.get_span_context()
        while len(self._callers) > MOST_CALLERS:
            del self._callers[next(iter(self._callers))]

    def turn(self, invocation: Invocation) -> TurnSpans:
        """Begins the span of a claim, linked to the claim before it, the turn it resumes, and its caller's."""
        links = []
        if invocation.epoch > 1:
            links.append(Link(place_of(invocation.id, invocation.epoch - 1), {"research.link": "recovers"}))
        elif invocation.resumes is not None:
            links.append(Link(place_of(invocation.resumes, 1), {"research.link": "resumes"}))
        if (caller := self._callers.pop(invocation.id, None)) is not None:
            links.append(Link(caller, {"research.link": "posted"}))
        with self._ids.of(place_of(invocation.id, invocation.epoch)):
            span = self._tracer.start_span(
                "invoke_agent research",
                context=Context(),
                kind=SpanKind.INTERNAL,
                attributes={
                    "gen_ai.operation.name": "invoke_agent",
                    "gen_ai.agent.name": "research",
                    "gen_ai.conversation.id": invocation.thread_id,
                    "research.epoch": invocation.epoch,
                    **_names(invocation),
                },
                links=links,
            )
        return TurnSpans(self._tracer, span, invocation.config)

    async def close(self) -> None:
        """Sends what is left, as far as the collector takes it at once."""
        last = threading.Thread(target=self._provider.shutdown, name="traces", daemon=True)
        last.start()
        await asyncio.to_thread(last.join, GOODBYE_SEC)


def place_of(invocation_id: str, epoch: int) -> SpanContext:
    """Where the span of an invocation's claim number `epoch` stands. Each invocation is one trace."""
    trace = hashlib.sha256(f"trace:{invocation_id}".encode()).digest()[:16]
    span = hashlib.sha256(f"span:{invocation_id}:{epoch}".encode()).digest()[:8]
    flags = TraceFlags(TraceFlags.SAMPLED)
    return SpanContext(int.from_bytes(trace, "big"), int.from_bytes(span, "big"), is_remote=True, trace_flags=flags)


def _names(invocation: Invocation) -> Mapping[str, str]:
    return {"research.invocation_id": invocation.id, "research.thread_id": invocation.thread_id}
