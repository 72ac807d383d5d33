"""The outermost layer: what holds of every answer, errors and redirects included."""

from collections.abc import MutableMapping
from typing import Any

from starlette.datastructures import MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from iiif_server.routes.problems import unexpected

_EXPOSED = "Link, ETag, Last-Modified, Retry-After, Content-Length, Server-Timing"
_PREFLIGHT = {
    "Access-Control-Allow-Methods": "GET, HEAD, OPTIONS",
    "Access-Control-Allow-Headers": "*",
    "Access-Control-Max-Age": "86400",
}


class Front:
    """CORS on every answer, preflights, HEAD as GET without the body, no bare 500."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        outgoing = _Outgoing(send, head=scope["method"] == "HEAD")
        if scope["method"] == "OPTIONS":
            await Response(status_code=204, headers=_PREFLIGHT)(scope, receive, outgoing.send)
            return
        inner: MutableMapping[str, Any] = dict(scope)
        if scope["method"] == "HEAD":
            inner["method"] = "GET"
        try:
            await self._app(inner, receive, outgoing.send)
        except Exception as error:
            if outgoing.started:
                raise  # the connection is cut, so that nobody takes half an answer for a whole one
            await unexpected(error)(scope, receive, outgoing.send)


class _Outgoing:
    """The way out of one answer."""

    def __init__(self, send: Send, *, head: bool) -> None:
        self._send = send
        self._head = head
        self.started = False

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.started = True
            headers = MutableHeaders(scope=message)
            headers["Access-Control-Allow-Origin"] = "*"
            headers["Access-Control-Expose-Headers"] = _EXPOSED
            headers["Timing-Allow-Origin"] = "*"
            headers["X-Content-Type-Options"] = "nosniff"
        elif message["type"] == "http.response.body" and self._head:
            message = {**message, "body": b""}
        await self._send(message)
