"""OpenTelemetry traces of requests: one span per request, with a child per stage.

OpenTelemetry is an optional extra, and is imported only if tracing is on. The standard variables
`OTEL_*` set exporter, endpoint, sampling and service name.
"""

import logging
import os
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

from iiif_server.errors import ConfigurationError
from iiif_server.options import OptionsModel
from iiif_server.telemetry.logs import shown_path
from iiif_server.telemetry.requests import Answered

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

_ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_SERVER_ERROR = 500
_MISSING = (
    "Traces are wanted, and what they need is not installed: pip install 'iiif-server[otel]'."
)

logger = logging.getLogger("iiif_server")


class TracingOptions(OptionsModel):
    """Settings of tracing; the standard variables `OTEL_*` set the endpoint and the rest."""

    enabled: bool | None = None
    """Whether the server sends traces (OTLP over HTTP); needs the extra `otel`. Unset: if the
    environment has `OTEL_EXPORTER_OTLP_ENDPOINT` or `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT`."""


class Tracer(Protocol):
    """Interface of a tracer: records a trace of each response."""

    def answered(self, answered: Answered) -> None:
        """Record a response."""

    def close(self) -> None:
        """Send the remaining spans, and stop."""


def is_enabled(options: TracingOptions, environment: Mapping[str, str]) -> bool:
    """Whether tracing is on, by the settings or else by the environment."""
    if environment.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return False
    if options.enabled is not None:
        return options.enabled
    if environment.get("OTEL_TRACES_EXPORTER") == "none":
        return False
    return any(environment.get(name) for name in _ENDPOINTS)


def open_tracer(options: TracingOptions) -> Tracer | None:
    """Create the tracer; None if tracing is off.

    Raises ConfigurationError if the settings turn tracing on and the extra is not installed. If
    only the environment does, the server logs a warning, because many programs share these
    variables.
    """
    if not is_enabled(options, os.environ):
        return None
    try:
        provider = _exporting_provider()
    except ImportError as error:
        if options.enabled:
            raise ConfigurationError(_MISSING) from error
        logger.warning(_MISSING)
        return None
    return Traces(provider)


def _exporting_provider() -> "TracerProvider":
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import (  # noqa: PLC0415
        OTLPSpanExporter,
    )
    from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
    from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415

    named = os.environ.get("OTEL_SERVICE_NAME") or (
        "service.name=" in os.environ.get("OTEL_RESOURCE_ATTRIBUTES", "")
    )
    resource = Resource.create({} if named else {"service.name": "iiif-server"})
    provider = TracerProvider(resource=resource)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return provider


class Traces:
    """Tracer that creates a span for each complete response, with a child span per stage."""

    def __init__(self, provider: "TracerProvider") -> None:
        from opentelemetry import trace  # noqa: PLC0415
        from opentelemetry.trace.propagation import tracecontext  # noqa: PLC0415

        self._provider = provider
        self._tracer = provider.get_tracer("iiif_server")
        self._kind = trace.SpanKind.SERVER
        self._error = trace.Status(trace.StatusCode.ERROR)
        self._in_span = trace.set_span_in_context
        self._parents = tracecontext.TraceContextTextMapPropagator()

    def __repr__(self) -> str:
        return "<Traces>"

    def answered(self, answered: Answered) -> None:
        """Create the spans of a response that has just been sent."""
        ended = time.time_ns()
        began = ended - _nanoseconds(answered.seconds)
        span = self._tracer.start_span(
            f"{answered.method} {answered.route}".rstrip(),
            context=self._parents.extract({"traceparent": answered.parent}),
            kind=self._kind,
            start_time=began,
            attributes=_attributes(answered),
        )
        if answered.status >= _SERVER_ERROR:
            span.set_status(self._error)
        if answered.stages is not None and span.is_recording():
            # Stages have another clock, which is monotonic.
            offset = ended - time.perf_counter_ns()
            inside = self._in_span(span)
            for stage, seconds in answered.stages.seconds.items():
                first = offset + _nanoseconds(answered.stages.began[stage])
                last = first + _nanoseconds(seconds)
                # A stage may have begun before this request, which then waited for its end.
                child = self._tracer.start_span(stage, inside, start_time=max(first, began))
                child.end(max(last, began))
        span.end(ended)

    def close(self) -> None:
        """Send the remaining spans, and stop."""
        self._provider.shutdown()


def _attributes(answered: Answered) -> dict[str, Any]:
    """Return the attributes of OpenTelemetry's HTTP conventions, and those named `iiif.*`."""
    found = {
        "http.request.method": answered.method,
        "http.response.status_code": answered.status,
        "http.response.body.size": answered.size,
        "http.route": answered.route,
        "url.path": shown_path(answered),
        "network.protocol.version": answered.http,
        "client.address": answered.peer.rpartition(":")[0],
        "iiif.request": answered.request,
        "iiif.version": answered.version,
        "iiif.engine": answered.engine,
    }
    return {name: value for name, value in found.items() if value != ""}


def _nanoseconds(seconds: float) -> int:
    return int(seconds * 1_000_000_000)
