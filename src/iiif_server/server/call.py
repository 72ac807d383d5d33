"""ImageCall: what a URL of the Image API asks for, parsed and permitted once, at the edge."""

from dataclasses import dataclass
from urllib.parse import quote

from starlette.convertors import PathConvertor, register_url_convertor
from starlette.routing import compile_path
from starlette.types import Scope

from iiif_server.iiif.formats import unsupported_format
from iiif_server.iiif.identifier import Identifier
from iiif_server.iiif.request import ImageRequest, parse_image_request
from iiif_server.iiif.versions import V2, V3, ImageApiVersion
from iiif_server.server.addresses import IMAGE_SEGMENTS, identifier_in, route_path
from iiif_server.server.file_names import wants_attachment
from iiif_server.server.headers import SAFE_IN_URIS
from iiif_server.server.negotiation import (
    NEGOTIABLE,
    Representation,
    accept_of,
    negotiate,
)
from iiif_server.server.services import Permission, Services
from iiif_server.server.signing import BASE_URI, ExactRequest


class _Identifiers(PathConvertor):
    """Identifiers in front of image parameters.

    A signature and the slashes of a name are not taken for parameters: they are a base URI.
    """

    regex = rf"(?!{BASE_URI}$).*"


class _Qualities(PathConvertor):
    """Qualities, which stand in the last segment of a path.

    Whether it is the last one is decided before any dot is tried: otherwise a segment of dots
    takes time in proportion to the square of its length.
    """

    regex = "(?=[^/]+$)[^/]+"


register_url_convertor("identifier", _Identifiers())
register_url_convertor("quality", _Qualities())

IMAGE_PATH = "/{identifier:identifier}/{region}/{size}/{rotation}/{quality:quality}.{format}"
"""The path of an image below the prefix of its version, as FastAPI's router takes it."""
INFORMATION = "/info.json"
INFORMATION_PATH = "/{identifier:path}/info.json"
_IMAGE = compile_path(IMAGE_PATH)[0]
_VERSIONS = ((V3.path, V3), (V2.path, V2))
_DOCUMENTS = ("/manifest.json", "/collection.json", "/metadata.json")
"""The ends of paths that are routed to other documents, though an image could have such a name."""


@dataclass(frozen=True, slots=True)
class ImageCall:
    """One request for an image or for its information, in one version of the Image API."""

    version: ImageApiVersion
    prefix: str
    """The path of the version in the URL; empty: the URL has none."""
    written: str
    """The identifier with its signature, letter by letter as in the URL."""
    permission: Permission
    base: str
    """The public URL of the server with `prefix`."""
    parameters: str = ""
    """`region/size/rotation/quality.format`, decoded; empty for image information."""
    request: ImageRequest | None = None
    """None: image information is requested."""
    representation: Representation | None = None
    """The negotiated form of the image information."""
    attachment: bool = False
    """Whether browsers are to save the image instead of showing it."""

    @property
    def identifier(self) -> Identifier:
        """The identifier, decoded and without a signature."""
        return self.permission.identifier

    @property
    def base_uri(self) -> str:
        """The URI of the image as the client wrote it, safe in a header field (RFC 9110, 5.5)."""
        return base_uri(self.base, self.written)


def base_uri(base: str, written: str) -> str:
    """The URI of an image: the public URL of the server, and the identifier as it was written."""
    return f"{base}/{quote(written, safe=SAFE_IN_URIS)}"


def parse_call(scope: Scope, services: Services) -> ImageCall | None:
    """The call that a GET request makes; None if its path is no URL of the Image API.

    Raises RequestRefusedError and its kin for malformed parameters, UnknownTypeError,
    SignatureRefusedError or NotAcceptableError: in this order, before anything is looked up.
    """
    path = route_path(scope)
    prefix, version = next(
        ((prefix, version) for prefix, version in _VERSIONS if path.startswith(f"{prefix}/")),
        ("", V3),
    )
    if path.endswith(_DOCUMENTS):
        return None
    below = path.removeprefix(prefix)
    if below.endswith(INFORMATION):
        routed = below[1 : -len(INFORMATION)]
        return _information_call(scope, services, prefix, routed) if below != INFORMATION else None
    match = _IMAGE.match(below)
    return None if match is None else _image_call(scope, services, prefix, version, match[1])


def _image_call(
    scope: Scope, services: Services, prefix: str, version: ImageApiVersion, routed: str
) -> ImageCall | None:
    parameters = "/".join(route_path(scope).rsplit("/", IMAGE_SEGMENTS)[1:])
    request = parse_image_request(parameters, version)
    if request is None:  # pragma: no cover - the pattern of the path has all of them
        return None
    if request.format not in services.formats:
        raise unsupported_format(request.format, services.formats)
    written = identifier_in(scope, prefix, IMAGE_SEGMENTS, routed)
    permission = services.permit(written, ExactRequest(version.number, parameters))
    base = services.addressing.base_of(scope, prefix)
    attachment = wants_attachment(scope["query_string"])
    return ImageCall(
        version, prefix, written, permission, base, parameters, request, attachment=attachment
    )


def _information_call(scope: Scope, services: Services, prefix: str, routed: str) -> ImageCall:
    written = identifier_in(scope, prefix, 1, routed)
    chosen = negotiate(accept_of(scope["headers"]), NEGOTIABLE[prefix])
    # The URI of the image in the version that was negotiated: its sizes have another grammar.
    version = chosen.version
    prefix = prefix if version is NEGOTIABLE[prefix][0] else version.path
    permission = services.permit(written)
    base = services.addressing.base_of(scope, prefix)
    return ImageCall(version, prefix, written, permission, base, representation=chosen)
