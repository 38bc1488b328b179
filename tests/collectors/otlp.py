"""An OpenTelemetry collector: OTLP over HTTP, protobuf."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.collectors.http import Collector


@dataclass(frozen=True)
class Seen:
    """One span as it came over the wire; ids are hex, times nanoseconds. `links` are (trace, span, what)."""

    name: str
    trace: str
    id: str
    parent: str
    kind: int
    status: int
    began: int
    ended: int
    attributes: dict[str, Any]
    links: list[tuple[str, str, str]]
    events: list[str]
    resource: dict[str, Any]


def spans(collector: Collector) -> list[Seen]:
    """Every span that was sent, in the order of their beginnings."""
    return sorted(_all(collector), key=lambda span: span.began)


def _all(collector: Collector) -> Iterator[Seen]:
    for sent in list(collector.sent):
        assert (sent.method, sent.path) == ("POST", "/v1/traces")
        assert sent.headers["content-type"] == "application/x-protobuf"
        for of_resource in ExportTraceServiceRequest.FromString(sent.body).resource_spans:
            resource = _values(of_resource.resource.attributes)
            for scope in of_resource.scope_spans:
                for span in scope.spans:
                    yield Seen(
                        name=span.name,
                        trace=span.trace_id.hex(),
                        id=span.span_id.hex(),
                        parent=span.parent_span_id.hex(),
                        kind=span.kind,
                        status=span.status.code,
                        began=span.start_time_unix_nano,
                        ended=span.end_time_unix_nano,
                        attributes=_values(span.attributes),
                        links=[
                            (
                                link.trace_id.hex(),
                                link.span_id.hex(),
                                str(_values(link.attributes).get("research.link", "")),
                            )
                            for link in span.links
                        ],
                        events=[event.name for event in span.events],
                        resource=resource,
                    )


def _values(attributes: Any) -> dict[str, Any]:  # Any: protobuf's generated types have no stubs
    return {each.key: getattr(each.value, each.value.WhichOneof("value")) for each in attributes}
