"""Content negotiation of image information (Image API 3.0, 5.1). Pure.

Parsing takes time in proportion to the length of the header, and of that no more than
`MAX_ACCEPT` characters are read: any client may send it with any request.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from iiif_server.errors import NotAcceptableError
from iiif_server.iiif.versions import V2, V3, ImageApiVersion
from iiif_server.server.header_fields import split_outside_quotes, unquoted

JSON = "application/json"
LD_JSON = "application/ld+json"

NEGOTIABLE = {"": (V3, V2), V3.path: (V3,), V2.path: (V2,)}
"""The versions in which image information may be requested, the default first, by path prefix."""
MAX_ACCEPT = 4096
"""Characters of an Accept header that are read; the media ranges after them are ignored."""

_ANYTHING = {"*/*", "application/*"}
_PAGES = {"text/html", "application/xhtml+xml"}
_DATA = {JSON, LD_JSON, "application/*", "*/*"}


@dataclass(frozen=True, slots=True)
class Representation:
    """One way to write image information."""

    version: ImageApiVersion
    linked_data: bool

    @property
    def media_type(self) -> str:
        """Its Content-Type."""
        return f'{LD_JSON};profile="{self.version.context}"' if self.linked_data else JSON


@dataclass(frozen=True, slots=True)
class _Range:
    """One item of an Accept header."""

    media_type: str
    profiles: frozenset[str]
    quality: float

    def matches(self, offer: Representation, known: frozenset[str]) -> bool:
        if not offer.linked_data:
            return self.media_type == JSON or self.media_type in _ANYTHING
        # "If the client explicitly wants the JSON-LD media type, then it must specify this in an
        #  Accept header, otherwise the server must return the regular JSON media type" (3.0, 5.1)
        if self.media_type != LD_JSON:
            return False
        wanted = self.profiles & known
        return not wanted or offer.version.context in wanted


def accept_of(headers: Iterable[tuple[bytes, bytes]]) -> str | None:
    """The Accept header of a request, its lines joined (RFC 9110, 5.3); None if there is none."""
    lines = [value.decode("latin-1") for name, value in headers if name == b"accept"]
    return ", ".join(lines) if lines else None


def negotiate(accept: str | None, versions: tuple[ImageApiVersion, ...]) -> Representation:
    """The representation that an Accept header prefers.

    The first version is the one meant where none is named. Raises NotAcceptableError if the header
    rules out JSON altogether.
    """
    default = versions[0]
    offers = [
        Representation(default, linked_data=True),
        Representation(default, linked_data=False),
        *(Representation(version, linked_data=True) for version in versions[1:]),
    ]
    if accept is None or not accept.strip(
        ", \t"
    ):  # empty items count for nothing (RFC 9110, 5.6.1)
        return offers[1]
    ranges = list(_ranges(accept))
    known = frozenset(version.context for version in versions)
    best = max(offers, key=lambda offer: _quality(offer, default, ranges, known))
    if _quality(best, default, ranges, known) <= 0:
        raise NotAcceptableError(
            f"Image information is {JSON} or {LD_JSON}, and the Accept header takes neither."
        )
    return best


def prefers_page(accept: str | None) -> bool:
    """Whether a client would rather have a page for people than data: browsers do, and say so."""
    if accept is None:
        return False
    ranges = list(_ranges(accept))
    page = max((item.quality for item in ranges if item.media_type in _PAGES), default=0.0)
    data = max((item.quality for item in ranges if item.media_type in _DATA), default=0.0)
    return page > data


def _quality(
    offer: Representation,
    default: ImageApiVersion,
    ranges: list[_Range],
    known: frozenset[str],
) -> float:
    """How much an offer is wanted: by the most specific range that matches it."""
    matching = [item for item in ranges if item.matches(offer, known)]
    if offer.version is not default:
        # Another version than the default is only ever given to those who name it.
        matching = [item for item in matching if offer.version.context in item.profiles]
    if not matching:
        return 0.0
    return max(
        matching, key=lambda item: (item.media_type not in _ANYTHING, len(item.profiles))
    ).quality


def _ranges(accept: str) -> Iterator[_Range]:
    """The media ranges of an Accept header; malformed ones are left out."""
    items = split_outside_quotes(accept[:MAX_ACCEPT], ",")
    if len(accept) > MAX_ACCEPT:
        items.pop()  # it may have been cut in two
    for item in items:
        media_type, *parameters = split_outside_quotes(item, ";")
        found: dict[str, str] = {}
        for parameter in parameters:
            name, _, value = parameter.partition("=")
            found.setdefault(name.strip().lower(), unquoted(value.strip()))
        try:
            quality = float(found.get("q", "1"))
        except ValueError:
            continue
        if 0 <= quality <= 1:
            profiles = frozenset(found.get("profile", "").split())
            yield _Range(media_type.strip().lower(), profiles, quality)
