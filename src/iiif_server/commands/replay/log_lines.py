"""Parser of access logs: common, combined, and both formats of this server."""

import json
import math
import os
import re
import stat
from collections.abc import Iterator
from datetime import datetime
from enum import StrEnum
from typing import BinaryIO, NamedTuple

_MAX_LINE = 16_384
"""Limit of the bytes of a line."""
_TRUNCATED_AT = 1000
"""Characters after which this server cuts paths in its log, and appends three dots."""
_REQUEST = re.compile(
    rb'(?P<method>[A-Z]{1,20}) (?P<target>[^ "]+) HTTP/(?:1\.[01]|[23](?:\.0)?)" [0-9]{3} '
)
_COMMON = re.compile(rb'[^\[]*\[(?P<time>[^\]]{1,40})\] "' + _REQUEST.pattern)
_CONSOLE = re.compile(
    rb'(?P<time>[0-9-]{10} [0-9:]{8},[0-9]{3}) INFO iiif_server\.access [^"]*"' + _REQUEST.pattern
)
_PATH = re.compile(r"/(?!/)[!-~]*")
_NEVER_IN_PATHS = frozenset('#\\"')
"""Characters that are invalid in paths; servers escape others with a backslash."""
_COMPRESSED = (b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"\xfd7zXZ", b"BZh")
"""First bytes of files of gzip, Zstandard, xz and bzip2."""
_REDACTED = "***"
"""Replacement of signatures in the log of this server."""


class Skipped(StrEnum):
    """Reason why a line is not replayed."""

    COMPRESSED = "compressed (use zcat LOG | iiif-server replay -)"
    NO_REQUEST = "no request"
    """Line without a request, or malformed line."""
    METHOD = "not GET or HEAD"
    NO_PATH = "not a path"
    """Absolute URL, or characters that are invalid in paths."""
    SIGNED = "signature hidden"
    TOO_LONG = "too long"


class LoggedRequest(NamedTuple):
    """Request in a log."""

    method: str
    target: str
    """Path and query, exactly as logged."""
    time: float
    """Time in seconds since the epoch."""


def read_log(file: BinaryIO) -> Iterator[LoggedRequest | Skipped]:
    """Yield the requests of a log; memory holds only one line at a time.

    Ignores lines that are appended meanwhile, because the file may be the log of the server that
    receives the requests.
    """
    remaining = _size(file)
    while remaining > 0 and (line := file.readline(_MAX_LINE)):
        remaining -= len(line)
        if line.endswith(b"\n") or len(line) < _MAX_LINE:
            yield parse_line(line)
            continue
        while rest := file.readline(_MAX_LINE):
            remaining -= len(rest)
            if rest.endswith(b"\n"):
                break
        yield Skipped.TOO_LONG


def _size(file: BinaryIO) -> float:
    """Return the current size of a log in bytes; infinite for a pipe."""
    try:
        status = os.fstat(file.fileno())
    except OSError:  # not a file of the system
        return math.inf
    return status.st_size if stat.S_ISREG(status.st_mode) else math.inf


def parse_line(line: bytes) -> LoggedRequest | Skipped:
    """Parse a line; never raises."""
    try:
        method, target, time = _json(line) if line.startswith(b"{") else _text(line)
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return Skipped.COMPRESSED if line.startswith(_COMPRESSED) else Skipped.NO_REQUEST
    if method not in {"GET", "HEAD"}:
        return Skipped.METHOD
    if _REDACTED in target:
        return Skipped.SIGNED
    if len(target) >= _TRUNCATED_AT and target.endswith("..."):
        return Skipped.TOO_LONG
    if not _PATH.fullmatch(target) or not _NEVER_IN_PATHS.isdisjoint(target):
        return Skipped.NO_PATH
    return LoggedRequest(method, target, time)


def _json(line: bytes) -> tuple[str, str, float]:
    found = json.loads(line)
    method, path = found["method"], found["path"]
    if not isinstance(method, str) or not isinstance(path, str):
        raise TypeError(line)
    return method, path, datetime.fromisoformat(found["time"]).timestamp()


def _text(line: bytes) -> tuple[str, str, float]:
    match = _CONSOLE.match(line) or _COMMON.match(line)
    if match is None:
        raise ValueError(line)
    method, target, time = (match[name].decode("latin-1") for name in ("method", "target", "time"))
    if "," in time:
        at = datetime.strptime(time, "%Y-%m-%d %H:%M:%S,%f").astimezone()
    else:
        at = datetime.strptime(time, "%d/%b/%Y:%H:%M:%S %z")
    return method, target, at.timestamp()
