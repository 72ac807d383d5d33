"""Events as log lines."""

import logging
from dataclasses import fields
from typing import Any

from iiif_server.telemetry.events import (
    EntryDropped,
    Event,
    FetchFailed,
    Quarantined,
    RenderFailed,
    StoreFailed,
    WorkerReplaced,
)

_WARNINGS = (EntryDropped, FetchFailed, Quarantined, RenderFailed, StoreFailed, WorkerReplaced)

logger = logging.getLogger("iiif_server")


def log_event(event: Event) -> None:
    """Write the event as one `Name key=value ...` line; values are quoted, so none adds a line."""
    level = logging.WARNING if isinstance(event, _WARNINGS) else logging.INFO
    if logger.isEnabledFor(level):
        values = " ".join(f"{item.name}={getattr(event, item.name)!r}" for item in fields(event))
        logger.log(level, "%s %s", type(event).__name__, values)


def uvicorn_logging(level: str) -> dict[str, Any]:
    """The configuration of all loggers for a server process."""
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"line": {"format": "%(asctime)s %(levelname)s %(name)s %(message)s"}},
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
        "root": {"level": level.upper(), "handlers": ["stderr"]},
        # httpx logs every request line with its full URL; our own events say what matters.
        "loggers": {"httpx": {"level": "WARNING"}, "httpcore": {"level": "WARNING"}},
    }
