"""Events as log lines."""

import json
import logging
import logging.config
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from datetime import UTC, datetime
from enum import StrEnum
from io import StringIO
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis.strategies import sampled_from, text

from iiif_server.telemetry.events import (
    AccessRefused,
    EntryDropped,
    Event,
    Evicted,
    Fetched,
    FetchFailed,
    JobFailed,
    OriginalMissing,
    PyramidFailed,
    Quarantined,
    Rendered,
    RenderFailed,
    StoreFailed,
    StoreRecovered,
    WorkerNotStarted,
    WorkerReplaced,
    WorkRefused,
)
from iiif_server.telemetry.logs import (
    AccessHandler,
    JsonFormatter,
    LineFormatter,
    LogFormat,
    log_access,
    log_event,
    logger,
    uvicorn_logging,
)
from iiif_server.telemetry.requests import CURRENT, Answered
from iiif_server.telemetry.stages import Stages

EVENTS: list[tuple[Event, int, str]] = [
    (Fetched("a:b", 10, 0.5), logging.INFO, "Fetched identifier='a:b' size=10 seconds=0.5"),
    (OriginalMissing("a:b", "no"), logging.INFO, "OriginalMissing identifier='a:b' reason='no'"),
    (FetchFailed("a:b", "no"), logging.WARNING, "FetchFailed identifier='a:b' reason='no'"),
    (
        Rendered("a:b", "raster", 10, 0.5),
        logging.INFO,
        "Rendered identifier='a:b' engine='raster' size=10 seconds=0.5",
    ),
    (RenderFailed("a:b", "no"), logging.WARNING, "RenderFailed identifier='a:b' reason='no'"),
    (
        PyramidFailed("a:b", "detail", "no"),
        logging.WARNING,
        "PyramidFailed identifier='a:b' part='detail' reason='no'",
    ),
    (WorkerReplaced("images", "x"), logging.WARNING, "WorkerReplaced pool='images' reason='x'"),
    (
        WorkRefused("images", "full", "busy"),
        logging.INFO,
        "WorkRefused pool='images' lane='full' reason='busy'",
    ),
    (
        Quarantined("a:b", "tile", 300.0, "no"),
        logging.WARNING,
        "Quarantined identifier='a:b' lane='tile' seconds=300.0 reason='no'",
    ),
    (Evicted(3, 10), logging.INFO, "Evicted files=3 size=10"),
    (EntryDropped("x", "torn"), logging.WARNING, "EntryDropped name='x' reason='torn'"),
    (AccessRefused("192.0.2.1"), logging.WARNING, "AccessRefused peer='192.0.2.1'"),
    (StoreFailed("full"), logging.WARNING, "StoreFailed reason='full'"),
    (StoreRecovered("full"), logging.WARNING, "StoreRecovered reason='full'"),
]


@pytest.mark.parametrize(("event", "level", "line"), EVENTS)
def test_an_event_is_one_line_of_its_level(
    caplog: pytest.LogCaptureFixture, event: Event, level: int, line: str
) -> None:
    with caplog.at_level(logging.DEBUG, logger="iiif_server"):
        log_event(event)
    assert caplog.record_tuples == [("iiif_server", level, line)]


@pytest.mark.parametrize(
    "reason", ["a\nWARNING forged", "a\r\nb", "a\x1b[31m", "a\u2028b", "%s %d", "\ud800"]
)
def test_a_value_cannot_forge_a_line(caplog: pytest.LogCaptureFixture, reason: str) -> None:
    with caplog.at_level(logging.DEBUG, logger="iiif_server"):
        log_event(FetchFailed("a:b", reason))
    (message,) = caplog.messages
    assert message.isprintable()


def test_an_event_below_the_level_is_not_written(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, logger="iiif_server"):
        log_event(Evicted(3, 10))
    assert caplog.messages == []


@pytest.mark.parametrize("level", ["debug", "info", "WARNING"])
def test_the_level_is_that_of_the_root_logger(level: str) -> None:
    assert uvicorn_logging(level)["root"]["level"] == level.upper()


def test_no_full_url_of_an_upstream_is_logged_at_the_usual_levels() -> None:
    loggers = uvicorn_logging("debug")["loggers"]
    assert loggers["httpx"]["level"] == "WARNING"
    assert loggers["httpcore"]["level"] == "WARNING"


