"""The outermost layer: what holds of every answer, errors and redirects included."""

from collections.abc import Iterable, MutableMapping
from typing import Any

from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from iiif_server.routes.headers import answer_headers
from iiif_server.routes.limits import objection
from iiif_server.routes.problems import refusal, unexpected
from iiif_server.routes.signing import without_signatures
from iiif_server.telemetry.logs import log_access

_PREFLIGHT = {
    "Access-Control-Allow-Methods": "GET, HEAD, OPTIONS",
    "Access-Control-Allow-Headers": "*",
    "Access-Control-Max-Age": "86400",
}


class Front:
    """Limits on requests, headers on every answer, preflights, HEAD as GET, no bare 500, a log."""

    def __init__(self, app: ASGIApp, administrative: str | None = None) -> None:
        self._app = app
        self._administrative = administrative
        """The path below which no answer is for other origins; None: there is none."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        administrative = self._is_administrative(scope)
        outgoing = _Outgoing(scope, send, administrative=administrative)
        # What is left of a request that was refused is not read: the connection ends with it.
        error = objection(
            _target_bytes(scope), scope["headers"], host_required=scope["http_version"] == "1.1"
        )
        if error is not None:
            answer = refusal(error)
            answer.headers["Connection"] = "close"
            await answer(scope, receive, outgoing.send)
        elif scope["method"] == "OPTIONS":
            headers = None if administrative else _PREFLIGHT
            await Response(status_code=204, headers=headers)(scope, receive, outgoing.send)
        else:
            await self._answer(scope, receive, outgoing)

    async def _answer(self, scope: Scope, receive: Receive, outgoing: "_Outgoing") -> None:
        inner: MutableMapping[str, Any] = dict(scope)
        if scope["method"] == "HEAD":
            inner["method"] = "GET"
        try:
            await self._app(inner, receive, outgoing.send)
        except Exception as error:
            if outgoing.started:
                raise  # the connection is cut, so that nobody takes half an answer for a whole one
            await unexpected(error)(scope, receive, outgoing.send)

    def _is_administrative(self, scope: Scope) -> bool:
        if self._administrative is None:
            return False
        path: str = scope["path"].removeprefix(scope.get("root_path", ""))
        return path == self._administrative or path.startswith(f"{self._administrative}/")


class _Outgoing:
    """The way out of one answer."""

    def __init__(self, scope: Scope, send: Send, *, administrative: bool) -> None:
        self._scope = scope
        self._send = send
        self._administrative = administrative
        self.started = False

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.started = True
            message = {**message, "headers": self._complete(message["headers"])}
            log_access(
                _peer(self._scope),
                self._scope["method"],
                without_signatures(self._scope["path"]),
                self._scope["http_version"],
                message["status"],
            )
        elif message["type"] == "http.response.body" and self._scope["method"] == "HEAD":
            message = {**message, "body": b""}
        await self._send(message)

    def _complete(self, headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
        """The header fields of an answer, with those that its route has not set."""
        fields = list(headers)
        set_already = dict(fields)
        type_ = set_already.get(b"content-type", b"").decode("latin-1")
        missing = answer_headers(type_, administrative=self._administrative)
        return fields + [field for field in missing if field[0] not in set_already]


def _target_bytes(scope: Scope) -> int:
    path = scope.get("raw_path") or scope["path"].encode("utf-8", "surrogatepass")
    return len(path) + len(scope["query_string"])


def _peer(scope: Scope) -> str:
    client = scope.get("client")
    return f"{client[0]}:{client[1]}" if client else "-"
