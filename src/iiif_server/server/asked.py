"""What is asked of an image that was asked for just now: its address alone says it."""

from dataclasses import dataclass, replace
from functools import cached_property
from urllib.parse import quote

from starlette.types import Scope

from iiif_server.errors import IiifServerError
from iiif_server.iiif.request import Rendition, canonical_parameters, parse_image_request
from iiif_server.iiif.versions import V2, V3, ImageApiVersion
from iiif_server.images.derivatives import Resolved, image_facts
from iiif_server.images.known import KnownImage
from iiif_server.images.originals import Original
from iiif_server.plan.grid import Tile
from iiif_server.plan.header import ImageHeader
from iiif_server.plan.render_plan import is_plain_jpeg
from iiif_server.server.access_log import IMAGE, Kind
from iiif_server.server.addresses import IMAGE_SEGMENTS
from iiif_server.server.headers import SAFE_IN_URIS
from iiif_server.server.services import Services
from iiif_server.telemetry.stages import Stages

_ASKED = "iiif_server.asked"
_VERSIONS = (V3.path, V2.path)


@dataclass(frozen=True)  # without slots: what is resolved is resolved once
class Asked:
    """One request for pixels of a known image, which everybody may see."""

    provided: Services
    image: KnownImage
    rendition: Rendition
    tile: Tile | None
    """The tile of its pyramid that this is."""
    base_uri: str
    """The image's URI in the form in which the client wrote it, fit to stand in a header."""
    canonical: str
    """The canonical parameters."""
    version: ImageApiVersion

    @property
    def kind(self) -> Kind:
        """What it counts as."""
        return Kind(IMAGE, self.version.number)

    @cached_property
    def resolved(self) -> Resolved:
        """The same for the pipeline, as far as that needs no original."""
        return self.resolved_of(self.image.original)

    def resolved_of(self, original: Original) -> Resolved:
        """The same for the pipeline, with the original held."""
        image, pyramid = self.image, self.image.pyramid
        return self.provided.derivatives.resolved(
            original,
            image.header,
            self.rendition,
            None if pyramid is None else replace(pyramid, original=original),
            Stages(),
        )


def introduce(provided: Services, name: str, original: Original, header: ImageHeader) -> None:
    """Make an image known, which everybody may see, so that it is found without routing.

    `name` is all that its addresses begin with, letter by letter, as the route that found it has
    taken it apart.
    """
    remembered = original.without_file()
    facts, pyramid = image_facts(header), provided.pyramids.of(remembered, header)
    known = KnownImage(remembered, header, facts, pyramid)
    provided.known.remember((_version(name), name), known)


def asked_in(provided: Services, scope: Scope) -> Asked | None:
    """What a GET without a query asks of a known image; None where the routes have to find out.

    It is found out once: each layer that wants to know asks for it here.
    """
    if _ASKED in scope:
        asked: Asked | None = scope[_ASKED]
        if asked is None or asked.provided is provided:  # not those of former settings
            return asked
    asked = scope[_ASKED] = _asked(provided, scope)
    return asked


def outdated_in(provided: Services, scope: Scope) -> Original | None:
    """The original of the image that a request is for, if it is known and to be checked."""
    name, *parameters = _path(scope).rsplit("/", IMAGE_SEGMENTS)
    if len(parameters) != IMAGE_SEGMENTS:
        return None
    return provided.known.outdated((_version(name), name))


def ask_again(scope: Scope) -> None:
    """Forget what `asked_in` found: it may be otherwise now."""
    scope.pop(_ASKED, None)


def _asked(provided: Services, scope: Scope) -> Asked | None:
    path = _path(scope)
    name, *parameters = path.rsplit("/", IMAGE_SEGMENTS)
    if len(parameters) != IMAGE_SEGMENTS or not name:
        return None
    version = _version(name)
    image = provided.known.get((version, name))
    if image is None:
        return None
    written = path[len(name) + 1 :]
    limits = provided.limits.of(image.facts.dimensions)
    try:
        request = parse_image_request(written, version)
        if request is None or request.format not in provided.formats:
            return None
        rendition = request.resolve(image.facts, limits)
        prefix = next((path for path in _VERSIONS if name.startswith(f"{path}/")), "")
        base = provided.addressing.base_of(scope, prefix)
    except IiifServerError:
        return None  # whoever says why says it in full
    canonical = canonical_parameters(rendition, image.facts, limits, version)
    if provided.canonical_redirect and canonical != written:
        return None
    tile = None
    if image.pyramid is not None and is_plain_jpeg(rendition):
        tile = image.pyramid.tile_of(rendition)
    base_uri = f"{base}{quote(name.removeprefix(prefix), safe=SAFE_IN_URIS)}"
    return Asked(provided, image, rendition, tile, base_uri, canonical, version)


def _path(scope: Scope) -> str:
    """The path as it is written, without what stands in front of all."""
    written: str = scope["raw_path"].decode("ascii", "replace")
    return written.removeprefix(scope.get("root_path", ""))


def _version(image: str) -> ImageApiVersion:
    return V2 if image.startswith(f"{V2.path}/") else V3
