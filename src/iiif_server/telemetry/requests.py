"""Requests as those who run the server look at them: which one, and how it was answered."""

import random
import re
from contextvars import ContextVar
from typing import NamedTuple

from iiif_server.telemetry.stages import Stages

CURRENT: ContextVar[str] = ContextVar("iiif_server_request", default="")
"""The id of the request that is being answered; tasks and threads that it starts have it too."""

IN_PATHS = "/:;,=@!$&'()*+^|~[]{}<>"
"""What stands in the path of a log line as it is: no quote, no space, nothing invisible."""
_SANE = re.compile(r"[A-Za-z0-9._~:/+=@-]{1,128}", re.ASCII)


class Answered(NamedTuple):
    """One answer that was given, whichever layer gave it."""

    request: str
    """The id of the request."""
    peer: str
    """Address and port of whoever is connected."""
    method: str
    path: str
    """Decoded, without the query, and without what is secret."""
    http: str
    """The version of HTTP."""
    status: int
    size: int
    """Bytes of the body that were sent."""
    seconds: float
    """From the request's head to the last byte handed over."""
    route: str = ""
    """The template of the path; empty: of no route."""
    version: str = ""
    """Of the Image API; empty: something else was asked for."""
    engine: str = ""
    """What made the image, or `cache`, `memory`; empty: there was none."""
    stages: Stages | None = None
    """How long everything took, where that was measured."""
    written: str = ""
    """The path as it was sent, percent-encoded, if `path` cannot tell an encoded slash from one."""
    parent: str = ""
    """The trace that the request is a part of, in the form of `traceparent`; empty: of none."""


def new_request_id() -> str:
    """An id that no other request has; it tells nothing, and is no secret."""
    return f"{random.getrandbits(64):016x}"


def sane_request_id(given: str) -> str | None:
    """An id that somebody else gave, if it may stand in logs and header fields as it is."""
    return given if _SANE.fullmatch(given) else None
