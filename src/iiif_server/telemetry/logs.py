"""Events and requests as log lines: one line each, whatever a client has put into them."""

import logging
from dataclasses import fields
from types import TracebackType
from typing import Any
from urllib.parse import quote

from iiif_server.telemetry.events import (
    AccessRefused,
    EntryDropped,
    Event,
    FetchFailed,
    PyramidFailed,
    Quarantined,
    RenderFailed,
    ServerProcessReplaced,
    SettingsRefused,
    StoreFailed,
    StoreRecovered,
    WorkerReplaced,
)

_WARNINGS = (
    AccessRefused,
    EntryDropped,
    FetchFailed,
    PyramidFailed,
    Quarantined,
    RenderFailed,
    ServerProcessReplaced,
    SettingsRefused,
    StoreFailed,
    StoreRecovered,
    WorkerReplaced,
)

_VALUE = 500
"""Characters of a value in a line: more is for no reader."""
_PATH = 1000
_IN_PATHS = "/:;,=@!$&'()*+^|~[]{}<>"
"""What stands in the path of a line as it is: no quote, no space, nothing invisible."""

logger = logging.getLogger("iiif_server")
access_logger = logging.getLogger("iiif_server.access")


def log_access(peer: str, method: str, path: str, version: str, status: int) -> None:
    """Write one line about an answer, in the form that is common.

    Without the query, which changes nothing, and in which clients put what is not for a log.
    """
    if access_logger.isEnabledFor(logging.INFO):
        shown = _cut(quote(path.encode("utf-8", "surrogatepass"), safe=_IN_PATHS), _PATH)
        access_logger.info('%s - "%s %s HTTP/%s" %d', peer, method, shown, version, status)


def log_event(event: Event) -> None:
    """Write the event as one `Name key=value ...` line; values are quoted, so none adds a line."""
    level = logging.WARNING if isinstance(event, _WARNINGS) else logging.INFO
    if logger.isEnabledFor(level):
        values = " ".join(
            f"{item.name}={_cut(repr(getattr(event, item.name)), _VALUE)}" for item in fields(event)
        )
        logger.log(level, "%s %s", type(event).__name__, values)


class LineFormatter(logging.Formatter):
    """Lines that begin with a time are lines of the log: nothing else can look like one.

    Libraries log what they like, and the text of an exception may hold what a client has sent.
    """

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        """The record in one line."""
        return _visible(super().formatMessage(record))

    def formatException(  # noqa: N802 - logging's name
        self,
        ei: tuple[type[BaseException], BaseException, TracebackType | None]
        | tuple[None, None, None],
    ) -> str:
        """The traceback, each of its lines behind a mark."""
        return "\n".join(
            f"  | {_visible(line)}" for line in super().formatException(ei).split("\n")
        )


def _visible(text: str) -> str:
    return "".join(
        character if character.isprintable() else repr(character)[1:-1] for character in text
    )


def _cut(text: str, characters: int) -> str:
    return text if len(text) <= characters else f"{text[:characters]}..."


def uvicorn_logging(level: str) -> dict[str, Any]:
    """The configuration of all loggers for a server process."""
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {
            "line": {
                "()": "iiif_server.telemetry.logs.LineFormatter",
                "format": "%(asctime)s %(levelname)s %(name)s %(message)s",
            }
        },
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
        "root": {"level": level.upper(), "handlers": ["stderr"]},
        # httpx logs every request line with its full URL; our own events say what matters.
        "loggers": {"httpx": {"level": "WARNING"}, "httpcore": {"level": "WARNING"}},
    }
