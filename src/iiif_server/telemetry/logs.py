"""Logging of events and requests: one line each, even if values contain line breaks."""

import json
import logging
import re
import time
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import asdict, fields
from datetime import UTC, datetime
from enum import Enum
from functools import lru_cache
from types import TracebackType
from typing import Any, Literal
from urllib.parse import quote

from iiif_server.telemetry.events import Event, Problem
from iiif_server.telemetry.requests import CURRENT, IN_PATHS, Answered

LogFormat = Literal["console", "json"]


_VALUE = 500
"""Limit of the characters of a value in a log line."""
_PATH = 1000
_BLOCKS = frozenset({"traceback", "output"})
"""Fields of events with text of several lines; the end matters most."""
_PLAIN = re.compile(rf"[A-Za-z0-9_.\-{re.escape(IN_PATHS)}]*", re.ASCII)
"""Pattern of paths that need no percent-encoding."""
_BLOCK = 8000
"""Limit of the characters of a field in `_BLOCKS`, from its end."""

logger = logging.getLogger("iiif_server")
access_logger = logging.getLogger("iiif_server.access")


def log_access(answered: Answered) -> None:
    """Write the access log line of a response, with its engine and stages.

    The line has no query string, which the server ignores and which may contain private data.
    """
    if not access_logger.isEnabledFor(logging.INFO):
        return
    handlers = logging.root.handlers
    if len(handlers) == 1 and type(handlers[0]) is AccessHandler and not access_logger.handlers:
        handlers[0].write_access(answered)
    else:  # another program configures logging
        extra = {"request": answered.request, "told": answered}
        access_logger.info("%s", _access_text(answered), extra=extra)


class AccessHandler(logging.StreamHandler[Any]):
    """Log handler of a server process, which writes access log lines without a `LogRecord`.

    `logging` needs 10 us per line, half as long as all other work for a cached tile.
    """

    def write_access(self, answered: Answered) -> None:
        """Write the same line as the formatter for a record of this response."""
        now = time.time()
        if isinstance(self.formatter, JsonFormatter):
            head = {"level": "info", "logger": access_logger.name, "request": answered.request}
            line = json.dumps({"time": _utc(now), **head, **_answered(answered)})
        else:
            text = f"{_local(now)} INFO {access_logger.name} {_access_text(answered)}"
            line = f"{_visible(text)} request={answered.request}"
        try:
            with self.lock or nullcontext():
                self.stream.write(f"{line}\n")
                self.flush()
        except Exception:  # noqa: BLE001 - as logging does: a full disk ends no request
            self.handleError(logging.makeLogRecord({"msg": line}))


def _access_text(answered: Answered) -> str:
    return (
        f'{answered.peer} - "{answered.method} {shown_path(answered)} HTTP/{answered.http}" '
        f"{answered.status} {answered.size} {answered.seconds:.4f}{_engine_and_stages(answered)}"
    )


@lru_cache(maxsize=1)
def _second(second: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(second))


def _local(now: float) -> str:
    """Format the time as `logging` does by default; each second is formatted once."""
    return f"{_second(int(now))},{int(now % 1 * 1000):03d}"


def _utc(now: float) -> str:
    return datetime.fromtimestamp(now, UTC).isoformat(timespec="milliseconds")


def log_event(event: Event) -> None:
    """Log an event as one line, `Name key=value ...`; problems have the level WARNING.

    Values are quoted, so that none adds a line. Default values are left out. Tracebacks follow
    after the line.
    """
    level = logging.WARNING if isinstance(event, Problem) else logging.INFO
    if logger.isEnabledFor(level):
        values = " ".join(
            f"{item.name}={_cut(_text(getattr(event, item.name)), _VALUE)}"
            for item in fields(event)
            if getattr(event, item.name) != item.default and item.name not in _blocks(event)
        )
        logger.log(level, "%s %s", type(event).__name__, values, extra={"told": event})


def _blocks(event: object) -> Mapping[str, str]:
    """Return the values of an event that have several lines, by name."""
    values = {name: getattr(event, name, "").strip("\n") for name in _BLOCKS}
    return {name: value for name, value in values.items() if "\n" in value}


def _text(value: object) -> str:
    """Format a value: numbers with four decimals, enums by their value."""
    if isinstance(value, Enum):
        value = value.value
    return repr(round(value, 4) if isinstance(value, float) else value)


def shown_path(answered: Answered) -> str:
    """Return the path of a request in printable ASCII, cut after 1000 characters."""
    path = answered.written or answered.path
    if not answered.written and not _PLAIN.fullmatch(path):
        path = quote(path.encode("utf-8", "surrogatepass"), safe=IN_PATHS)
    return _cut(path, _PATH)


