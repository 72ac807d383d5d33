"""ImageCall: what a URL of the Image API requests, parsed and permitted once per request."""

from dataclasses import dataclass
from urllib.parse import quote

from starlette.convertors import PathConvertor, register_url_convertor
from starlette.routing import compile_path
from starlette.types import Scope

from iiif_server.iiif.formats import unsupported_format_error
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
    """Path converter of identifiers before image parameters.

    Signature and slashes of an identifier are part of a base URI, and not parameters.
    """

    regex = rf"(?!{BASE_URI}$).*"


class _Qualities(PathConvertor):
    """Path converter of qualities, in the last segment of a path.

    The lookahead rejects other segments before the regular expression tries any dot. Otherwise a
    segment of dots would take time proportional to the square of its length.
    """

    regex = "(?=[^/]+$)[^/]+"


register_url_convertor("identifier", _Identifiers())
register_url_convertor("quality", _Qualities())

IMAGE_PATH = "/{identifier:identifier}/{region}/{size}/{rotation}/{quality:quality}.{format}"
"""Path template of images for FastAPI's router, below the path of their version."""
INFORMATION = "/info.json"
INFORMATION_PATH = "/{identifier:path}/info.json"
_IMAGE = compile_path(IMAGE_PATH)[0]
_VERSIONS = ((V3.path, V3), (V2.path, V2))
_DOCUMENTS = ("/manifest.json", "/collection.json", "/metadata.json")
"""Ends of paths that belong to other documents, though they would match an image, too."""


@dataclass(frozen=True, slots=True)
class ImageCall:
    """One request for an image or its information, in one version of the Image API."""

    version: ImageApiVersion
    prefix: str
    """Path of the version in the URL; empty if the URL has none."""
    raw_identifier: str
    """Identifier with its signature, exactly as in the URL."""
    permission: Permission
    base: str
    """Public URL of the server with `prefix`."""
    parameters: str = ""
    """`region/size/rotation/quality.format`, decoded; empty for image information."""
    request: ImageRequest | None = None
    """Parsed parameters of the image; None: image information is requested."""
    representation: Representation | None = None
    """Negotiated representation of the image information; None for images."""
    attachment: bool = False
    """Whether browsers should save the image instead of showing it."""

    @property
    def identifier(self) -> Identifier:
        """Identifier, decoded and without a signature."""
        return self.permission.identifier

    @property
    def base_uri(self) -> str:
        """URI of the image as the client wrote it, safe in a header field (RFC 9110, 5.5)."""
        return base_uri(self.base, self.raw_identifier)


def base_uri(base: str, raw_identifier: str) -> str:
    """URI of an image: the public URL of the server, and the identifier as in the request."""
    return f"{base}/{quote(raw_identifier, safe=SAFE_IN_URIS)}"


def parse_call(scope: Scope, services: Services) -> ImageCall | None:
    """Parse the path of a GET request; None if it is no URL of the Image API.

    Raises RequestRefusedError and its subclasses for malformed parameters, UnknownTypeError,
    SignatureRefusedError or NotAcceptableError: in this order, and without looking up the image.
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
        raise unsupported_format_error(request.format, services.formats)
    raw_identifier = identifier_in(scope, prefix, IMAGE_SEGMENTS, routed)
    permission = services.permit(raw_identifier, ExactRequest(version.number, parameters))
    base = services.addressing.base_of(scope, prefix)
    attachment = wants_attachment(scope["query_string"])
    return ImageCall(
        version,
        prefix,
        raw_identifier,
        permission,
        base,
        parameters,
        request,
        attachment=attachment,
    )


def _information_call(scope: Scope, services: Services, prefix: str, routed: str) -> ImageCall:
    raw_identifier = identifier_in(scope, prefix, 1, routed)
    chosen = negotiate(accept_of(scope["headers"]), NEGOTIABLE[prefix])
    # The id is the URI of the negotiated version: the versions write sizes differently.
    version = chosen.version
    prefix = prefix if version is NEGOTIABLE[prefix][0] else version.path
    permission = services.permit(raw_identifier)
    base = services.addressing.base_of(scope, prefix)
    return ImageCall(version, prefix, raw_identifier, permission, base, representation=chosen)
