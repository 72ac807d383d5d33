"""Which representation of image information a client wants (Image API 3.0, 5.1). Pure."""

from collections.abc import Iterator
from dataclasses import dataclass
from email.message import Message

from iiif_server.errors import NotAcceptableError
from iiif_server.image_api.versions import ImageApiVersion

JSON = "application/json"
LD_JSON = "application/ld+json"

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
    if accept is None or not accept.strip():
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
    """The media ranges of an Accept header; what cannot be read is left out."""
    for text in accept.split(","):
        message = Message()
        message["Content-Type"] = text.strip()
        try:
            quality = float(str(message.get_param("q", "1")))
        except ValueError:
            continue
        profiles = frozenset(str(message.get_param("profile", "")).split())
        yield _Range(text.partition(";")[0].strip().lower(), profiles, quality)
