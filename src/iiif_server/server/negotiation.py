"""Content negotiation of image information (Image API 3.0, 5.1). Pure.

Parsing takes linear time and reads at most `MAX_ACCEPT` characters, because any client may send
any Accept header.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from iiif_server.errors import NotAcceptableError
from iiif_server.iiif.versions import V2, V3, ImageApiVersion
from iiif_server.server.header_fields import split_outside_quotes, unquoted

JSON = "application/json"
LD_JSON = "application/ld+json"

NEGOTIABLE = {"": (V3, V2), V3.path: (V3,), V2.path: (V2,)}
"""Available versions of image information by path prefix, the default first."""
MAX_ACCEPT = 4096
"""Maximum characters of an Accept header that are read; media ranges after them are ignored."""

_ANYTHING = {"*/*", "application/*"}
_PAGES = {"text/html", "application/xhtml+xml"}
_DATA = {JSON, LD_JSON, "application/*", "*/*"}


@dataclass(frozen=True, slots=True)
class Representation:
    """Version and media type of image information."""

    version: ImageApiVersion
    linked_data: bool

    @property
    def media_type(self) -> str:
        """Content-Type: JSON-LD with the profile of the version, or plain JSON."""
        return f'{LD_JSON};profile="{self.version.context}"' if self.linked_data else JSON


@dataclass(frozen=True, slots=True)
class _Range:
    """One media range of an Accept header."""

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
        requested = self.profiles & known
        return not requested or offer.version.context in requested


def accept_of(headers: Iterable[tuple[bytes, bytes]]) -> str | None:
    """Accept header of a request, with its lines joined (RFC 9110, 5.3); None if missing."""
    lines = [value.decode("latin-1") for name, value in headers if name == b"accept"]
    return ", ".join(lines) if lines else None


def negotiate(accept: str | None, versions: tuple[ImageApiVersion, ...]) -> Representation:
    """Representation that an Accept header prefers.

    The first version is the default if the header names none. Raises NotAcceptableError if the
    header accepts neither JSON nor JSON-LD.
    """
    default = versions[0]
    offers = [
        Representation(default, linked_data=True),
        Representation(default, linked_data=False),
        *(Representation(version, linked_data=True) for version in versions[1:]),
    ]
    if accept is None or not accept.strip(", \t"):  # empty list items are ignored (RFC 9110, 5.6.1)
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
    """Whether an Accept header prefers HTML to JSON, as that of browsers does."""
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
    """Quality value of an offer: that of the most specific range that matches it."""
    matching = [item for item in ranges if item.matches(offer, known)]
    if offer.version is not default:
        # A client gets another version than the default only if its Accept header names it.
        matching = [item for item in matching if offer.version.context in item.profiles]
    if not matching:
        return 0.0
    return max(
        matching, key=lambda item: (item.media_type not in _ANYTHING, len(item.profiles))
    ).quality


def _ranges(accept: str) -> Iterator[_Range]:
    """Media ranges of an Accept header, without malformed ones."""
    items = split_outside_quotes(accept[:MAX_ACCEPT], ",")
    if len(accept) > MAX_ACCEPT:
        items.pop()  # the last item may be incomplete
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