def _engine_and_stages(answered: Answered) -> str:
    """Format the engine of a response and the durations of its stages."""
    engine = f" engine={answered.engine}" if answered.engine else ""
    if answered.stages is None:
        return engine
    stages = answered.stages.seconds.items()
    return engine + "".join(f" {stage}={seconds:.4f}" for stage, seconds in stages)


class LineFormatter(logging.Formatter):
    """Formatter of text lines; only real log lines begin with a time.

    Messages of libraries and texts of exceptions may contain text from clients, which must not look
    like a log line.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Format a record as one line, and the lines of a traceback with `|` in front."""
        blocks = _blocks(getattr(record, "told", None)).values()
        return "\n".join(
            [super().format(record), *(_quoted_lines(text[-_BLOCK:]) for text in blocks)]
        )

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        """Format the message as one line, with the request id."""
        request = _request(record)
        return _visible(super().formatMessage(record)) + (f" request={request}" if request else "")

    def formatException(  # noqa: N802 - logging's name
        self,
        ei: tuple[type[BaseException], BaseException, TracebackType | None]
        | tuple[None, None, None],
    ) -> str:
        """Format the traceback with `|` in front of each line."""
        return _quoted_lines(super().formatException(ei))


class JsonFormatter(logging.Formatter):
    """Formatter of one JSON object per line, in ASCII.

    Each object has `time`, `level`, `logger`, `event`, and `request` during a request. Events and
    responses add their facts; other records have their text in `message`.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Format a record as one line of JSON."""
        content = {
            "time": _utc(record.created),
            "level": record.levelname.lower(),
            "logger": record.name,
        }
        if request := _request(record):
            content["request"] = request
        content |= _facts(record)
        if record.exc_info:
            content["exception"] = self.formatException(record.exc_info)
        return json.dumps(content)


def _quoted_lines(text: str) -> str:
    return "\n".join(f"  | {_visible(line)}" for line in text.split("\n"))


def _facts(record: logging.LogRecord) -> Mapping[str, Any]:
    reported = getattr(record, "told", None)
    if reported is None:
        return {"event": "Message", "message": record.getMessage()}
    if isinstance(reported, Answered):
        return _answered(reported)
    values = {name: _short(value) for name, value in asdict(reported).items()}
    return {"event": type(reported).__name__, **values}


def _answered(answered: Answered) -> Mapping[str, Any]:
    stages = answered.stages.seconds if answered.stages else {}
    return {
        "event": "Answered",
        "peer": answered.peer,
        "method": answered.method,
        "path": shown_path(answered),
        "http": answered.http,
        "status": answered.status,
        "bytes": answered.size,
        "seconds": round(answered.seconds, 6),
        "route": answered.route,
        "version": answered.version,
        "engine": answered.engine,
        "stages": {stage: round(seconds, 6) for stage, seconds in stages.items()},
    }


def _request(record: logging.LogRecord) -> str:
    """Return the request id of a record; empty outside of requests."""
    return getattr(record, "request", "") or CURRENT.get()


def _short(value: object) -> object:
    if isinstance(value, float):
        return round(value, 6)
    return _cut(value, _VALUE) if isinstance(value, str) else value


def _visible(text: str) -> str:
    if text.isprintable():  # nearly always, and a hundred times faster
        return text
    return "".join(
        character if character.isprintable() else repr(character)[1:-1] for character in text
    )


def _cut(text: str, characters: int) -> str:
    return text if len(text) <= characters else f"{text[:characters]}..."


_FORMATTERS: dict[LogFormat, dict[str, Any]] = {
    "console": {
        "()": "iiif_server.telemetry.logs.LineFormatter",
        "format": "%(asctime)s %(levelname)s %(name)s %(message)s",
    },
    "json": {"()": "iiif_server.telemetry.logs.JsonFormatter"},
}


def uvicorn_logging(level: str, format_: LogFormat = "console") -> dict[str, Any]:
    """Return the logging configuration of a server process, for `logging.config.dictConfig`."""
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"line": dict(_FORMATTERS[format_])},
        "handlers": {
            "stderr": {"()": "iiif_server.telemetry.logs.AccessHandler", "formatter": "line"}
        },
        "root": {"level": level.upper(), "handlers": ["stderr"]},
        # httpx logs the full URL of each request, which may contain secrets; events replace it.
        "loggers": {"httpx": {"level": "WARNING"}, "httpcore": {"level": "WARNING"}},
    }
