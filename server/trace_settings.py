"""The settings of traces, under OpenTelemetry's own names. What else its SDK reads, it reads itself."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator
from pydantic_settings import BaseSettings

from server.addresses import HttpAddress


class TraceSettings(BaseSettings):
    """What `server.settings.Settings` says of traces."""

    otel_exporter_otlp_endpoint: Annotated[
        HttpAddress | None,
        Field(description="address of an OpenTelemetry collector (OTLP over HTTP); unset: no traces"),
    ] = None
    otel_exporter_otlp_traces_endpoint: Annotated[
        HttpAddress | None, Field(description="the same for traces alone, with its path")
    ] = None
    otel_exporter_otlp_protocol: Annotated[str | None, Field(description="http/protobuf is what there is")] = None
    otel_traces_exporter: Annotated[Literal["otlp", "none"], Field(description="none: no traces")] = "otlp"
    otel_sdk_disabled: Annotated[bool, Field(description="true: no traces")] = False

    @property
    def traced(self) -> bool:
        """Whether traces are asked for."""
        named = self.otel_exporter_otlp_endpoint or self.otel_exporter_otlp_traces_endpoint
        return bool(named) and self.otel_traces_exporter == "otlp" and not self.otel_sdk_disabled

    @model_validator(mode="after")
    def _can_be_sent(self) -> Self:
        if not self.traced:
            return self
        if self.otel_exporter_otlp_protocol not in (None, "http/protobuf"):
            raise ValueError("OTEL_EXPORTER_OTLP_PROTOCOL: must be http/protobuf")
        if find_spec("opentelemetry") is None or find_spec("opentelemetry.exporter") is None:
            raise ValueError(
                "OTEL_EXPORTER_OTLP_ENDPOINT: traces need the packages of the extra `otel`: "
                "opentelemetry-sdk and opentelemetry-exporter-otlp-proto-http"
            )
        return self
