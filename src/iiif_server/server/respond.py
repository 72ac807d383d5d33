"""Answer and `respond`: the only way from the result of a route to an HTTP response.

`respond` evaluates conditional requests (RFC 9110, 13), creates all header fields, sends the body
unless the method is HEAD, and logs and counts the response.
"""

from collections.abc import AsyncGenerator, Iterable, Mapping
from dataclasses import dataclass, field, replace
from http import HTTPStatus

from starlette.background import BackgroundTask
from starlette.datastructures import Headers
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from iiif_server.errors import ClientDisconnectedError
from iiif_server.images.body import Body
from iiif_server.images.registry import Image
from iiif_server.server.access_log import Kind, kind_of
from iiif_server.server.conditions import is_not_modified, validators
from iiif_server.server.delivery import ACCEL, chunks, location_of
from iiif_server.server.headers import common_fields
from iiif_server.server.request_context import RequestContext, ResponseKey
from iiif_server.telemetry.stages import Stages

CLIENT_CLOSED_REQUEST = 499
"""Status in logs and metrics if the client disconnected before the response (as in nginx)."""
HTML = "text/html; charset=utf-8"
JSON = "application/json"
TEXT = "text/plain; charset=utf-8"

_MAX_CACHED_BYTES = 1 << 20
"""Maximum bytes of a body in the response cache."""
_ONLY_WITH_CONTENT = frozenset(
    {
        "content-disposition",
        "content-encoding",
        "content-length",
        "content-security-policy",
        "content-type",
        "server-timing",
    }
)
"""Header fields that a 304 leaves out, so that the client keeps its own (RFC 9110, 15.4.5)."""
_NO_CONTENT = frozenset({204, 304})

Fields = tuple[tuple[bytes, bytes], ...]


@dataclass(frozen=True, slots=True)
class Stream:
    """Body of unknown length, made while it is sent: the first bytes and a generator of the rest.

    `write` closes the generator (`aclose`).
    """

    begin: bytes
    rest: AsyncGenerator[bytes]


@dataclass(eq=False)
class Answer(Response):
    """Result of a route, before header fields exist; `respond` sends it.

    It is a Starlette Response, so that FastAPI's routes can return it.
    """

    body: bytes | Body | Stream = b""  # type: ignore[assignment]
    media_type: str = ""
    status_code: int = 200
    cache_control: str = ""
    tag: str = ""
    """Entity tag without quotes; empty: none."""
    weak: bool = False
    """Whether the tag is weak: the same picture, but not the same bytes (RFC 9110, 8.8.1)."""
    modified: float | None = None
    """Seconds since the epoch, for `Last-Modified`."""
    extra: Mapping[str, str] = field(default_factory=dict)
    """Further header fields of this answer."""
    stages: Stages | None = None
    """Stage durations, for `Server-Timing`, log and metrics."""
    depends_on: Image | None = None
    """Image on which a public response depends; None: the response cache must not store it."""
    background: BackgroundTask | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        """Send the answer, as routes do."""
        await respond(scope, self, send)


