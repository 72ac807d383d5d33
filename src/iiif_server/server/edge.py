"""Edge middleware: the outermost middleware.

It limits requests, answers preflights, asks the fast path, and turns exceptions into responses.
"""

from starlette.types import ASGIApp, Receive, Scope, Send

from iiif_server.errors import IiifServerError
from iiif_server.server.addresses import mounted
from iiif_server.server.fast_path import FAILED, FastPath, may_be_ready
from iiif_server.server.problems import not_allowed, problem_of, unexpected
from iiif_server.server.request_context import RequestContext
from iiif_server.server.request_limits import limit_problem
from iiif_server.server.respond import Answer, conditional, respond, write
from iiif_server.telemetry.requests import CURRENT

_ALLOWED = "GET, HEAD, OPTIONS"
_METHODS = frozenset(_ALLOWED.split(", "))
_PREFLIGHT = {
    "Access-Control-Allow-Methods": _ALLOWED,
    # "CORS non-wildcard request-header name" (Fetch standard): `*` does not cover it.
    "Access-Control-Allow-Headers": "*, Authorization",
    "Access-Control-Max-Age": "86400",
}


class EdgeMiddleware:
    """Request limits, preflights, the fast path, HEAD as GET, a response for every exception."""

    def __init__(self, app: ASGIApp, fast_path: FastPath) -> None:
        self._app = app
        self._fast_path = fast_path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if self._fast_path.root_path:
            scope = mounted(scope, self._fast_path.root_path)
        context = RequestContext.of(scope, self._fast_path.administrative)
        current = CURRENT.set(context.id)
        inner = dict(scope)
        try:
            with context.services.metrics.gauges.in_progress.track_inprogress():
                await self._answer(context, inner, receive, send)
        except Exception as error:
            if context.status:
                raise  # uvicorn closes the connection, so that the client knows it is incomplete
            await respond(inner, unexpected(error), send)
        finally:
            CURRENT.reset(current)

    async def _answer(
        self, context: RequestContext, scope: Scope, receive: Receive, send: Send
    ) -> None:
        if FAILED in scope:
            await respond(scope, unexpected(scope[FAILED]), send)
            return
        if scope["method"] not in _METHODS and not context.administrative:
            # Before the request limits: the content of such a request is not read either way.
            await respond(scope, not_allowed(_ALLOWED), send)
            return
        rejection = _limit_problem(scope)
        if rejection is not None:
            # The rest of a refused request is not read, so the connection cannot be used again.
            answer = problem_of(rejection)
            answer.extra = {**answer.extra, "Connection": "close"}
            await respond(scope, answer, send)
        elif scope["method"] == "OPTIONS":
            extra = {} if context.administrative else _PREFLIGHT
            await respond(scope, Answer(status_code=204, extra=extra), send)
        elif not await self._respond_ready(context, scope, send):
            await self._route(context, scope, receive, send)

    async def _respond_ready(self, context: RequestContext, scope: Scope, send: Send) -> bool:
        """Send the response if it is ready, also after a revalidation; whether it was sent."""
        if context.administrative:
            return False
        response = None
        if may_be_ready(scope):
            response = None if context.tried else self._fast_path.ready(scope, context)
            outdated = context.outdated if response is None else None
            if outdated is not None and await context.services.images.revalidate(outdated):
                response = self._fast_path.ready(scope, context)
        if response is not None:
            response = conditional(scope, response)
        else:
            response = await self._fast_path.stored(scope, context)
        if response is None:
            return False
        await write(scope, context, response, send)
        return True

    async def _route(
        self, context: RequestContext, scope: Scope, receive: Receive, send: Send
    ) -> None:
        # No route reads cookies, but FastAPI parses them for each request, which takes quadratic
        # time with the standard library of Python 3.11.9, 3.12.5 and older (CVE-2024-7592).
        scope["headers"] = [item for item in scope["headers"] if item[0] != b"cookie"]
        if context.head:
            scope["method"] = "GET"
        await self._app(scope, receive, send)


def _limit_problem(scope: Scope) -> IiifServerError | None:
    path = scope.get("raw_path") or scope["path"].encode("utf-8", "surrogatepass")
    size = len(path) + len(scope["query_string"])
    return limit_problem(size, scope["headers"], host_required=scope["http_version"] == "1.1")
