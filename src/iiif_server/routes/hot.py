"""In front of everything else: answers that are in memory, and tiles that lie ready.

Most of what an image server is asked for it has answered before, and most of the rest are tiles of
pyramids that are open. Neither needs routing, validation, a thread or a disk.
"""

import time
from collections.abc import Iterable
from dataclasses import dataclass
from http import HTTPStatus
from urllib.parse import quote

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from iiif_server.cache.memory import MemoryTier
from iiif_server.errors import IiifServerError
from iiif_server.image_api.request import canonical_parameters, parse_image_request
from iiif_server.image_api.versions import V2, V3, ImageApiVersion
from iiif_server.imaging.plan import Engine, Identity
from iiif_server.pipeline.derivatives import Resolved
from iiif_server.pipeline.known import SECONDS_KNOWN, is_unchanged
from iiif_server.routes.conditional import is_not_modified, validators
from iiif_server.routes.delivery import ACCEL
from iiif_server.routes.headers import SAFE_IN_URIS, answer_headers, image_link
from iiif_server.routes.journal import IMAGE, Journal, Kind, kind_of
from iiif_server.routes.services import Services

Fields = list[tuple[bytes, bytes]]
Target = tuple[object, ...]
"""All of a request that its answer depends on."""

_KEEPER = "iiif_server.keeper"
_ANSWERED = frozenset({"GET", "HEAD"})
_DECIDING = frozenset(
    {
        b"accept",
        b"host",
        b"x-accel",
        b"x-forwarded-host",
        b"x-forwarded-prefix",
        b"x-forwarded-proto",
    }
)
"""The header fields that an answer depends on."""
_LARGEST = 1 << 20
"""Bytes of a body above which an answer is not kept in memory."""
_JPEG = "image/jpeg"
_SEGMENTS = 4
_CONDITIONS = frozenset({b"if-none-match", b"if-modified-since"})
_ONLY_WITH_CONTENT = frozenset(
    {b"content-length", b"content-type", b"server-timing", b"content-security-policy"}
)
"""What a 304 does not repeat, lest it take the place of what the client has (RFC 9110, 15.4.5)."""


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer that is complete, and what it was made of."""

    fields: Fields
    body: bytes
    tag: str
    modified: float
    original: Identity
    kind: Kind
    until: float = 0.0
    """On the monotonic clock: from then on it is asked anew, as a name may lead to another file."""

    @property
    def size(self) -> int:
        """About how many bytes it takes."""
        return len(self.body) + sum(len(name) + len(value) for name, value in self.fields) + 500


Answers = MemoryTier[Target, Answer]


class Hot:
    """Answers without asking anyone where that is possible, and remembers what others answered."""

    def __init__(self, app: ASGIApp, root_path: str = "") -> None:
        self._app = app
        self._root_path = root_path
        """What stands in front of all paths, and is no part of them."""
        self._purged = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or pass it on."""
        if self._root_path:
            scope = {**scope, "root_path": self._root_path}
        if (
            scope["type"] != "http"
            or scope["method"] not in _ANSWERED
            or scope["query_string"]
            or not scope.get("raw_path")
        ):
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()
        provided: Services = scope["app"].state.services
        self._forget_what_was_purged(provided)
        target = _target(scope)
        answer = _from_memory(provided.answers, target) or await _tile(provided, scope)
        if answer is not None:
            await _send(scope, send, answer, provided.journal, began)
            return
        keeper = _Keeper(send, provided.answers, target)
        await self._app({**scope, _KEEPER: keeper}, receive, keeper.send)

    def _forget_what_was_purged(self, provided: Services) -> None:
        purged = provided.store.purged_at()  # by whichever process
        if purged != self._purged:
            provided.answers.clear()
            self._purged = purged


def offer(request: Request, original: Identity, tag: str, modified: float) -> None:
    """Let the answer to a request be kept in memory, as long as its original stays as it is.

    It has to be one that everybody may see.
    """
    keeper: _Keeper | None = request.scope.get(_KEEPER)
    if keeper is not None:
        keeper.accept(original, tag, modified, kind_of(request.scope))


def introduce(request: Request, provided: Services, resolved: Resolved) -> None:
    """Make an image known, which everybody may see, so that its tiles are found without routing."""
    parts = _parts(request.scope)
    if resolved.pyramid is not None and parts is not None:
        provided.known.remember((parts.version, parts.image), resolved.pyramid, resolved.facts)


