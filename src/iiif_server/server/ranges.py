"""Range requests for one range of bytes (RFC 9110, 14). Pure."""

import re
from collections.abc import Mapping

from iiif_server.plan.extents import Extent
from iiif_server.server.conditions import validators

_RANGE = re.compile(r"bytes\s*=\s*(\d{0,18})-(\d{0,18})\s*", re.ASCII | re.IGNORECASE)


class UnsatisfiableRangeError(Exception):
    """No byte of the content is in the range (RFC 9110, 15.5.17)."""


def requested_extent(
    headers: Mapping[str, str], length: int, tag: str, modified: float | None
) -> Extent | None:
    """Requested extent of a content of `length` bytes; None: the whole content.

    None also for several ranges, which a server may ignore (RFC 9110, 14.2), for malformed ranges,
    and if `If-Range` does not match `tag` or `modified`. Raises UnsatisfiableRangeError.
    """
    match = _RANGE.fullmatch(headers.get("range", ""))
    if match is None or not (match[1] or match[2]) or not _applies(headers, tag, modified):
        return None
    if not match[1]:
        begin, end = max(0, length - int(match[2])), length
    else:
        begin, end = int(match[1]), min(int(match[2]) + 1, length) if match[2] else length
        if match[2] and int(match[2]) < begin:
            return None  # "invalid" (RFC 9110, 14.1.1), and so ignored
    if begin >= end:
        raise UnsatisfiableRangeError
    return begin, end


def _applies(headers: Mapping[str, str], tag: str, modified: float | None) -> bool:
    condition = headers.get("if-range")
    if condition is None:
        return True
    # Only an exact match counts, no weak tag and no other date (RFC 9110, 13.1.5).
    current = validators(tag, modified)
    return condition.strip() in {current["ETag"], current.get("Last-Modified")}