def test_loggers_that_exist_already_stay() -> None:
    assert uvicorn_logging("info")["disable_existing_loggers"] is False


def test_the_configuration_is_one_that_logging_accepts() -> None:
    assert logging.config.DictConfigurator(uvicorn_logging("info")) is not None


def test_a_long_value_is_cut(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, logger="iiif_server"):
        log_event(FetchFailed("a:" + "b" * 4000, "\x1b" * 4000))
    (message,) = caplog.messages
    assert len(message) < 1200
    assert message.isprintable()


class Recording(logging.Handler):
    """Keeps what is logged."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


def formatted_event(event: Event) -> str:
    """The event as the console shows it."""
    handler = Recording()
    logger.addHandler(handler)
    try:
        log_event(event)
    finally:
        logger.removeHandler(handler)
    return LineFormatter("%(levelname)s %(message)s").format(handler.records[0])


def answered(**facts: Any) -> Answered:
    """An answer of which only these facts matter."""
    usual = Answered("id-1", "192.0.2.1:5000", "GET", "/", "1.1", 200, 1234, 0.05)
    return usual._replace(**facts)


def access_line(caplog: pytest.LogCaptureFixture, path: str) -> str:
    """What is logged of a request for a path, decoded."""
    caplog.clear()
    with caplog.at_level(logging.INFO, logger="iiif_server"):
        log_access(answered(path=path))
    (message,) = caplog.messages
    return message


def test_a_request_is_one_line_in_the_common_form(caplog: pytest.LogCaptureFixture) -> None:
    line = access_line(caplog, "/disk:a/1.jpg/full/^!50,50/!0/default.jpg")
    request = "GET /disk:a/1.jpg/full/^!50,50/!0/default.jpg HTTP/1.1"
    assert line == f'192.0.2.1:5000 - "{request}" 200 1234 0.0500'


@pytest.mark.parametrize(
    "character",
    [
        "\n",
        "\r",
        "\r\n",
        "\x1b[2J",
        "\x00",
        "\x7f",
        "\x85",
        "\u2028",
        "\u202e",
        '"',
        " ",
        "%",
        "\udcff",
    ],
)
def test_a_path_cannot_forge_a_line_or_end_its_quotes(
    caplog: pytest.LogCaptureFixture, character: str
) -> None:
    line = access_line(caplog, f"/disk:a{character}b")
    assert line.isascii()
    assert line.isprintable()
    assert line.count('"') == 2
    assert line.count(" ") == 7
    assert not character.strip("%") or character not in line.split('"')[1].split(" ")[1]


def test_a_long_path_is_cut(caplog: pytest.LogCaptureFixture) -> None:
    assert len(access_line(caplog, "/" + "é" * 50_000)) < 1100


def formatted(message: str, error: Exception | None = None) -> str:
    """The text that a record becomes."""
    caught = (type(error), error, None) if error else None
    record = logging.LogRecord("other", logging.ERROR, __file__, 1, message, None, caught)
    return LineFormatter("%(levelname)s %(message)s").format(record)


@pytest.mark.parametrize("forged", ["a\nERROR forged", "a\r\nb", "a\x1b[31m", "a\u2028b", "\ud800"])
def test_no_library_can_be_made_to_forge_a_line(forged: str) -> None:
    assert formatted(forged).isprintable()


def as_json(**changes: Any) -> dict[str, Any]:
    """What a record becomes as JSON; it must be one line of printable ASCII."""
    record = logging.LogRecord("iiif_server", logging.INFO, __file__, 1, "text %s", ("x",), None)
    record.__dict__.update(changes)
    line = JsonFormatter().format(record)
    assert line.isascii()
    assert line.isprintable()
    content: dict[str, Any] = json.loads(line)
    return content


def test_an_event_is_an_object_with_its_facts() -> None:
    content = as_json(told=WorkRefused("images", "full", "busy"))
    time = datetime.fromisoformat(content.pop("time"))
    assert abs((datetime.now(UTC) - time).total_seconds()) < 60
    assert content == {
        "level": "info",
        "logger": "iiif_server",
        "event": "WorkRefused",
        "pool": "images",
        "lane": "full",
        "reason": "busy",
    }


def test_an_answer_is_an_object_with_what_the_planner_chose() -> None:
    stages = Stages()
    stages.add({"queue": 0.25, "decode": 0.5})
    told = answered(path="/a:b/é", route="/{identifier}", version="3.0", engine="raster")
    content = as_json(told=told._replace(stages=stages), request="id-1")
    assert content["event"] == "Answered"
    assert content["request"] == "id-1"
    assert content["stages"] == {"queue": 0.25, "decode": 0.5}
    assert (content["engine"], content["version"], content["route"]) == (
        "raster",
        "3.0",
        "/{identifier}",
    )
    assert (content["status"], content["bytes"], content["seconds"]) == (200, 1234, 0.05)
    assert content["path"] == "/a:b/%C3%A9"


def test_what_libraries_log_is_an_object_with_its_text() -> None:
    content = as_json(msg="a\nb \u2028 \ud800", args=())
    assert (content["event"], content["message"]) == ("Message", "a\nb \u2028 \ud800")


def test_a_traceback_is_in_the_object() -> None:
    try:
        raise ValueError("a\nforged")  # noqa: TRY301
    except ValueError:
        content = as_json(exc_info=sys.exc_info())
    assert "Traceback" in content["exception"]
    assert "forged" in content["exception"]


def test_a_long_value_is_cut_in_an_object_too() -> None:
    assert len(as_json(told=FetchFailed("a:b", "x" * 5000))["reason"]) < 600


def test_what_is_logged_while_a_request_is_answered_has_its_id() -> None:
    current = CURRENT.set("id-7")
    try:
        content, line = as_json(told=Evicted(1, 2)), formatted("text")
    finally:
        CURRENT.reset(current)
    assert content["request"] == "id-7"
    assert line == "ERROR text request=id-7"
    assert "request" not in as_json(told=Evicted(1, 2))
    assert formatted("text") == "ERROR text"


def test_the_line_of_an_answer_says_how_it_came_about(caplog: pytest.LogCaptureFixture) -> None:
    stages = Stages()
    stages.add({"queue": 0.25, "decode": 0.5})
    with caplog.at_level(logging.INFO, logger="iiif_server"):
        log_access(answered(engine="raster", stages=stages))
    assert caplog.messages[0].endswith(" 200 1234 0.0500 engine=raster queue=0.2500 decode=0.5000")


@pytest.mark.parametrize("format_", ["console", "json"])
def test_each_format_is_one_that_logging_accepts(format_: Any) -> None:
    configuration = uvicorn_logging("info", format_)
    formatter = logging.config.DictConfigurator(configuration).configure_formatter(
        configuration["formatters"]["line"]
    )
    assert isinstance(formatter, JsonFormatter if format_ == "json" else LineFormatter)


def test_a_traceback_cannot_be_taken_for_lines_of_the_log() -> None:
    error = ValueError("a\nERROR forged\x1b[31m")
    error.__cause__ = KeyError("also\nforged")
    first, *rest = formatted("it failed", error).split("\n")
    assert first == "ERROR it failed"
    assert any("ERROR forged" in line for line in rest)
    for line in rest:
        assert line.startswith("  | ")
        assert line.isprintable()


TRACEBACK = 'Traceback (most recent call last):\n  File "a.py", line 1, in f\nValueError: odd\n'


@pytest.mark.parametrize(
    ("event", "line"),
    [
        (
            JobFailed("image", "render", "odd", TRACEBACK),
            "JobFailed pool='image' function='render' error='odd'",
        ),
        (
            WorkerNotStarted("image", "exit code 1", TRACEBACK),
            "WorkerNotStarted pool='image' cause='exit code 1'",
        ),
        (
            WorkerReplaced("image", "died", "SIGSEGV", TRACEBACK),
            "WorkerReplaced pool='image' reason='died' cause='SIGSEGV'",
        ),
    ],
)
def test_a_traceback_in_an_event_stands_behind_its_line(
    caplog: pytest.LogCaptureFixture, event: Event, line: str
) -> None:
    current = CURRENT.set("id-7")
    try:
        with caplog.at_level(logging.DEBUG, logger="iiif_server"):
            log_event(event)
        (record,) = caplog.records
        text = LineFormatter("%(levelname)s %(message)s").format(record)
    finally:
        CURRENT.reset(current)
    assert text.split("\n") == [
        f"WARNING {line} request=id-7",
        "  | Traceback (most recent call last):",
        '  |   File "a.py", line 1, in f',
        "  | ValueError: odd",
    ]
    (name,) = {"traceback", "output"} & {item.name for item in fields(event)}
    assert json.loads(JsonFormatter().format(record))[name] == TRACEBACK


def test_a_single_line_of_output_stays_in_the_line_of_its_event() -> None:
    assert formatted_event(WorkerNotStarted("image", "exit code 1", "no room\n")) == (
        "WARNING WorkerNotStarted pool='image' cause='exit code 1' output='no room\\n'"
    )


@pytest.mark.parametrize("end", ["\n", "\r", "\x1b[31m", "\u2028", "\ud800", "\x85"])
def test_nothing_in_a_traceback_can_be_taken_for_a_line_of_the_log(end: str) -> None:
    forged = f"Traceback\nodd{end}2026-01-01 ERROR iiif_server forged"
    first, *rest = formatted_event(JobFailed("image", "render", "odd", forged)).split("\n")
    assert "forged" not in first
    assert "forged" in "".join(rest)
    for line in rest:
        assert line.startswith("  | ")
        assert line.isprintable()


def test_of_a_long_traceback_the_end_is_logged() -> None:
    long = "\n".join(f"frame {number}" for number in range(100_000))
    text = formatted_event(JobFailed("image", "render", "odd", long))
    assert text.endswith("\n  | frame 99999")
    assert len(text) < 20_000


class Made(StrEnum):
    BY_RASTER = "raster"


def test_values_are_written_as_a_reader_wants_them(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    log_event(Rendered("disk:a", Made.BY_RASTER, 1440, 0.006567816999904608))
    (record,) = caplog.records
    assert record.getMessage() == (
        "Rendered identifier='disk:a' engine='raster' size=1440 seconds=0.0066"
    )
    document = json.loads(JsonFormatter().format(record))
    assert (document["engine"], document["seconds"]) == ("raster", 0.006568)


@contextmanager
def server_logging(format_: LogFormat) -> Iterator[tuple[AccessHandler, StringIO]]:
    """The root logger as `serve` configures it, with a stream of its own."""
    handler = AccessHandler(stream := StringIO())
    configured = uvicorn_logging("info", format_)["formatters"]["line"]
    handler.setFormatter(
        JsonFormatter() if format_ == "json" else LineFormatter(configured["format"])
    )
    before, logging.root.handlers = logging.root.handlers, [handler]
    level = logging.root.level
    logging.root.setLevel("INFO")
    try:
        yield handler, stream
    finally:
        logging.root.handlers = before
        logging.root.setLevel(level)


def without_time(line: str) -> str:
    return re.sub(r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d[,.]\d{3}", "TIME", line, count=1)


@pytest.mark.parametrize("format_", ["console", "json"])
@settings(deadline=None)
@given(
    path=text(),
    written=sampled_from(["", "/a%2Fb", "/a%2Fb\u00e9\x07"]),
    engine=sampled_from(["", "memory"]),
    stages=sampled_from([None, {"decode": 0.25}]),
)
def test_the_access_handler_writes_the_line_that_logging_would(
    format_: LogFormat, path: str, written: str, engine: str, stages: dict[str, float] | None
) -> None:
    timed = Stages() if stages else None
    if timed is not None and stages:
        timed.add(stages)
    told = answered(path=path, written=written, engine=engine, stages=timed)
    with server_logging(format_) as (_, stream):
        log_access(told)
        logging.root.handlers.append(logging.NullHandler())  # no longer the only one
        log_access(told)
    own, by_logging, rest = map(without_time, stream.getvalue().split("\n"))
    assert own == by_logging
    assert "TIME" in own
    assert not rest


def test_a_log_that_cannot_be_written_ends_no_request(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with server_logging("console") as (_, stream):
        stream.close()
        log_access(answered())
        assert "ValueError" in capsys.readouterr().err  # as logging reports it
