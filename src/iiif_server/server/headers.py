"""Header fields of responses: security, CORS, and links. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache

from iiif_server.iiif.versions import ImageApiVersion

_EXPOSED = (
    "Link, ETag, Last-Modified, Retry-After, Content-Length, Content-Disposition, Accept-Ranges, "
    "Content-Range, Server-Timing, X-Request-Id"
)

_EVERYWHERE = {
    "X-Content-Type-Options": "nosniff",
    # A URL may contain a signature.
    "Referrer-Policy": "no-referrer",
}
_FOR_ALL_ORIGINS = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Expose-Headers": _EXPOSED,
    "Timing-Allow-Origin": "*",
    # Viewers on other sites embed images, also in pages with cross-origin isolation.
    "Cross-Origin-Resource-Policy": "cross-origin",
}
_FOR_THIS_ORIGIN = {"Cross-Origin-Resource-Policy": "same-origin"}
_NO_FRAMES = {"X-Frame-Options": "DENY"}
_NO_STORE = {"Cache-Control": "no-store"}

DATA = "default-src 'none'"
"""Content-Security-Policy of JSON and other data, which loads and runs nothing."""
PICTURE = "default-src 'none'; style-src 'unsafe-inline'; sandbox"
"""Content-Security-Policy of images; browsers show an image in a document with inline styles."""
PAGE = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
"""Content-Security-Policy of HTML, unless its route sets another."""

SAFE_IN_URIS = "%/:@!$&'()*+,;=~"
"""Characters that are not percent-encoded when the URI of an image is put into a header."""


def interactive_page(
    frame_ancestors: Sequence[str] = (), *, shows_answers: bool = False
) -> dict[str, str]:
    """Header fields of HTML whose scripts come from files of this server, and call only it.

    With `shows_answers`, scripts may also show images from responses (`blob:`). `frame_ancestors`
    are the sites that may show the page in a frame, in the syntax of Content-Security-Policy.
    Browsers with `frame-ancestors` ignore `X-Frame-Options`, which cannot name other sites.
    """
    pictures = "'self' data: blob:" if shows_answers else "'self' data:"
    policy = (
        f"default-src 'none'; script-src 'self'; style-src 'self'; img-src {pictures}; "
        "connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors "
    )
    if frame_ancestors:
        return {"Content-Security-Policy": policy + " ".join(frame_ancestors)}
    return {"Content-Security-Policy": f"{policy}'none'"} | _NO_FRAMES


def image_link(base_uri: str, canonical: str, version: ImageApiVersion) -> str:
    """Link header of an image: its canonical URI and the compliance level (3.0, 4.7 and 6)."""
    return f'<{base_uri}/{canonical}>;rel="canonical", {profile_link(version)}'


def profile_link(version: ImageApiVersion) -> str:
    """Link to the compliance level (Image API 3.0, 6)."""
    return f'<{version.compliance}>;rel="profile"'


Fields = tuple[tuple[bytes, bytes], ...]


@cache
def common_fields(media_type: str, *, administrative: bool) -> Fields:
    """Default header fields of all responses of this Content-Type, with names in lower case.

    `administrative` responses are for this origin only, and must not be stored.
    """
    page = media_type.startswith("text/html")
    headers = _EVERYWHERE | _policy(media_type)
    if administrative:
        headers |= _FOR_THIS_ORIGIN | _NO_FRAMES | _NO_STORE
    else:
        headers |= _FOR_THIS_ORIGIN | _NO_FRAMES if page else _FOR_ALL_ORIGINS
    return tuple((name.lower().encode(), value.encode()) for name, value in headers.items())


def _policy(media_type: str) -> dict[str, str]:
    if not media_type:
        return {}  # no content; and a 304 must not replace the policy of the client's copy
    if media_type.startswith("text/html"):
        return {"Content-Security-Policy": PAGE}
    picture = media_type.startswith(("image/", "application/pdf"))
    return {"Content-Security-Policy": PICTURE if picture else DATA}


@dataclass(frozen=True, slots=True)
class Caching:
    """`Cache-Control` of a response (RFC 9111, 5.2.2); `str` gives the header value."""

    seconds: int
    private: bool = False
    """Whether only clients may cache the response, and no proxy."""
    immutable: bool = False
    """Whether clients need not revalidate in that time, even on reload (RFC 8246)."""

    def __str__(self) -> str:
        private = "private, " if self.private else ""
        return f"{private}max-age={self.seconds}{', immutable' if self.immutable else ''}"


def strictest(parts: Iterable[Caching]) -> Caching:
    """Caching of a response made of one or more parts: the strictest value of each."""
    given = tuple(parts)
    return Caching(
        min(part.seconds for part in given),
        private=any(part.private for part in given),
        immutable=all(part.immutable for part in given),
    )
