"""Requests as OpenTelemetry traces: a span each, with a child for each stage. An optional extra.

Nothing of OpenTelemetry is loaded unless traces are wanted. What is sent where, how much of it and
under which name follows the standard variables `OTEL_*`.
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
_SERVER_FAULT = 500
_MISSING = (
    "Traces are wanted, and what they need is not installed: pip install 'iiif-server[otel]'."
)

logger = logging.getLogger("iiif_server")


class TracingOptions(OptionsModel):
    """Whether requests are traced; where to is said by the standard variables `OTEL_*`."""

    enabled: bool | None = None
    """Whether traces are sent (OTLP over HTTP); needs the extra `otel`. Unset: if the environment
    has `OTEL_EXPORTER_OTLP_ENDPOINT` or `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT`."""


class Tracer(Protocol):
    """Whoever makes traces of answers."""

    def answered(self, answered: Answered) -> None:
        """Take note of an answer."""

    def close(self) -> None:
        """Send what has not been sent."""


def wanted(options: TracingOptions, environment: Mapping[str, str]) -> bool:
    """Whether traces are to be made."""
    if environment.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return False
    if options.enabled is not None:
        return options.enabled
    if environment.get("OTEL_TRACES_EXPORTER") == "none":
        return False
    return any(environment.get(name) for name in _ENDPOINTS)


def open_tracer(options: TracingOptions) -> Tracer | None:
    """A tracer that sends what it is told; None where none is wanted.

    Raises ConfigurationError if the settings want one and the extra is not installed. If only the
    environment does, which many programs have in common, that is a warning.
    """
    if not wanted(options, os.environ):
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
    """Makes a span of each answer when it is complete, and a child of each of its stages."""

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
        """Take note of an answer, which is complete just now."""
        ended = time.time_ns()
        began = ended - _nanoseconds(answered.seconds)
        span = self._tracer.start_span(
            f"{answered.method} {answered.route}".rstrip(),
            context=self._parents.extract({"traceparent": answered.parent}),
            kind=self._kind,
            start_time=began,
            attributes=_attributes(answered),
        )
        if answered.status >= _SERVER_FAULT:
            span.set_status(self._error)
        if answered.stages is not None and span.is_recording():
            # Stages are on another clock, which is never set.
            offset = ended - time.perf_counter_ns()
            inside = self._in_span(span)
            for stage, seconds in answered.stages.seconds.items():
                first = offset + _nanoseconds(answered.stages.began[stage])
                last = first + _nanoseconds(seconds)
                # What another request has begun, and this one waited for too, began earlier.
                child = self._tracer.start_span(stage, inside, start_time=max(first, began))
                child.end(max(last, began))
        span.end(ended)

    def close(self) -> None:
        """Send what has not been sent."""
        self._provider.shutdown()


def _attributes(answered: Answered) -> dict[str, Any]:
    """What OpenTelemetry's conventions for HTTP servers want, and what only we know."""
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
