"""Conditional requests (RFC 9110, 13)."""

import calendar
import math
from collections.abc import Mapping
from email.utils import formatdate, parsedate_to_datetime
from functools import lru_cache

_LONGEST_DATE = 64
"""Characters of an HTTP date, with room to spare; longer values are no dates."""


def validators(tag: str, modified: float | None, *, weak: bool = False) -> dict[str, str]:
    """The headers by which a client can ask later whether anything has changed.

    A weak tag promises the same picture and not the same bytes (RFC 9110, 8.8.1). There is no
    `Last-Modified` for a time outside the years 1 to 9999, which file systems can hold and HTTP
    dates cannot; the tag suffices.
    """
    headers = {"ETag": f'W/"{tag}"' if weak else f'"{tag}"'}
    date = None if modified is None else _http_date(math.floor(modified))
    return headers if date is None else headers | {"Last-Modified": date}


@lru_cache(4096)  # of originals that are looked at just now
def _http_date(seconds: int) -> str | None:
    try:
        return formatdate(seconds, usegmt=True)
    except (ValueError, OverflowError, OSError):
        return None


def is_failed(headers: Mapping[str, str], tag: str, modified: float | None) -> bool:
    """Whether a client wants the state that it has, and there is another by now: then 412.

    `If-Unmodified-Since` counts only where there is no `If-Match` (RFC 9110, 13.1.4).
    """
    if (wanted := headers.get("if-match")) is not None:
        tags = {item.strip() for item in wanted.split(",")}
        return "*" not in tags and f'"{tag}"' not in tags
    date = _seconds_of(headers.get("if-unmodified-since"))
    return modified is not None and date is not None and math.floor(modified) > date


def _seconds_of(date: str | None) -> int | None:
    if date is None or len(date) > _LONGEST_DATE:
        return None
    try:
        # Only asctime's form names no zone, and all forms are GMT (RFC 9110, 5.6.7).
        return calendar.timegm(parsedate_to_datetime(date).utctimetuple())
    except (ValueError, OverflowError):
        return None


def is_not_modified(headers: Mapping[str, str], tag: str, modified: float | None) -> bool:
    """Whether a client that sends these headers has the current state: then it gets a 304.

    `If-Modified-Since` counts only where there is no `If-None-Match` (RFC 9110, 13.1.3).
    """
    if (wanted := headers.get("if-none-match")) is not None:
        tags = {item.strip().removeprefix("W/") for item in wanted.split(",")}
        return "*" in tags or f'"{tag}"' in tags
    since = _seconds_of(headers.get("if-modified-since"))
    return modified is not None and since is not None and math.floor(modified) <= since
