"""In front of everything else: answers for which nothing has to be waited.

Most of what an image server is asked for it has answered before, and most of the rest are tiles of
pyramids that are open. Neither needs routing, validation, a thread or a disk.
"""

import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from http import HTTPStatus

from fastapi import FastAPI
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from iiif_server.cache.lru import Lru
from iiif_server.errors import IiifServerError, StorageTimedOutError
from iiif_server.iiif.formats import FACTS, Format
from iiif_server.images.originals import Original
from iiif_server.plan.render_plan import Engine
from iiif_server.server.access_log import Journal, Kind, kind_of
from iiif_server.server.addresses import mounted
from iiif_server.server.asked import Asked, ask_again, asked_in, outdated_in
from iiif_server.server.conditions import is_not_modified, validators
from iiif_server.server.delivery import ACCEL, by_proxy
from iiif_server.server.edge import FAILED
from iiif_server.server.headers import answer_headers, image_link
from iiif_server.server.negotiation import NEGOTIABLE, accept_of, negotiate
from iiif_server.server.request_limits import objection
from iiif_server.server.services import Services

Fields = list[tuple[bytes, bytes]]
Target = tuple[bytes, str, str, bool]
"""All of a request that its answer depends on: the path as it is written, the public URL of the
server, the media type that was negotiated, and whether the proxy sends files itself."""

