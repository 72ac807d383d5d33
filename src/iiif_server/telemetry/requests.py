"""Records of answered requests, for logs, metrics and traces; and request ids."""

import random
import re
from contextvars import ContextVar
from typing import NamedTuple

from iiif_server.telemetry.stages import Stages

CURRENT: ContextVar[str] = ContextVar("iiif_server_request", default="")
"""Id of the current request; tasks and threads that it starts inherit it."""

IN_PATHS = "/:;,=@!$&'()*+^|~[]{}<>"
"""Characters that log lines contain unescaped in paths: no quotes, spaces or control characters."""
_SANE = re.compile(r"[A-Za-z0-9._~:/+=@-]{1,128}", re.ASCII)


class Answered(NamedTuple):
    """Facts of one response, from any layer of the server."""

    request: str
    """Request id."""
    peer: str
    """IP address and port of the client, or of the proxy in front of it."""
    method: str
    path: str
    """Decoded path, without the query and without signatures."""
    http: str
    """HTTP version."""
    status: int
    size: int
    """Sent bytes of the body."""
    seconds: float
    """Duration from the head of the request to the last byte of the response."""
    route: str = ""
    """Path template of the route; empty without a route."""
    version: str = ""
    """Version of the Image API; empty for other requests."""
    engine: str = ""
    """Engine of the image, or `cache` or `memory`; empty without an image."""
    stages: Stages | None = None
    """Durations of the stages, if they were measured."""
    written: str = ""
    """Percent-encoded path, without signatures, if the request has an encoded slash; else empty."""
    parent: str = ""
    """Value of `traceparent` (W3C Trace Context), if a trusted proxy sent one."""


def new_request_id() -> str:
    """Return a random request id: 16 hexadecimal digits, not a secret."""
    return f"{random.getrandbits(64):016x}"


def sane_request_id(given: str) -> str | None:
    """Return the request id of a proxy if it is safe in logs and header fields, else None."""
    return given if _SANE.fullmatch(given) else None
