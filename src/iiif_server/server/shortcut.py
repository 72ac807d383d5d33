"""Pixels of images that are known: what is asked is clear without routing, and asking a source."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from iiif_server.errors import IiifServerError
from iiif_server.server.access_log import noted_of
from iiif_server.server.answering import image_answer
from iiif_server.server.asked import Asked, asked_in
from iiif_server.server.headers import image_link
from iiif_server.server.problems import refusal
from iiif_server.server.services import Permission


class Shortcut:
    """Takes requests for pixels of known images to the pipeline, and all others to the routes.

    The answers are the same. It is to stand inside `Front`, which makes a GET of a HEAD, and right
    before the routes.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or pass it on."""
        asked = _asked(scope)
        answer = None if asked is None else await _answer(asked, Request(scope, receive))
        await (answer or self._app)(scope, receive, send)


def _asked(scope: Scope) -> Asked | None:
    if scope["type"] != "http" or scope["method"] != "GET" or scope["query_string"]:
        return None
    return asked_in(scope["app"].state.services, scope) if scope.get("raw_path") else None


async def _answer(asked: Asked, request: Request) -> Response | None:
    """The answer; None if the image is not what it was when it became known."""
    provided, known = asked.provided, asked.image
    link = image_link(asked.base_uri, asked.canonical, asked.version)
    try:
        async with provided.originals.hold(known.original.identifier) as original:
            if original.file != known.original.file:
                return None
            noted_of(request.scope).kind = asked.kind
            resolved = asked.resolved_of(original)
            permission = Permission(original.identifier)
            return await image_answer(request, provided, permission, resolved, link)
    except IiifServerError as error:
        noted_of(request.scope).kind = asked.kind
        return refusal(error)