_KEEPER = "iiif_server.keeper"
_MISSED = "iiif_server.missed"
_OUTDATED = "iiif_server.outdated"
"""In the scope of a request for which nothing was at hand."""
_ANSWERED = frozenset({"GET", "HEAD"})
_INFORMATION = "/info.json"
_LARGEST = 1 << 20
"""Bytes of a body above which an answer is not kept in memory."""
_OVERHEAD = 2000
"""Bytes that an answer takes besides its body, its header fields and its key."""
_FIELD_OVERHEAD = 150
_NAME_OVERHEAD = 8
_LARGEST_SHARE = 16
"""One answer takes at most this part of the response cache: 1/16."""
_SECONDS = 60.0
"""How long an answer stays in memory; whether its original is as it was is looked at besides."""
_CONDITIONS = frozenset({b"if-none-match", b"if-modified-since"})
_ONLY_WITH_CONTENT = frozenset(
    {
        b"content-disposition",
        b"content-length",
        b"content-security-policy",
        b"content-type",
        b"server-timing",
    }
)
"""What a 304 does not repeat, lest it take the place of what the client has (RFC 9110, 15.4.5)."""


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer that is complete, and what it was made of."""

    fields: Fields
    body: bytes
    tag: str
    modified: float
    original: Original
    kind: Kind
    engine: str
    """What has made it, or `memory`."""

    head: bytes = field(init=False)
    """The fields as they stand in the answer."""

    def __post_init__(self) -> None:
        lines = b"".join(b"%b: %b\r\n" % pair for pair in self.fields)
        object.__setattr__(self, "head", lines)

    def size(self, target: Target) -> int:
        """Bytes that it takes in memory under its key, at most."""
        fields = 2 * len(self.head) + _FIELD_OVERHEAD * len(self.fields)
        path, base, media_type, _ = target
        key = len(path) + len(base) + len(media_type)
        name = _NAME_OVERHEAD * len(self.original.identifier.name)  # and the path of its file
        return len(self.body) + fields + key + name + _OVERHEAD


Answers = Lru[Target, Answer]


def open_answers(max_bytes: int) -> Answers:
    """The response cache."""
    return Lru(max_bytes, largest=max_bytes // _LARGEST_SHARE, seconds=_SECONDS)


class AtHand:
    """Answers that can be given here and now, without waiting for anything."""

    def __init__(self, root_path: str = "") -> None:
        self.root_path = root_path
        """What stands in front of all paths, and is no part of them."""
        self._purged = 0

    def __repr__(self) -> str:
        return f"<AtHand below {self.root_path or '/'}>"

    def mounted(self, scope: Scope) -> Scope:
        """A scope with what stands in front of all paths."""
        return mounted(scope, self.root_path) if self.root_path else scope

    def find(self, provided: Services, scope: Scope, target: Target) -> Answer | None:
        """The answer to a request, if it or what it is made of is in memory; None for all else."""
        self._forget_what_was_purged(provided)
        answer: Answer | None = provided.answers.get(target)
        if answer is not None:
            if provided.originals.is_fresh(answer.original):
                return answer
            scope[_OUTDATED] = answer.original
            return None
        asked = asked_in(provided, scope)
        if asked is None:
            scope[_OUTDATED] = outdated_in(provided, scope)
            return None
        return _remembered(provided, target, _open_tile(asked))

    async def look_for(self, provided: Services, scope: Scope, target: Target) -> Answer | None:
        """The answer that `find` did not give, if it takes no more than looking at files.

        Its original is looked at if nobody has done so for a second; then in the store.
        """
        outdated: Original | None = scope.pop(_OUTDATED, None)
        if outdated is not None:
            if not await provided.originals.is_current(outdated):
                provided.answers.remove(target)
                return None
            ask_again(scope)
            answer = self.find(provided, scope, target)
            if answer is not None:
                return answer
        asked = asked_in(provided, scope)
        if asked is None:
            return None
        with suppress(StorageTimedOutError):  # whoever makes the answer says so
            return _remembered(provided, target, await _stored(asked))
        return None

    def direct(self, app: FastAPI, scope: Scope) -> Sequence[bytes] | None:
        """The same as all of an answer but its status line and its date, in HTTP/1.1.

        None also where a client asks for less than the answer: that takes a look at its conditions.
        """
        try:
            return self._direct(app, scope) if _is_plain(scope) else None
        except Exception as error:  # noqa: BLE001 - the application answers, and logs it
            scope[FAILED] = error
            return None

    def _direct(self, app: FastAPI, scope: Scope) -> Sequence[bytes] | None:
        began = time.perf_counter()
        provided: Services = app.state.services
        if self.root_path:
            scope.update(mounted(scope, self.root_path))
        target = _target(provided, scope)
        answer = None if target is None else self.find(provided, scope, target)
        if answer is None:
            scope[_MISSED] = True
            return None
        journal = provided.journal
        request = journal.identify(scope)
        journal.enter(
            scope,
            request,
            kind=answer.kind,
            began=began,
            status=200,
            size=len(answer.body),
            engine=answer.engine,
        )
        return answer.head, b"x-request-id: %b\r\n\r\n" % request.encode("ascii"), answer.body

    def _forget_what_was_purged(self, provided: Services) -> None:
        purged = provided.store.purged_at  # by whichever process
        if purged != self._purged:
            provided.answers.clear()
            provided.pyramids.close_files()
            self._purged = purged


class Hot:
    """Answers without asking anyone where that is possible, and remembers what others answered."""

    def __init__(self, app: ASGIApp, at_hand: AtHand) -> None:
        self._app = app
        self._at_hand = at_hand

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or pass it on."""
        scope = self._at_hand.mounted(scope)
        if scope["type"] != "http" or FAILED in scope or not _may_be_answered(scope):
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()
        provided: Services = scope["app"].state.services
        try:
            target = _target(provided, scope)
            answer = await self._find(provided, scope, target)
        except Exception as error:  # noqa: BLE001 - the layer behind this one answers, and logs it
            await self._app({**scope, FAILED: error}, receive, send)
            return
        if answer is not None:
            await _send(scope, send, answer, provided.journal, began)
        elif target is None:
            await self._app(scope, receive, send)
        else:
            keeper = _Keeper(send, provided.answers, target)
            await self._app({**scope, _KEEPER: keeper}, receive, keeper.send)

    async def _find(self, provided: Services, scope: Scope, target: Target | None) -> Answer | None:
        if target is None:
            return None
        looked_for = scope.get(_MISSED, False)  # before the application was asked at all
        answer = None if looked_for else self._at_hand.find(provided, scope, target)
        return answer or await self._at_hand.look_for(provided, scope, target)


def _may_be_answered(scope: Scope) -> bool:
    """Whether a request is one whose answer can be at hand, and that nobody objects to."""
    path = scope.get("raw_path")
    if scope["method"] not in _ANSWERED or scope["query_string"] or not path:
        return False
    host_required = scope["http_version"] == "1.1"
    return objection(len(path), scope["headers"], host_required=host_required) is None


def _is_plain(scope: Scope) -> bool:
    """Whether a request asks for a whole answer."""
    if scope["method"] != "GET" or not _may_be_answered(scope):
        return False
    return _CONDITIONS.isdisjoint([name for name, _ in scope["headers"]])


