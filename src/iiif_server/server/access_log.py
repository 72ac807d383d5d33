"""Access log: the record of each response, for log, metrics and traces."""

import re
import time
from collections.abc import Callable, Sequence
from functools import cache
from typing import NamedTuple
from urllib.parse import quote, unquote

from starlette.types import Scope

from iiif_server.iiif.versions import V2, V3
from iiif_server.server.addresses import Addressing
from iiif_server.server.signing import without_signatures
from iiif_server.telemetry.requests import IN_PATHS, Answered, new_request_id, sane_request_id
from iiif_server.telemetry.stages import Stages

_REQUEST_ID = b"x-request-id"
_TRACE_PARENT = b"traceparent"
_ENCODED_SLASH = re.compile(rb"%2[fF]")
_CONVERTER = re.compile(r":\w+}")
_OTHER = "other"
"""Route of requests that no route matches: one metric label, not one for each path."""
_LONGEST = 256
"""Maximum bytes of a request id or a `traceparent` header; longer values are ignored."""
_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "POST", "PUT", "DELETE", "PATCH"})


class Kind(NamedTuple):
    """Kind of a request, with few possible values, as metric labels need."""

    route: str
    """Path template, the same for all versions of the Image API."""
    version: str
    """Version of the Image API; empty for other requests."""


IMAGE = "/{identifier}/{region}/{size}/{rotation}/{quality}.{format}"


class AccessLog:
    """Access log: passes a record of every response to its readers (log, metrics, traces)."""

    def __init__(
        self,
        addressing: Addressing,
        readers: Sequence[Callable[[Answered], None]],
        *,
        traced: bool = False,
    ) -> None:
        """`traced`: whether a reader needs the `traceparent` header of requests."""
        self._addressing = addressing
        self._readers = tuple(readers)
        self._traced = traced

    def __repr__(self) -> str:
        return f"<AccessLog for {len(self._readers)}>"

    def request_id(self, scope: Scope) -> str:
        """Request id: that of a trusted proxy, if it is valid, or a new one."""
        given = self._from_proxy(scope, _REQUEST_ID) if self._addressing.trusted_proxies else ""
        return (given and sane_request_id(given)) or new_request_id()

    def record(
        self,
        scope: Scope,
        request: str,
        *,
        kind: Kind,
        began: float,
        status: int,
        size: int,
        engine: str = "",
        stages: Stages | None = None,
    ) -> None:
        """Record a response that was sent; `began` is the start time, by `time.perf_counter`."""
        client, method, raw = scope.get("client"), scope["method"], scope.get("raw_path") or b""
        answered = Answered(
            request,
            f"{client[0]}:{client[1]}" if client else "-",
            method if method in _METHODS else "OTHER",
            without_signatures(scope["path"]),
            scope["http_version"],
            status,
            size,
            time.perf_counter() - began,
            kind.route,
            kind.version,
            engine,
            stages,
            _written(raw) if b"%2" in raw else "",
            self._from_proxy(scope, _TRACE_PARENT) if self._traced else "",
        )
        for reader in self._readers:
            reader(answered)

    def _from_proxy(self, scope: Scope, name: bytes) -> str:
        """Value of a header field, if a trusted proxy sent it; else an empty string."""
        client = scope.get("client")
        if client is None or not self._addressing.trusts(client[0]):
            return ""
        for key, value in scope["headers"]:
            if key == name:
                return str(value, "latin-1") if len(value) <= _LONGEST else ""
        return ""


def _written(raw: bytes) -> str:
    """Path with percent-encoded slashes as the client sent them; empty if it has none.

    Signatures are removed, however they are encoded.
    """
    parts = _ENCODED_SLASH.split(raw)
    if len(parts) == 1:
        return ""
    decoded = (unquote(part.decode("latin-1"), errors="replace") for part in parts)
    return "%2F".join(quote(without_signatures(part), safe=IN_PATHS) for part in decoded)


def kind_of(scope: Scope, version: str = "") -> Kind:
    """Kind of a request, from its route; `version` is that of its image call, if any."""
    kind = _kind(getattr(scope.get("route"), "path", ""))
    return kind._replace(version=version) if version and kind.version else kind


@cache  # one entry per route
def _kind(template: str) -> Kind:
    route = _CONVERTER.sub("}", template) or _OTHER
    for version in (V3, V2):
        if route.startswith(f"{version.path}/"):
            return Kind(route.removeprefix(version.path), version.number)
    return Kind(route, V3.number if route.startswith("/{identifier}") else "")