class JsonAnswer(JSONResponse):
    """JSON response that FastAPI makes from the models that routes return: states of the server."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        """Send the answer, as routes do, with the status that the route has set."""
        answer = Answer(bytes(self.body), JSON, self.status_code, cache_control="no-store")
        await respond(scope, answer, send)


@dataclass(frozen=True, slots=True)
class Complete:
    """Response with all header fields except the request id."""

    status: int
    fields: Fields
    body: bytes | Body | Stream
    engine: str = ""
    """Engine that made the image, or `cache` or `memory`; empty for other responses."""
    kind: Kind | None = None
    """Kind of the request; None: it follows from the route."""
    tag: str = ""
    modified: float | None = None
    image: Image | None = None
    stages: Stages | None = None
    head: bytes = b""
    """Header fields in HTTP/1.1 syntax; empty unless the response is cached for the fast path."""


def complete(scope: Scope, context: RequestContext, answer: Answer) -> Complete:
    """Complete response to a request; the only function that creates header fields."""
    stages, body = answer.stages, answer.body
    engine = stages.engine if stages is not None else ""
    headers: dict[str, str] = {}
    if answer.cache_control:
        headers["cache-control"] = answer.cache_control
    if answer.tag:
        headers |= validators(answer.tag, answer.modified, weak=answer.weak)
    headers = {name.lower(): value for name, value in [*headers.items(), *answer.extra.items()]}
    status = answer.status_code
    if _matches(scope, answer):
        _close(body)
        status, body = 304, b""
        headers = {name: value for name, value in headers.items() if name not in _ONLY_WITH_CONTENT}
    if status not in _NO_CONTENT:
        if isinstance(body, Body) and body.path is not None:
            headers[ACCEL] = location_of(body.path, context.services)
            body = b""
        headers |= _length(body)
        if answer.media_type:
            headers["content-type"] = answer.media_type
        if engine and stages is not None:
            headers["server-timing"] = _server_timing(stages)
    media_type = headers.get("content-type", "")
    fields = _encoded(headers.items())
    if "content-security-policy" in headers:
        headers["x-frame-options"] = ""  # the answer's own policy has `frame-ancestors`
    common = common_fields(media_type, administrative=context.administrative)
    fields += tuple(item for item in common if item[0].decode() not in headers)
    return Complete(
        status,
        fields,
        body,
        engine,
        tag=answer.tag,
        modified=answer.modified,
        image=answer.depends_on,
        stages=stages,
    )


def _length(body: bytes | Body | Stream) -> dict[str, str]:
    if isinstance(body, Stream):
        return {}
    return {"content-length": str(body.length if isinstance(body, Body) else len(body))}


async def respond(scope: Scope, answer: Answer, send: Send) -> None:
    """Send an answer as the response to a request, and log it."""
    context = RequestContext.of(scope)
    response = complete(scope, context, answer)
    key = (
        context.key(scope)
        if response.status == HTTPStatus.OK and response.image is not None
        else None
    )
    if key is not None and not context.head:
        cache_response(context, key, response, _kind(scope, context))
    await write(scope, context, response, send)


async def write(scope: Scope, context: RequestContext, response: Complete, send: Send) -> None:
    """Write a complete response to an ASGI server."""
    fields = [*response.fields, (b"x-request-id", context.id.encode("ascii"))]
    context.status = response.status
    start = {"type": "http.response.start", "status": response.status, "headers": fields}
    try:
        await send(start)
        if context.head:
            await send({"type": "http.response.body", "body": b""})
        elif isinstance(response.body, bytes):
            context.size = len(response.body)
            await send({"type": "http.response.body", "body": response.body})
        elif isinstance(response.body, Stream):
            await _send_stream(context, response.body, send)
        else:
            await _send_body(context, response.body, send)
    except ClientDisconnectedError:
        context.status = CLIENT_CLOSED_REQUEST
        raise
    finally:
        if isinstance(response.body, Stream):
            await response.body.rest.aclose()
        _close(response.body)
        record(scope, context, response, response.kind or _kind(scope, context))


async def _send_stream(context: RequestContext, body: Stream, send: Send) -> None:
    context.size = len(body.begin)
    await send({"type": "http.response.body", "body": body.begin, "more_body": True})
    async for chunk in body.rest:
        context.size += len(chunk)
        await send({"type": "http.response.body", "body": chunk, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


async def _send_body(context: RequestContext, body: Body, send: Send) -> None:
    if body.file is not None and body.threads is not None:
        observer = context.services.observer
        async for chunk in chunks(body.file, body.threads, body, observer):
            context.size += len(chunk)
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
    await send({"type": "http.response.body", "body": body.data or b""})
    context.size += len(body.data or b"")


def record(scope: Scope, context: RequestContext, response: Complete, kind: Kind) -> None:
    """Log and count a response that was sent."""
    context.services.access_log.record(
        {**scope, "method": "HEAD"} if context.head else scope,
        context.id,
        kind=kind,
        began=context.began,
        status=context.status,
        size=context.size,
        engine=response.engine,
        stages=response.stages,
    )


def cache_response(
    context: RequestContext, key: ResponseKey, response: Complete, kind: Kind
) -> None:
    """Store a response in the response cache, unless it is larger than 1 MiB or not in memory."""
    if not isinstance(response.body, bytes) or len(response.body) > _MAX_CACHED_BYTES:
        return
    fields = tuple(
        (name, b'engine;desc="memory"' if name == b"server-timing" else value)
        for name, value in response.fields
    )
    stored = replace(
        response, fields=fields, engine="memory", kind=kind, stages=None, head=head_of(fields)
    )
    context.services.responses.put(key, stored, _memory_of(key, stored))


def head_of(fields: Fields) -> bytes:
    """Header fields in HTTP/1.1 syntax."""
    return b"".join([b"%b: %b\r\n" % pair for pair in fields])


def conditional(scope: Scope, response: Complete) -> Complete:
    """Cached response, or 304 if the client's copy is current."""
    if not response.tag or not is_not_modified(
        Headers(scope=scope), response.tag, response.modified
    ):
        return response
    fields = tuple(item for item in response.fields if item[0].decode() not in _ONLY_WITH_CONTENT)
    return Complete(304, fields, b"", response.engine, response.kind)


def _kind(scope: Scope, context: RequestContext) -> Kind:
    return kind_of(scope, context.version)


def _matches(scope: Scope, answer: Answer) -> bool:
    if answer.status_code != HTTPStatus.OK or not answer.tag:
        return False
    return is_not_modified(Headers(scope=scope), answer.tag, answer.modified)


def _close(body: bytes | Body | Stream) -> None:
    """Close the file of a body in a thread, because a cancelled request cannot wait for it."""
    if isinstance(body, Body) and body.file is not None and body.threads is not None:
        body.threads.begin(body.file.close)


def _encoded(header_fields: Iterable[tuple[str, str]]) -> Fields:
    return tuple((name.encode("ascii"), value.encode("latin-1")) for name, value in header_fields)


def _server_timing(stages: Stages) -> str:
    """`Server-Timing`: the engine, and the duration of each stage in milliseconds (W3C)."""
    times = [f"{stage};dur={seconds * 1000:.1f}" for stage, seconds in stages.seconds.items()]
    return ", ".join([f'engine;desc="{stages.engine}"', *times])


_ENTRY_BYTES = 2000
"""Estimated memory of a cached response besides body, fields, key and name, in bytes."""
_FIELD_BYTES = 150
"""Estimated memory of the objects of a header field, in bytes."""
_NAME_FACTOR = 8
"""Bytes for each character of a name, which is both in the identifier and in the file path."""


def _memory_of(key: ResponseKey, response: Complete) -> int:
    """Estimated memory of a cached response with its key, in bytes; an upper limit."""
    body = len(response.body) if isinstance(response.body, bytes) else 0
    fields = 2 * len(response.head) + _FIELD_BYTES * len(response.fields)
    keys = len(key.path) + len(key.base) + len(key.media_type)
    image = response.image
    name = 0 if image is None else _NAME_FACTOR * len(image.original.identifier.name)
    return body + fields + keys + name + _ENTRY_BYTES
