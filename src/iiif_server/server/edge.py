"""The outermost layer: what holds of every answer, errors and redirects included."""

import time
from collections.abc import Collection, Iterable, MutableMapping
from typing import Any

from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from iiif_server.server.access_log import begin_noting, kind_of
from iiif_server.server.delivery import HEAD
from iiif_server.server.headers import answer_headers
from iiif_server.server.problems import not_allowed, refusal, unexpected
from iiif_server.server.request_limits import objection
from iiif_server.server.services import Services
from iiif_server.telemetry.requests import CURRENT

FAILED = "iiif_server.failed"
"""In the scope of a request: the exception of a layer in front, which is answered here."""

_ALLOWED = "GET, HEAD, OPTIONS"
_ANSWERED = frozenset(_ALLOWED.split(", "))
_PREFLIGHT = {
    "Access-Control-Allow-Methods": _ALLOWED,
    # "CORS non-wildcard request-header name" (Fetch standard): `*` does not cover it.
    "Access-Control-Allow-Headers": "*, Authorization",
    "Access-Control-Max-Age": "86400",
}


class Front:
    """Limits on requests, headers on every answer, preflights, HEAD as GET, no bare 500, a log."""

    def __init__(self, app: ASGIApp, administrative: Collection[str] = ()) -> None:
        self._app = app
        self._administrative = administrative
        """The paths at and below which no answer is for other origins."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()
        provided: Services = scope["app"].state.services
        request = provided.journal.identify(scope)
        administrative = self._is_administrative(scope)
        outgoing = _Outgoing(scope, send, request, administrative=administrative)
        inner: MutableMapping[str, Any] = dict(scope)
        noted = begin_noting(inner)
        current = CURRENT.set(request)
        try:
            with provided.metrics.standing.in_progress.track_inprogress():
                await self._answer(inner, receive, outgoing)
        finally:
            CURRENT.reset(current)
            if outgoing.started:
                stages = noted.stages
                provided.journal.enter(
                    scope,
                    request,
                    kind=kind_of(inner),
                    began=began,
                    status=outgoing.status,
                    size=outgoing.size,
                    engine=stages.engine if stages else "",
                    stages=stages,
                )

    async def _answer(
        self, inner: MutableMapping[str, Any], receive: Receive, outgoing: "_Outgoing"
    ) -> None:
        if inner["method"] not in _ANSWERED and not outgoing.administrative:
            # No matter whether it has content: it is not read.
            await not_allowed(_ALLOWED)(inner, receive, outgoing.send)
            return
        # What is left of a request that was refused is not read: the connection ends with it.
        error = objection(
            _target_bytes(inner), inner["headers"], host_required=inner["http_version"] == "1.1"
        )
        if error is not None:
            answer = refusal(error)
            answer.headers["Connection"] = "close"
            await answer(inner, receive, outgoing.send)
        elif inner["method"] == "OPTIONS":
            headers = None if outgoing.administrative else _PREFLIGHT
            await Response(status_code=204, headers=headers)(inner, receive, outgoing.send)
        else:
            await self._route(inner, receive, outgoing)

    async def _route(
        self, inner: MutableMapping[str, Any], receive: Receive, outgoing: "_Outgoing"
    ) -> None:
        # No route reads cookies, but FastAPI parses them for each request, which takes quadratic
        # time with the standard library of Python 3.11.9, 3.12.5 and older (CVE-2024-7592).
        inner["headers"] = [field for field in inner["headers"] if field[0] != b"cookie"]
        if inner["method"] == "HEAD":
            inner["method"] = "GET"
            inner[HEAD] = True
        if FAILED in inner:
            await unexpected(inner[FAILED])(inner, receive, outgoing.send)
            return
        try:
            await self._app(inner, receive, outgoing.send)
        except Exception as error:
            if outgoing.started:
                raise  # the connection is cut, so that nobody takes half an answer for a whole one
            await unexpected(error)(inner, receive, outgoing.send)

    def _is_administrative(self, scope: Scope) -> bool:
        path: str = scope["path"].removeprefix(scope.get("root_path", ""))
        return any(path == base or path.startswith(f"{base}/") for base in self._administrative)


class _Outgoing:
    """The way out of one answer."""

    def __init__(self, scope: Scope, send: Send, request: str, *, administrative: bool) -> None:
        self._is_head = scope["method"] == "HEAD"
        self._send = send
        self._request = request
        self.administrative = administrative
        self.status = 0
        self.size = 0
        """Bytes of the body so far."""

    @property
    def started(self) -> bool:
        """Whether the answer has begun."""
        return self.status > 0

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            message = {**message, "headers": self._complete(message["headers"])}
        elif message["type"] == "http.response.body":
            if self._is_head:
                message = {**message, "body": b""}
            self.size += len(message.get("body", b""))
        await self._send(message)

    def _complete(self, headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
        """The header fields of an answer, with those that its route has not set."""
        fields = list(headers)
        set_already = dict(fields)
        type_ = set_already.get(b"content-type", b"").decode("latin-1")
        if b"content-security-policy" in set_already:
            set_already[b"x-frame-options"] = b""  # a policy of its own says who may frame it
        missing = answer_headers(type_, administrative=self.administrative)
        fields += [field for field in missing if field[0] not in set_already]
        fields.append((b"x-request-id", self._request.encode("ascii")))
        return fields


def _target_bytes(scope: Scope) -> int:
    path = scope.get("raw_path") or scope["path"].encode("utf-8", "surrogatepass")
    return len(path) + len(scope["query_string"])