class _Keeper:
    """The way out of an answer that may be kept."""

    def __init__(self, send: Send, answers: Answers, target: Target) -> None:
        self._send = send
        self._answers = answers
        self._target = target
        self._offered: tuple[Identity, str, float, Kind] | None = None
        self._fields: Fields | None = None
        self._empty = False
        """Whether the answer has no body of its own."""
        self._body: list[bytes] = []

    def accept(self, original: Identity, tag: str, modified: float, kind: Kind) -> None:
        self._offered = original, tag, modified, kind

    async def send(self, message: Message) -> None:
        if self._offered is not None:
            self._note(message, *self._offered)
        await self._send(message)

    def _note(
        self, message: Message, original: Identity, tag: str, modified: float, kind: Kind
    ) -> None:
        if message["type"] == "http.response.start":
            fields = list(message["headers"])
            named = dict(fields)
            length = int(named.get(b"content-length", b"0"))
            self._empty = ACCEL.encode() in named
            whole = self._empty or 0 < length <= _LARGEST
            if message["status"] == HTTPStatus.OK and whole:
                self._fields = fields
        elif self._fields is not None:
            self._body.append(message.get("body", b""))
            body = b"".join(self._body)
            complete = not message.get("more_body", False)
            if complete and (body or self._empty):  # the answer to a HEAD has none
                until = time.monotonic() + SECONDS_KNOWN
                answer = Answer(_again(self._fields), body, tag, modified, original, kind, until)
                self._answers.put(self._target, answer, answer.size)


def _again(fields: Iterable[tuple[bytes, bytes]]) -> Fields:
    """The header fields of an answer when it is given once more."""
    return [
        (name, b'engine;desc="memory"' if name == b"server-timing" else value)
        for name, value in fields
        if name != b"x-request-id"
    ]


def _target(scope: Scope) -> Target:
    deciding = tuple(field for field in scope["headers"] if field[0] in _DECIDING)
    forwarded = any(name.startswith(b"x-") for name, _ in deciding)
    peer = scope["client"][0] if forwarded and scope.get("client") else None
    return scope["raw_path"], scope["scheme"], deciding, peer


def _from_memory(answers: Answers, target: Target) -> Answer | None:
    answer = answers.get(target)
    if answer is None:
        return None
    if time.monotonic() > answer.until or not is_unchanged(answer.original):
        answers.drop(target)
        return None
    return answer


@dataclass(frozen=True, slots=True)
class _Parts:
    """The path of an image request."""

    version: ImageApiVersion
    image: str
    """All before the parameters, as it is written."""
    parameters: str


def _parts(scope: Scope) -> _Parts | None:
    path = scope["raw_path"].decode("ascii", "replace").removeprefix(scope.get("root_path", ""))
    image, *parameters = path.rsplit("/", _SEGMENTS)
    if len(parameters) != _SEGMENTS or not image:
        return None
    version = V2 if image.startswith(f"{V2.path}/") else V3
    return _Parts(version, image, "/".join(parameters))


async def _tile(provided: Services, scope: Scope) -> Answer | None:
    """The answer to a request for a tile that is ready; None where the routes are to find out."""
    parts = _parts(scope)
    if parts is None or not provided.known.has((parts.version, parts.image)):
        return None
    try:
        request = parse_image_request(parts.parameters, parts.version)
        known = provided.known.tile((parts.version, parts.image), request) if request else None
        base = provided.addressing.base(Request(scope))
    except IiifServerError:
        return None  # whoever says why says it in full
    if known is None:
        return None
    canonical = canonical_parameters(known.rendition, known.facts, provided.limits, parts.version)
    if provided.canonical_redirect and canonical != parts.parameters:
        return None
    data = provided.pyramids.at_hand(known.pyramid, known.tile)
    if data is None:
        data = await provided.pyramids.ready_tile(known.pyramid, known.tile)
    if data is None:
        return None
    provided.derivatives.count(Engine.TILE)
    original = known.original
    tag = provided.derivatives.key(original, known.rendition, Engine.TILE).digest
    base_uri = f"{base}{quote(parts.image, safe=SAFE_IN_URIS)}"
    headers = {
        "content-length": str(len(data)),
        "content-type": _JPEG,
        "cache-control": provided.public_caching(original.identifier.type),
        "link": image_link(base_uri, canonical, parts.version),
        **validators(tag, original.modified),
        "server-timing": f'engine;desc="{Engine.TILE}"',
    }
    fields = [(name.lower().encode(), value.encode("latin-1")) for name, value in headers.items()]
    fields += answer_headers(_JPEG, administrative=False)
    kind = Kind(IMAGE, parts.version.number)
    return Answer(fields, data, tag, original.modified, original.file, kind)


async def _send(scope: Scope, send: Send, answer: Answer, journal: Journal, began: float) -> None:
    status, fields, body = HTTPStatus.OK, answer.fields, answer.body
    conditional = any(name in _CONDITIONS for name, _ in scope["headers"])
    if conditional and is_not_modified(Headers(scope=scope), answer.tag, answer.modified):
        status, body = HTTPStatus.NOT_MODIFIED, b""
        fields = [field for field in fields if field[0] not in _ONLY_WITH_CONTENT]
    elif scope["method"] == "HEAD":
        body = b""
    request = journal.identify(scope)
    fields = [*fields, (b"x-request-id", request.encode("ascii"))]
    await send({"type": "http.response.start", "status": int(status), "headers": fields})
    await send({"type": "http.response.body", "body": body})
    journal.enter(
        scope,
        request,
        kind=answer.kind,
        began=began,
        status=int(status),
        size=len(body),
        engine="memory" if answer.until else Engine.TILE,
    )