def offer(request: Request, original: Original, tag: str, modified: float) -> None:
    """Let the answer to a request be kept in memory, as long as its original stays as it is.

    It has to be one that everybody may see.
    """
    keeper: _Keeper | None = request.scope.get(_KEEPER)
    if keeper is not None:
        keeper.accept(original.without_file(), tag, modified, kind_of(request.scope))


class _Keeper:
    """The way out of an answer that may be kept."""

    def __init__(self, send: Send, answers: Answers, target: Target) -> None:
        self._send = send
        self._answers = answers
        self._target = target
        self._offered: tuple[Original, str, float, Kind] | None = None
        self._fields: Fields | None = None
        self._empty = False
        """Whether the answer has no body of its own."""
        self._body: list[bytes] = []

    def accept(self, original: Original, tag: str, modified: float, kind: Kind) -> None:
        self._offered = original, tag, modified, kind

    async def send(self, message: Message) -> None:
        if self._offered is not None:
            self._note(message, *self._offered)
        await self._send(message)

    def _note(
        self, message: Message, original: Original, tag: str, modified: float, kind: Kind
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
                fields = _again(self._fields)
                answer = Answer(fields, body, tag, modified, original, kind, "memory")
                self._answers.put(self._target, answer, answer.size(self._target))


def _again(fields: Iterable[tuple[bytes, bytes]]) -> Fields:
    """The header fields of an answer when it is given once more."""
    return [
        (name, b'engine;desc="memory"' if name == b"server-timing" else value)
        for name, value in fields
        if name != b"x-request-id"
    ]


def _target(provided: Services, scope: Scope) -> Target | None:
    """The key of a request; None for those that are refused."""
    try:
        base = provided.addressing.base_of(scope)
        return scope["raw_path"], base, _variant(scope), by_proxy(scope, provided)
    except IiifServerError:
        return None  # the routes say why


def _remembered(provided: Services, target: Target, answer: Answer | None) -> Answer | None:
    if answer is not None:
        provided.answers.put(target, answer, answer.size(target))
    return answer


def _variant(scope: Scope) -> str:
    """The media type that is negotiated; empty where the answer does not depend on `Accept`."""
    path: str = scope["path"].removeprefix(scope.get("root_path", ""))
    if not path.endswith(_INFORMATION):
        return ""
    prefixes = [prefix for prefix in NEGOTIABLE if prefix and path.startswith(f"{prefix}/")]
    versions = NEGOTIABLE[prefixes[0] if prefixes else ""]
    return negotiate(accept_of(scope["headers"]), versions).media_type


def _open_tile(asked: Asked) -> Answer | None:
    """The answer, if it is a tile of a pyramid that is open, and in memory; never waits."""
    provided, original, pyramid = asked.provided, asked.image.original, asked.image.pyramid
    if pyramid is None or asked.tile is None:
        return None
    data = provided.pyramids.at_hand(pyramid, asked.tile)
    if data is None:
        return None
    provided.derivatives.count(Engine.TILE)
    tag = provided.derivatives.key(original, asked.rendition, Engine.TILE).digest
    return _answer(asked, data, tag, validators(tag, original.modified), Engine.TILE)


async def _stored(asked: Asked) -> Answer | None:
    """The answer, if it is in the store, and the operating system has it in memory."""
    provided, original = asked.provided, asked.image.original
    if asked.image.pyramid is not None and asked.tile is not None:
        return None
    if asked.rendition.format is Format.PDF or provided.accel_redirect is not None:
        return None  # these have something to say besides
    resolved = asked.resolved
    data = await provided.derivatives.ready(resolved)
    if data is None:
        return None
    tag = resolved.key.digest
    valid = validators(tag, original.modified, weak=not resolved.repeatable)
    return _answer(asked, data, tag, valid, "cache")


def _answer(asked: Asked, data: bytes, tag: str, valid: Mapping[str, str], engine: str) -> Answer:
    original, media_type = asked.image.original, FACTS[asked.rendition.format].media_type
    headers = {
        "content-length": str(len(data)),
        "content-type": media_type,
        "cache-control": str(asked.provided.public_caching(original.identifier.type)),
        "link": image_link(asked.base_uri, asked.canonical, asked.version),
        **valid,
        "server-timing": f'engine;desc="{engine}"',
    }
    fields = [(name.lower().encode(), text.encode("latin-1")) for name, text in headers.items()]
    fields += answer_headers(media_type, administrative=False)
    return Answer(fields, data, tag, original.modified, original, asked.kind, engine)


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
        engine=answer.engine,
    )
