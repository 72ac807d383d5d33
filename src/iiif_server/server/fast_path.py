"""Fast path: responses that are ready in memory, without routing, a thread or a disk.

Most of what an image server is asked for it has answered before, and most of the rest are tiles of
pyramids that are open. The protocol asks the fast path before it creates a task for a request.
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
from iiif_server.server.request_limits import objection
from iiif_server.server.respond import Answer, Complete, complete, head_of, keep, record
from iiif_server.server.services import Services
from iiif_server.telemetry.stages import Stages

FAILED = "iiif_server.failed"
"""In the scope: the exception that the fast path raised before the application was called."""
_METHODS = frozenset({"GET", "HEAD"})
_CONDITIONS = frozenset({b"if-none-match", b"if-modified-since"})


class FastPath:
    """Ready responses: from the response cache, or tiles of open pyramids. Never waits."""

    def __init__(self, root_path: str = "", administrative: Collection[str] = ()) -> None:
        """`administrative` are the paths at and below which no response is for other origins."""
        self.root_path = root_path
        self.administrative = administrative
        self._purged = 0

    def __repr__(self) -> str:
        return "<FastPath>"

    def ready(self, scope: Scope, context: RequestContext) -> Complete | None:
        """The whole response to a GET or HEAD request, if it is ready; None: make it.

        If all that is missing is whether the original has changed, `context.outdated` is the image
        to revalidate.
        """
        services = context.services
        if services.store.purged_at != self._purged:  # by whichever process
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
        """The whole response to a GET or HEAD request, if it needs neither original nor worker.

        The derivative is read in the threads of the store.
        """
        try:
            call = context.call(scope)
            answer = None if call is None else await ready(scope, context.services, call)
        except IiifServerError:
            return None  # the routes refuse it
        if call is None or answer is None:
            return None
        return _kept(scope, context, call, answer, context.key(scope))

    def direct(self, app: FastAPI, scope: Scope) -> Sequence[bytes] | None:
        """A ready response with status 200, in pieces, without status line and server fields.

        None: the application answers, which may use what was found out about the request.
        """
        try:
            return self._direct(app, scope) if _is_plain(scope) else None
        except Exception as error:  # noqa: BLE001 - the edge answers, and logs it
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
    """Whether a request is one that the fast path may answer."""
    return bool(scope["method"] in _METHODS and not scope["query_string"] and scope.get("raw_path"))


def _is_plain(scope: Scope) -> bool:
    """Whether a request is unconditional, and within the limits of requests."""
    if scope["method"] != "GET" or scope["query_string"] or not scope.get("raw_path"):
        return False
    headers: Any = scope["headers"]
    if not _CONDITIONS.isdisjoint([name for name, _ in headers]):
        return False
    host_required = scope["http_version"] == "1.1"
    return objection(len(scope["raw_path"]), headers, host_required=host_required) is None


def _tile(scope: Scope, context: RequestContext, key: ResponseKey) -> Complete | None:
    """The response, if it is a tile of a pyramid that is open, and in the page cache."""
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
    return _kept(scope, context, call, answer, key)


def _kept(
    scope: Scope, context: RequestContext, call: ImageCall, answer: Answer, key: ResponseKey | None
) -> Complete:
    """The response that is an image; it is put into the response cache if that is allowed."""
    kind = Kind(IMAGE, call.version.number)
    response = replace(complete(scope, context, answer), kind=kind)
    if key is not None and response.status == HTTPStatus.OK and response.image is not None:
        keep(context, key, response, kind)
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
