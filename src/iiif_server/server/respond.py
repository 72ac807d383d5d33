"""Answer and `respond`: the one way from what a route answers to an HTTP response.

`respond` decides about conditional requests (RFC 9110, 13), creates all header fields, sends the
body unless the request is a HEAD, and has the response logged and counted.
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
"""Stands for a response that the client did not wait for, in logs and metrics."""
HTML = "text/html; charset=utf-8"
JSON = "application/json"
TEXT = "text/plain; charset=utf-8"

_LARGEST_CACHED = 1 << 20
"""Bytes of a body above which a response is not kept in memory."""
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
"""What a 304 does not repeat, lest it take the place of what the client has (RFC 9110, 15.4.5)."""
_NO_CONTENT = frozenset({204, 304})

Fields = tuple[tuple[bytes, bytes], ...]


@dataclass(frozen=True, slots=True)
class Stream:
    """A body that is made while it is sent, so that nobody knows its length: its begin, the rest.

    Whoever gets it ends the rest with `aclose`.
    """

    begin: bytes
    rest: AsyncGenerator[bytes]


@dataclass(eq=False)
class Answer(Response):
    """What a route answers, before it is HTTP.

    It is a Starlette Response, so that FastAPI's routes can return it; `respond` sends it.
    """

    body: bytes | Body | Stream = b""  # type: ignore[assignment]
    media_type: str = ""
    status_code: int = 200
    cache_control: str = ""
    tag: str = ""
    """The entity tag without its quotes; empty: there is none."""
    weak: bool = False
    """Whether the tag promises the same picture and not the same bytes (RFC 9110, 8.8.1)."""
    modified: float | None = None
    """Seconds since the epoch, for `Last-Modified`."""
    extra: Mapping[str, str] = field(default_factory=dict)
    """Other header fields that only this answer has."""
    stages: Stages | None = None
    """How long everything took, for `Server-Timing`, log and metrics."""
    depends_on: Image | None = None
    """The image with which the response may be cached for everybody; None: it may not be cached."""
    background: BackgroundTask | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        """Send the answer, as routes do."""
        await respond(scope, self, send)


class JsonAnswer(JSONResponse):
    """What FastAPI makes of the models that routes return."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        """Send the answer, as routes do."""
        extra = {
            name: value
            for name, value in self.headers.items()
            if name not in {"content-length", "content-type", "cache-control"}
        }
        answer = Answer(
            bytes(self.body),
            JSON,
            self.status_code,
            cache_control=self.headers.get("cache-control", ""),
            extra=extra,
        )
        await respond(scope, answer, send)


@dataclass(frozen=True, slots=True)
class Complete:
    """A response with all of its header fields but the request id."""

    status: int
    fields: Fields
    body: bytes | Body | Stream
    engine: str = ""
    """What made the image, or `cache`, `memory`; empty: there was none."""
    kind: Kind | None = None
    """What was requested, where it was not routed."""
    tag: str = ""
    modified: float | None = None
    image: Image | None = None
    stages: Stages | None = None
    head: bytes = b""
    """The fields as HTTP/1.1 writes them; empty unless the fast path may send the response."""


def complete(scope: Scope, context: RequestContext, answer: Answer) -> Complete:
    """The response to a request: the one function that creates header fields."""
    stages, body = answer.stages, answer.body
    engine = stages.engine if stages is not None else ""
    named: dict[str, str] = {}
    if answer.cache_control:
        named["cache-control"] = answer.cache_control
    if answer.tag:
        named |= validators(answer.tag, answer.modified, weak=answer.weak)
    named = {name.lower(): value for name, value in [*named.items(), *answer.extra.items()]}
    status = answer.status_code
    if _matches(scope, answer):
        _close(body)
        status, body = 304, b""
        named = {name: value for name, value in named.items() if name not in _ONLY_WITH_CONTENT}
    if status not in _NO_CONTENT:
        if isinstance(body, Body) and body.path is not None:
            named[ACCEL] = location_of(body.path, context.services)
            body = b""
        named |= _length(body)
        if answer.media_type:
            named["content-type"] = answer.media_type
        if engine and stages is not None:
            named["server-timing"] = _server_timing(stages)
    media_type = named.get("content-type", "")
    fields = _encoded(named.items())
    if "content-security-policy" in named:
        named["x-frame-options"] = ""  # a policy of its own says who may frame it
    common = common_fields(media_type, administrative=context.administrative)
    fields += tuple(item for item in common if item[0].decode() not in named)
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
        keep(context, key, response, _kind(scope, context))
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


def keep(context: RequestContext, key: ResponseKey, response: Complete, kind: Kind) -> None:
    """Put a response into the response cache, unless it is too large."""
    if not isinstance(response.body, bytes) or len(response.body) > _LARGEST_CACHED:
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
    """Header fields as HTTP/1.1 writes them."""
    return b"".join([b"%b: %b\r\n" % pair for pair in fields])


def conditional(scope: Scope, response: Complete) -> Complete:
    """A cached response, or the 304 that a client's conditions ask for."""
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
    """Close the file of a body, in a thread: a request that is cancelled cannot wait for it."""
    if isinstance(body, Body) and body.file is not None and body.threads is not None:
        body.threads.begin(body.file.close)


def _encoded(named: Iterable[tuple[str, str]]) -> Fields:
    return tuple((name.encode("ascii"), value.encode("latin-1")) for name, value in named)


def _server_timing(stages: Stages) -> str:
    """The engine, and how long each stage took in milliseconds (W3C Server Timing)."""
    times = [f"{stage};dur={seconds * 1000:.1f}" for stage, seconds in stages.seconds.items()]
    return ", ".join([f'engine;desc="{stages.engine}"', *times])


_ENTRY_BYTES = 2000
"""Memory that a cached response takes besides its body, its fields, its key and its name."""
_FIELD_BYTES = 150
_NAME_FACTOR = 8
"""Bytes for each character of a name: it stands in the identifier, and in the path of its file."""


def _memory_of(key: ResponseKey, response: Complete) -> int:
    """Bytes that a response takes in memory under its key, at most."""
    body = len(response.body) if isinstance(response.body, bytes) else 0
    fields = 2 * len(response.head) + _FIELD_BYTES * len(response.fields)
    keys = len(key.path) + len(key.base) + len(key.media_type)
    image = response.image
    name = 0 if image is None else _NAME_FACTOR * len(image.original.identifier.name)
    return body + fields + keys + name + _ENTRY_BYTES
