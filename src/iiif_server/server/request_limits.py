"""Request limits: size of URL and header fields, Host, and no content. Pure."""

from collections.abc import Sequence
from itertools import chain

from iiif_server.errors import (
    ContentRefusedError,
    HeadersTooLargeError,
    IiifServerError,
    TargetTooLongError,
    UntrustedHostError,
)
from iiif_server.iiif.identifier import MAX_CHARACTERS

MAX_TARGET = 12 * MAX_CHARACTERS + 1024
"""Maximum bytes of path and query: the longest percent-encoded identifier, and parameters."""
MAX_HEADER_FIELDS = 100
MAX_HEADER_BYTES = 32_768


def limit_problem(
    target_bytes: int, headers: Sequence[tuple[bytes, bytes]], *, host_required: bool = False
) -> IiifServerError | None:
    """Error of a request that exceeds the limits; None for other requests.

    Header names are in lower case. `host_required` is true for HTTP/1.1.
    """
    if target_bytes > MAX_TARGET:
        return TargetTooLongError(f"An address has at most {MAX_TARGET} bytes here.")
    size = sum(map(len, chain.from_iterable(headers)))
    if len(headers) > MAX_HEADER_FIELDS or size > MAX_HEADER_BYTES:
        return HeadersTooLargeError(
            f"A request has at most {MAX_HEADER_FIELDS} header fields and {MAX_HEADER_BYTES} bytes "
            "of them here."
        )
    names = [name for name, _ in headers]
    # "A server MUST respond with a 400 [...] to any HTTP/1.1 request message that lacks a Host
    #  header field and to any request message that contains more than one Host header field line"
    # (RFC 9112, 3.2)
    if names.count(b"host") > 1:
        return UntrustedHostError("This request has more than one Host header.")
    if host_required and b"host" not in names:
        return UntrustedHostError("This request has no Host header.")
    if b"transfer-encoding" in names or (b"content-length" in names and _has_content(headers)):
        return ContentRefusedError("Requests to this server carry no content.")
    return None


def _has_content(headers: Sequence[tuple[bytes, bytes]]) -> bool:
    return any(name == b"content-length" and value.strip(b"0") for name, value in headers)
