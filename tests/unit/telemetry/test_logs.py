"""Events as log lines."""

import logging
import logging.config

import pytest

from iiif_server.telemetry.events import (
    EntryDropped,
    Event,
    Evicted,
    Fetched,
    FetchFailed,
    Quarantined,
    Rendered,
    RenderFailed,
    StoreFailed,
    WorkerReplaced,
    WorkRefused,
)
from iiif_server.telemetry.logs import log_event, uvicorn_logging

EVENTS: list[tuple[Event, int, str]] = [
    (Fetched("a:b", 10, 0.5), logging.INFO, "Fetched identifier='a:b' size=10 seconds=0.5"),
    (FetchFailed("a:b", "no"), logging.WARNING, "FetchFailed identifier='a:b' reason='no'"),
    (
        Rendered("a:b", "raster", 10, 0.5),
        logging.INFO,
        "Rendered identifier='a:b' engine='raster' size=10 seconds=0.5",
    ),
    (RenderFailed("a:b", "no"), logging.WARNING, "RenderFailed identifier='a:b' reason='no'"),
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
    (StoreFailed("full"), logging.WARNING, "StoreFailed reason='full'"),
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
