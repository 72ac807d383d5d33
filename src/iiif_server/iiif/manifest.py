"""Manifests with one canvas per image (Presentation API 3.0, 5.2 to 5.6).

iiif-prezi3 is not used: its releases (3.1.1 is the last) do not allow the Pillow version that this
server needs. The tests read every document with its models.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from iiif_server.iiif.formats import FORMAT_FACTS, Format
from iiif_server.iiif.geometry import Dimensions, Limits, offered_sizes
from iiif_server.iiif.size import ConfinedSize, MaxSize

CONTEXT = "http://iiif.io/api/presentation/3/context.json"
MEDIA_TYPE = f'application/ld+json;profile="{CONTEXT}"'

_THUMBNAIL = ConfinedSize(400, 400, upscale=False)
"""Thumbnail size of a very wide or high image, whose info.json has no small size."""
_LARGEST_THUMBNAIL = 1000
_KNOWN_RIGHTS = ("creativecommons.org/", "rightsstatements.org/")


@dataclass(frozen=True, slots=True)
class ImageService:
    """Reference to an image service (Presentation API 3.0, 4.7)."""

    id: str
    """Base URI of the image."""
    type: str
    """`ImageService3` or `ImageService2`."""
    profile: str
    """Compliance level as the version of the service writes it."""

    @property
    def document(self) -> dict[str, Any]:
        """Reference as JSON; services of version 2 have `@id` and `@type`."""
        at = "@" if self.type == "ImageService2" else ""
        return {f"{at}id": self.id, f"{at}type": self.type, "profile": self.profile}


def level_2_services(base_uri: str, base_uri_v2: str) -> tuple[ImageService, ...]:
    """References to both image services of an image on this server."""
    return (
        ImageService(base_uri, "ImageService3", "level2"),
        ImageService(base_uri_v2, "ImageService2", "http://iiif.io/api/image/2/level2.json"),
    )


@dataclass(frozen=True, slots=True)
class Picture:
    """Image in a manifest."""

    base_uri: str
    """Base URI, as `https://example.org/specimens:1.jpg`."""
    services: Sequence[ImageService]
    """Image services, the preferred one first."""
    label: str
    dimensions: Dimensions
    limits: Limits
    """Limits of the size of its renditions."""
    min_sizes_size: int
    rights: str | None = None
    """Licence or rights statement; only an http or https URI is used."""
    only_offered: bool = False
    """Whether only the sizes in info.json are available."""
    extra: Mapping[str, Any] = field(default_factory=dict)
    """Further properties of the type, of which `attribution` and `requiredStatement` are used."""


def label_of(name: str) -> str:
    """Label of an original: the last part of its name."""
    return name.rstrip("/").rpartition("/")[2] or name


def manifest(id_: str, label: str, pictures: Sequence[Picture]) -> dict[str, Any]:
    """Manifest of one or more images, in this order (Presentation API 3.0, 5.2)."""
    first = pictures[0]
    shared = _shared(pictures)
    return {
        "@context": CONTEXT,
        "id": id_,
        "type": "Manifest",
        "label": {"none": [label]},
        **shared,
        "thumbnail": [_thumbnail(first)],
        "items": [_canvas(picture, shared) for picture in pictures],
    }


def _canvas(picture: Picture, shared: Mapping[str, Any]) -> dict[str, Any]:
    """Canvas with the image and its dimensions (Presentation API 3.0, 5.3 and 5.5).

    The id of the canvas is the same in every manifest that has the image.
    """
    id_ = f"{picture.base_uri}/canvas/1"
    statements = {name: value for name, value in _statements(picture).items() if name not in shared}
    return {
        "id": id_,
        "type": "Canvas",
        "label": {"none": [picture.label]},
        "width": picture.dimensions.width,
        "height": picture.dimensions.height,
        **statements,
        "thumbnail": [_thumbnail(picture)],
        "items": [
            {
                "id": f"{id_}/page",
                "type": "AnnotationPage",
                "items": [
                    {
                        "id": f"{id_}/painting",
                        "type": "Annotation",
                        "motivation": "painting",
                        "body": _body(picture),
                        "target": id_,
                    }
                ],
            }
        ],
    }


def _body(picture: Picture) -> dict[str, Any]:
    version_2 = picture.services[0].type == "ImageService2"
    allowed = MaxSize(upscale=False).scale(picture.dimensions, picture.limits)
    side = FORMAT_FACTS[Format.JPG].max_side
    limits = picture.limits.within(Limits(side, side))
    largest = MaxSize(upscale=False).scale(picture.dimensions, limits)
    size = "full" if version_2 and largest == picture.dimensions else "max"
    if largest != allowed:  # more than JPEG allows
        size = f"{largest.width},{largest.height}"
    return {
        **_image(picture, size, largest),
        "service": [service.document for service in picture.services],
    }


def _thumbnail(picture: Picture) -> dict[str, Any]:
    offered = offered_sizes(picture.dimensions, picture.min_sizes_size, picture.limits)
    size = offered[0]
    if not picture.only_offered:
        size = thumbnail_size(picture.dimensions, size, picture.limits)
    version_2 = picture.services[0].type == "ImageService2"
    text = f"{size.width}," if version_2 else f"{size.width},{size.height}"
    if size == picture.dimensions:
        text = "full" if version_2 else "max"
    return {
        **_image(picture, text, size),
        "service": [picture.services[0].document],
    }


def thumbnail_size(dimensions: Dimensions, smallest: Dimensions, limits: Limits) -> Dimensions:
    """Smallest size in info.json, which is a level of the pyramid and so cached.

    The smallest size of a very wide or high image is large: its thumbnail fits into 400x400.
    """
    if max(smallest.width, smallest.height) <= _LARGEST_THUMBNAIL:
        return smallest
    return _THUMBNAIL.scale(dimensions, limits)


def _image(picture: Picture, size: str, pixels: Dimensions) -> dict[str, Any]:
    return {
        "id": f"{picture.base_uri}/full/{size}/0/default.jpg",
        "type": "Image",
        "format": FORMAT_FACTS[Format.JPG].media_type,
        "width": pixels.width,
        "height": pixels.height,
    }


def _shared(pictures: Sequence[Picture]) -> dict[str, Any]:
    """Rights statements that all images share; they become those of the manifest."""
    first = _statements(pictures[0])
    return {
        name: value
        for name, value in first.items()
        if all(_statements(picture).get(name) == value for picture in pictures)
    }


def _statements(picture: Picture) -> dict[str, Any]:
    """Rights statements of an image (Presentation API 3.0, 3.1)."""
    found: dict[str, Any] = {}
    if required := _required_statement(picture.extra):
        found["requiredStatement"] = required
    if rights := rights_uri(picture.rights):
        found["rights"] = rights
    return found


def rights_uri(text: str | None) -> str | None:
    """URI for `rights`; None for text that is no http or https URL.

    The URIs of Creative Commons and RightsStatements.org begin with `http:` (3.1).
    """
    if text is None or not text.startswith(("http://", "https://")):
        return None
    normalised = text.replace("https://", "http://", 1)
    host = normalised.removeprefix("http://").removeprefix("www.")
    return f"http://{host}" if host.startswith(_KNOWN_RIGHTS) else text


def _required_statement(extra: Mapping[str, Any]) -> dict[str, Any] | None:
    required = extra.get("requiredStatement")
    if isinstance(required, Mapping):
        label, value = required.get("label"), required.get("value")
        if _is_language_map(label) and _is_language_map(value):
            return {"label": label, "value": value}
    attribution = extra.get("attribution")
    texts = [attribution] if isinstance(attribution, str) else attribution
    if isinstance(texts, list) and texts and all(isinstance(text, str) for text in texts):
        return {"label": {"en": ["Attribution"]}, "value": {"none": texts}}
    return None


def _is_language_map(value: Any) -> bool:
    return (
        isinstance(value, Mapping)
        and bool(value)
        and all(
            isinstance(texts, list) and texts and all(isinstance(text, str) for text in texts)
            for texts in value.values()
        )
    )
