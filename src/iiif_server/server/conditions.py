"""Conditional requests (RFC 9110, 13). Pure."""

import calendar
import math
from collections.abc import Mapping
from email.utils import formatdate, parsedate_to_datetime
from functools import lru_cache

_MAX_DATE = 64
"""Maximum characters of an HTTP date, more than any format has; longer values are ignored."""


def validators(tag: str, modified: float | None, *, weak: bool = False) -> dict[str, str]:
    """Header fields `ETag` and `Last-Modified`, with which clients revalidate.

    A weak tag promises the same picture, but not the same bytes (RFC 9110, 8.8.1). For a time
    outside the years 1 to 9999, which file systems can store and HTTP dates cannot,
    `Last-Modified` is left out; the tag suffices.
    """
    headers = {"ETag": f'W/"{tag}"' if weak else f'"{tag}"'}
    date = None if modified is None else _http_date(math.floor(modified))
    return headers if date is None else headers | {"Last-Modified": date}


@lru_cache(4096)  # about as many originals as are requested at a time
def _http_date(seconds: int) -> str | None:
    try:
        return formatdate(seconds, usegmt=True)
    except (ValueError, OverflowError, OSError):
        return None


def is_failed(headers: Mapping[str, str], tag: str, modified: float | None) -> bool:
    """Whether `If-Match` or `If-Unmodified-Since` fails: the response is then 412.

    `If-Unmodified-Since` is ignored if there is `If-Match` (RFC 9110, 13.1.4).
    """
    if (expected := headers.get("if-match")) is not None:
        tags = {item.strip() for item in expected.split(",")}
        return "*" not in tags and f'"{tag}"' not in tags
    date = _seconds_of(headers.get("if-unmodified-since"))
    return modified is not None and date is not None and math.floor(modified) > date


def _seconds_of(date: str | None) -> int | None:
    if date is None or len(date) > _MAX_DATE:
        return None
    try:
        # The asctime format has no time zone; all formats are in GMT (RFC 9110, 5.6.7).
        return calendar.timegm(parsedate_to_datetime(date).utctimetuple())
    except (ValueError, OverflowError):
        return None


def is_not_modified(headers: Mapping[str, str], tag: str, modified: float | None) -> bool:
    """Whether the client's copy is current by `If-None-Match` or `If-Modified-Since`: then 304.

    `If-Modified-Since` is ignored if there is `If-None-Match` (RFC 9110, 13.1.3).
    """
    if (expected := headers.get("if-none-match")) is not None:
        tags = {item.strip().removeprefix("W/") for item in expected.split(",")}
        return "*" in tags or f'"{tag}"' in tags
    since = _seconds_of(headers.get("if-modified-since"))
    return modified is not None and since is not None and math.floor(modified) <= since
