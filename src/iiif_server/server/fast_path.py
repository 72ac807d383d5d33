"""Fast path: responses that are ready in memory, without routing, threads or disk access.

Most requests are for responses in the response cache, and most others for tiles of open pyramids.
The protocol asks the fast path before it creates a task for a request.
"""

from collections.abc import Collection, Sequence
from dataclasses import replace
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI
from starlette.types import Scope

from iiif_server.errors import IiifServerError
from iiif_server.images.registry import Image
from iiif_server.plan.render_plan import Engine
from iiif_server.server.access_log import IMAGE, Kind
from iiif_server.server.addresses import mounted
from iiif_server.server.call import ImageCall
from iiif_server.server.image_answers import canonical_of, image_answer, ready
from iiif_server.server.request_context import RequestContext, ResponseKey
from iiif_server.server.request_limits import limit_problem
from iiif_server.server.respond import Answer, Complete, cache_response, complete, head_of, record
from iiif_server.server.services import Services
from iiif_server.telemetry.stages import Stages

FAILED = "iiif_server.failed"
"""Scope key of the exception that the fast path raised before the application was called."""
_METHODS = frozenset({"GET", "HEAD"})
_CONDITIONS = frozenset({b"if-none-match", b"if-modified-since"})


class FastPath:
    """Fast path: responses from the response cache, and tiles of open pyramids. Never waits."""

    def __init__(self, root_path: str = "", administrative: Collection[str] = ()) -> None:
        """`administrative`: paths at and below which responses are for this origin only."""
        self.root_path = root_path
        self.administrative = administrative
        self._purged = 0

    def __repr__(self) -> str:
        return "<FastPath>"

    def ready(self, scope: Scope, context: RequestContext) -> Complete | None:
        """Complete response to a GET or HEAD request, if it is ready; else None.

        If the response is only waiting for the revalidation of its original, sets
        `context.outdated` to the image to revalidate.
        """
        services = context.services
        if services.store.purged_at != self._purged:  # also by another process
            self._forget_purged(services)
        key = context.key(scope)
        if key is None:
            return None
        response: Complete | None = services.responses.get(key)
        if response is None:
            return _tile(scope, context, key)
        if response.image is not None and services.images.is_fresh(response.image):
            return response
        context.outdated = response.image
        return None

    async def stored(self, scope: Scope, context: RequestContext) -> Complete | None:
        """Complete response to a GET or HEAD request, if its derivative is in the store.

        Needs neither the original nor a worker; reads the derivative in the threads of the store.
        """
        try:
            call = context.call(scope)
            answer = None if call is None else await ready(scope, context.services, call)
        except IiifServerError:
            return None  # the routes refuse it
        if call is None or answer is None:
            return None
        return _cached(scope, context, call, answer, context.key(scope))

    def direct(self, app: FastAPI, scope: Scope) -> Sequence[bytes] | None:
        """Chunks of a ready 200 response, without the status line and the server's own fields.

        None: the application has to respond; it finds the request context in the scope.
        """
        try:
            return self._direct(app, scope) if _is_plain(scope) else None
        except Exception as error:  # noqa: BLE001 - the edge responds, and logs it
            scope[FAILED] = error
            return None

    def _direct(self, app: FastAPI, scope: Scope) -> Sequence[bytes] | None:
        scope["app"] = app
        if self.root_path:
            scope.update(mounted(scope, self.root_path))
        context = RequestContext.of(scope, self.administrative)
        context.tried = True
        response = self.ready(scope, context)
        if response is None or response.kind is None or not isinstance(response.body, bytes):
            return None
        context.status, context.size = response.status, len(response.body)
        record(scope, context, response, response.kind)
        request_id = b"x-request-id: %b\r\n\r\n" % context.id.encode("ascii")
        return response.head or head_of(response.fields), request_id, response.body

    def _forget_purged(self, services: Services) -> None:
        self._purged = services.store.purged_at
        services.responses.clear()
        services.pyramids.close_files()


def may_be_ready(scope: Scope) -> bool:
    """Whether the fast path may answer a request."""
    return bool(scope["method"] in _METHODS and not scope["query_string"] and scope.get("raw_path"))


def _is_plain(scope: Scope) -> bool:
    """Whether a request is a GET without query and conditions, within the request limits."""
    if scope["method"] != "GET" or scope["query_string"] or not scope.get("raw_path"):
        return False
    headers: Any = scope["headers"]
    if not _CONDITIONS.isdisjoint([name for name, _ in headers]):
        return False
    host_required = scope["http_version"] == "1.1"
    return limit_problem(len(scope["raw_path"]), headers, host_required=host_required) is None


def _tile(scope: Scope, context: RequestContext, key: ResponseKey) -> Complete | None:
    """Response, if it is a tile of an open pyramid, and in the page cache of the kernel."""
    try:
        call = context.call(scope)
    except IiifServerError:
        return None  # the routes refuse it
    if call is None or call.request is None or call.permission.grant is not None:
        return None
    services = context.services
    image = services.images.known(call.identifier)
    if image is None:
        context.outdated = services.images.outdated(call.identifier)
        return None
    answer = _tile_answer(services, call, image)
    if answer is None:
        return None
    return _cached(scope, context, call, answer, key)


def _cached(
    scope: Scope, context: RequestContext, call: ImageCall, answer: Answer, key: ResponseKey | None
) -> Complete:
    """Complete response with an image; stored in the response cache, if that is allowed."""
    kind = Kind(IMAGE, call.version.number)
    response = replace(complete(scope, context, answer), kind=kind)
    if key is not None and response.status == HTTPStatus.OK and response.image is not None:
        cache_response(context, key, response, kind)
    return response


def _tile_answer(services: Services, call: ImageCall, image: Image) -> Answer | None:
    pyramid = image.pyramid
    if pyramid is None or call.request is None:
        return None
    try:
        resolved = services.derivatives.resolve(image, call.request, Stages())
    except IiifServerError:
        return None
    if resolved.engine is not Engine.TILE or resolved.tile is None:
        return None
    if services.canonical_redirect and call.parameters != canonical_of(services, call, resolved):
        return None
    data = services.pyramids.read_nowait(pyramid, resolved.tile)
    if data is None:
        return None
    services.derivatives.count(Engine.TILE)
    resolved.stages.engine = Engine.TILE
    return image_answer(services, call, resolved, data)
