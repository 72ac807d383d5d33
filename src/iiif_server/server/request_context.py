"""Request context: the state of one request, from its head to its log line."""

import time
from collections.abc import Collection
from dataclasses import dataclass
from typing import NamedTuple

from starlette.types import Scope

from iiif_server.errors import IiifServerError
from iiif_server.images.registry import Image
from iiif_server.server.addresses import route_path
from iiif_server.server.call import INFORMATION, ImageCall, parse_call
from iiif_server.server.delivery import by_proxy
from iiif_server.server.negotiation import NEGOTIABLE, accept_of, negotiate
from iiif_server.server.services import Services, services_of

_CONTEXT = "iiif_server.request"


class ResponseKey(NamedTuple):
    """Everything in a request that a cached response depends on."""

    path: bytes
    """Raw path, as the client sent it."""
    base: str
    """Public URL of the server."""
    media_type: str
    """Negotiated media type; empty if the response does not depend on `Accept`."""
    by_proxy: bool
    """Whether the proxy sends files itself (X-Accel-Redirect)."""


@dataclass(slots=True, eq=False)
class RequestContext:
    """State of one request in the edge, the routes and `respond`."""

    # Not the scope, which refers to this: a cycle would delay the release of large headers.
    services: Services
    id: str
    """Request id, for logs and `X-Request-Id`."""
    began: float
    """Start time, by `time.perf_counter`."""
    head: bool
    """Whether the method is HEAD: the body is not sent."""
    administrative: bool = False
    """Whether the response is for this origin only and must not be stored."""
    tried: bool = False
    """Whether the fast path has been tried already, before a task was created."""
    outdated: Image | None = None
    """Image that has to be revalidated before the fast path can respond."""
    status: int = 0
    """Status of the response; 0: it has not begun."""
    size: int = 0
    """Number of sent bytes of the body."""
    _call: ImageCall | IiifServerError | None = None
    _parsed: bool = False

    @classmethod
    def of(cls, scope: Scope, administrative: Collection[str] = ()) -> "RequestContext":
        """Context of a request, created once, and again after settings were reloaded."""
        services = services_of(scope["app"])
        context: RequestContext | None = scope.get(_CONTEXT)
        if context is None or context.services is not services:
            began = time.perf_counter()
            head = scope["method"] == "HEAD"
            context = cls(services, services.access_log.request_id(scope), began, head)
            path = route_path(scope) if administrative else ""
            context.administrative = any(
                path == base or path.startswith(f"{base}/") for base in administrative
            )
            scope[_CONTEXT] = context
        return context

    def call(self, scope: Scope) -> ImageCall | None:
        """Image call of the request, parsed once; None if it is no request of the Image API.

        Raises the errors of `parse_call`, at each call.
        """
        if not self._parsed:
            self._parsed = True
            try:
                self._call = parse_call(scope, self.services)
            except IiifServerError as error:
                self._call = error
        if isinstance(self._call, IiifServerError):
            raise self._call
        return self._call

    @property
    def version(self) -> str:
        """Version of the Image API of the response; empty for other requests."""
        return self._call.version.number if isinstance(self._call, ImageCall) else ""

    def key(self, scope: Scope) -> ResponseKey | None:
        """Key of the response in the response cache; None if it cannot be cached."""
        services = self.services
        if scope["query_string"] or self.administrative or not scope.get("raw_path"):
            return None
        try:
            base = services.addressing.base_of(scope)
            variant = _variant(scope) if scope["path"].endswith(INFORMATION) else ""
        except IiifServerError:
            return None  # the routes return the error
        return ResponseKey(scope["raw_path"], base, variant, by_proxy(scope, services))


def _variant(scope: Scope) -> str:
    """Negotiated media type of image information."""
    path = route_path(scope)
    prefixes = [prefix for prefix in NEGOTIABLE if prefix and path.startswith(f"{prefix}/")]
    versions = NEGOTIABLE[prefixes[0] if prefixes else ""]
    return negotiate(accept_of(scope["headers"]), versions).media_type
