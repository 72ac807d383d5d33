"""Headers of answers: what they tell browsers to refuse, and links. Pure."""

from collections.abc import Sequence
from functools import cache

from iiif_server.iiif.versions import ImageApiVersion

_EXPOSED = (
    "Link, ETag, Last-Modified, Retry-After, Content-Length, Content-Disposition, Accept-Ranges, "
    "Content-Range, Server-Timing, X-Request-Id"
)

_EVERYWHERE = {
    "X-Content-Type-Options": "nosniff",
    # An address may have a signature in it.
    "Referrer-Policy": "no-referrer",
}
_FOR_ALL_ORIGINS = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Expose-Headers": _EXPOSED,
    "Timing-Allow-Origin": "*",
    # Viewers on other sites embed images, also from pages that are isolated from other origins.
    "Cross-Origin-Resource-Policy": "cross-origin",
}
_FOR_THIS_ORIGIN = {"Cross-Origin-Resource-Policy": "same-origin"}
_FRAMED_NOWHERE = {"X-Frame-Options": "DENY"}
_KEPT_NOWHERE = {"Cache-Control": "no-store"}

DATA = "default-src 'none'"
"""JSON and the like: nothing in it is ever loaded or run."""
PICTURE = "default-src 'none'; style-src 'unsafe-inline'; sandbox"
"""Images: opened by themselves they are shown in a document of the browser's, which styles them."""
PAGE = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
"""HTML whose route says nothing else."""

SAFE_IN_URIS = "%/:@!$&'()*+,;=~"
"""What stays as it is written in the URI of an image, that it may stand in a header."""


def interactive_page(
    frame_ancestors: Sequence[str] = (), *, shows_answers: bool = False
) -> dict[str, str]:
    """The headers of HTML that runs scripts of this server, from files, which ask nobody else.

    A page that `shows_answers` makes pictures of what its scripts have been answered (`blob:`).
    `frame_ancestors` are the sites that may show it in a frame, as a policy names them. Browsers
    that know `frame-ancestors` ignore `X-Frame-Options`, which cannot name other sites.
    """
    pictures = "'self' data: blob:" if shows_answers else "'self' data:"
    policy = (
        f"default-src 'none'; script-src 'self'; style-src 'self'; img-src {pictures}; "
        "connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors "
    )
    if frame_ancestors:
        return {"Content-Security-Policy": policy + " ".join(frame_ancestors)}
    return {"Content-Security-Policy": f"{policy}'none'"} | _FRAMED_NOWHERE


def image_link(base_uri: str, canonical: str, version: ImageApiVersion) -> str:
    """The Link header of an image: its canonical URI, and what the server complies with."""
    return f'<{base_uri}/{canonical}>;rel="canonical", {profile_link(version)}'


def profile_link(version: ImageApiVersion) -> str:
    """The link to the compliance level (Image API 3.0, 6)."""
    return f'<{version.compliance}>;rel="profile"'


Fields = tuple[tuple[bytes, bytes], ...]


@cache
def common_fields(media_type: str, *, administrative: bool) -> Fields:
    """The header fields of all responses of this Content-Type, unless the answer sets its own.

    `administrative` answers are for one origin and are not kept anywhere. Names are in lower case.
    """
    page = media_type.startswith("text/html")
    headers = _EVERYWHERE | _policy(media_type)
    if administrative:
        headers |= _FOR_THIS_ORIGIN | _FRAMED_NOWHERE | _KEPT_NOWHERE
    else:
        headers |= _FOR_THIS_ORIGIN | _FRAMED_NOWHERE if page else _FOR_ALL_ORIGINS
    return tuple((name.lower().encode(), value.encode()) for name, value in headers.items())


def _policy(media_type: str) -> dict[str, str]:
    if not media_type:
        return {}  # no content; and a 304 must not take the policy away from what the client has
    if media_type.startswith("text/html"):
        return {"Content-Security-Policy": PAGE}
    picture = media_type.startswith(("image/", "application/pdf"))
    return {"Content-Security-Policy": PICTURE if picture else DATA}
