"""Traces: one span per response, one child per stage, none if tracing is off."""

import subprocess
import sys
from collections.abc import Iterator

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from iiif_server.telemetry.requests import Answered
from iiif_server.telemetry.stages import Stages
from iiif_server.telemetry.traces import Traces, TracingOptions, is_enabled, open_tracer

ROUTE = "/{identifier}/{region}/{size}/{rotation}/{quality}.{format}"
ANSWER = Answered(
    "id-1", "[2001:db8::1]:5", "GET", "/a:b/full/max/0/default.jpg", "1.1", 200, 1000, 0.5,
    ROUTE, "3.0", "raster",
)  # fmt: skip
PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture
def spans() -> Iterator[tuple[Traces, InMemorySpanExporter]]:
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    traces = Traces(provider)
    yield traces, exporter
    traces.close()


def test_an_answer_is_a_span_with_a_child_for_each_stage(
    spans: tuple[Traces, InMemorySpanExporter],
) -> None:
    traces, exporter = spans
    stages = Stages()
    stages.add({"queue": 0.1, "decode": 0.2, "encode": 0.1})
    traces.answered(ANSWER._replace(stages=stages))
    *children, span = exporter.get_finished_spans()
    assert span.name == f"GET {ROUTE}"
    assert span.kind is SpanKind.SERVER
    assert span.attributes is not None
    assert span.attributes["http.route"] == ROUTE
    assert span.attributes["http.response.status_code"] == 200
    assert span.attributes["iiif.engine"] == "raster"
    assert span.attributes["iiif.request"] == "id-1"
    assert span.attributes["client.address"] == "[2001:db8::1]"
    assert [child.name for child in children] == ["queue", "decode", "encode"]
    assert span.start_time is not None
    assert span.end_time is not None
    assert span.end_time - span.start_time == 500_000_000
    for child in children:
        assert child.parent is not None
        assert child.parent.span_id == span.context.span_id
        assert child.start_time is not None
        assert child.end_time is not None
        assert span.start_time <= child.start_time <= child.end_time <= span.end_time


def test_what_began_before_the_request_is_shown_from_its_beginning(
    spans: tuple[Traces, InMemorySpanExporter],
) -> None:
    traces, exporter = spans
    stages = Stages()
    stages.add({"decode": 60.0})  # for somebody else, who came much earlier
    traces.answered(ANSWER._replace(stages=stages))
    child, span = exporter.get_finished_spans()
    assert child.start_time == span.start_time


def test_a_span_is_part_of_the_trace_that_the_request_names(
    spans: tuple[Traces, InMemorySpanExporter],
) -> None:
    traces, exporter = spans
    traces.answered(ANSWER._replace(parent=PARENT))
    (span,) = exporter.get_finished_spans()
    assert f"{span.context.trace_id:032x}" == PARENT.split("-")[1]
    assert span.parent is not None
    assert f"{span.parent.span_id:016x}" == PARENT.split("-")[2]


@pytest.mark.parametrize("parent", ["", "00-zz", "x" * 5000])
def test_what_names_no_trace_begins_one(
    spans: tuple[Traces, InMemorySpanExporter], parent: str
) -> None:
    traces, exporter = spans
    traces.answered(ANSWER._replace(parent=parent))
    (span,) = exporter.get_finished_spans()
    assert span.parent is None


def test_only_the_servers_own_faults_are_errors(
    spans: tuple[Traces, InMemorySpanExporter],
) -> None:
    traces, exporter = spans
    for status in (200, 404, 500):
        traces.answered(ANSWER._replace(status=status))
    codes = [span.status.status_code for span in exporter.get_finished_spans()]
    assert codes == [StatusCode.UNSET, StatusCode.UNSET, StatusCode.ERROR]


ENDPOINT = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"}


@pytest.mark.parametrize(
    ("enabled", "environment", "answer"),
    [
        (None, {}, False),
        (None, ENDPOINT, True),
        (None, {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://collector/v1/traces"}, True),
        (None, {**ENDPOINT, "OTEL_TRACES_EXPORTER": "none"}, False),
        (None, {**ENDPOINT, "OTEL_SDK_DISABLED": "true"}, False),
        (True, {}, True),
        (True, {"OTEL_SDK_DISABLED": "TRUE"}, False),
        (False, ENDPOINT, False),
    ],
)
def test_traces_are_made_if_settings_or_environment_want_them(
    *, enabled: bool | None, environment: dict[str, str], answer: bool
) -> None:
    assert is_enabled(TracingOptions(enabled=enabled), environment) is answer


def test_nothing_is_opened_that_is_not_wanted() -> None:
    assert open_tracer(TracingOptions(enabled=False)) is None


def test_nothing_of_opentelemetry_is_loaded_while_traces_are_off() -> None:
    code = (
        "import sys; from iiif_server.app import create_app; from iiif_server.settings import "
        "Settings; create_app(Settings()); from iiif_server.telemetry.traces import *; "
        "open_tracer(TracingOptions(enabled=False)); "
        "print([name for name in sys.modules if name.startswith(('opentelemetry.sdk', "
        "'opentelemetry.exporter'))])"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"
