"""Image information (info.json). Pure."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from iiif_server.iiif.formats import Format
from iiif_server.iiif.geometry import (
    Dimensions,
    Limits,
    announced_sizes,
    offered_tile,
    scale_factors,
    square,
)
from iiif_server.iiif.quality import Quality
from iiif_server.iiif.versions import V2, V3, ImageApiVersion

PROTOCOL = "http://iiif.io/api/image"
PHYSICAL = "http://iiif.io/api/annex/services/physdim"
TILE = square(512)
"""Default tile size in pixels: a square with a power of two, which suits viewers best."""

LEVEL_2_FORMATS = frozenset({Format.JPG, Format.PNG})

# Features beyond compliance level 2, as each version names them.
V3_FEATURES = (
    "canonicalLinkHeader",
    "mirroring",
    "profileLinkHeader",
    "rotationArbitrary",
    "sizeUpscaling",
)
V2_FEATURES = (
    "canonicalLinkHeader",
    "mirroring",
    "profileLinkHeader",
    "regionSquare",
    "rotationArbitrary",
    "sizeAboveFull",
)


@dataclass(frozen=True, slots=True)
class Service:
    """Properties of the image service for one image."""

    limits: Limits
    formats: Sequence[Format]
    """Formats that the server can encode."""
    min_sizes_size: int
    tile: Dimensions = TILE
    """Dimensions of a full tile."""
    rights: str | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)
    """Further properties from the type's settings: `service`, `partOf`, `seeAlso`, ..."""
    inches_per_pixel: float | None = None
    """Length of a pixel's side on the photographed object; None: unknown."""


def image_information(
    version: ImageApiVersion, id_: str, dimensions: Dimensions, service: Service
) -> dict[str, Any]:
    """Image information (info.json) of one image (Image API 3.0, 5; 2.1.1, 5)."""
    return _DOCUMENTS[version](id_, dimensions, service)


def _version_3(id_: str, dimensions: Dimensions, service: Service) -> dict[str, Any]:
    document: dict[str, Any] = {
        "@context": V3.context,
        "id": id_,
        "type": "ImageService3",
        "protocol": PROTOCOL,
        "profile": "level2",
        "width": dimensions.width,
        "height": dimensions.height,
        **_limits(service.limits),
        "sizes": _sizes(dimensions, service),
        "tiles": _tiles(dimensions, service),
        "preferredFormats": [Format.JPG.value],
        "extraFormats": _extra_formats(service),
        "extraQualities": [quality.value for quality in Quality if quality != Quality.DEFAULT],
        "extraFeatures": _features(V3_FEATURES, service.limits),
    }
    if service.rights is not None:
        document["rights"] = service.rights
    return document | extra_properties(V3, service)


def _version_2(id_: str, dimensions: Dimensions, service: Service) -> dict[str, Any]:
    profile = {
        # "should be omitted [...] rather than being present with an empty list" (2.1.1, 5.3)
        **({"formats": _extra_formats(service)} if _extra_formats(service) else {}),
        "qualities": [quality.value for quality in Quality if quality != Quality.DEFAULT],
        "supports": _features(V2_FEATURES, service.limits),
        **_limits(service.limits),
    }
    document = {
        "@context": V2.context,
        "@id": id_,
        "protocol": PROTOCOL,
        "width": dimensions.width,
        "height": dimensions.height,
        "sizes": _sizes(dimensions, service),
        "tiles": _tiles(dimensions, service),
        "profile": [V2.compliance, profile],
    }
    if service.rights is not None:
        document["license"] = service.rights
    return document | extra_properties(V2, service)


_DOCUMENTS: dict[ImageApiVersion, Callable[[str, Dimensions, Service], dict[str, Any]]] = {
    V2: _version_2,
    V3: _version_3,
}


def extra_properties(version: ImageApiVersion, service: Service) -> dict[str, Any]:
    """Further properties of the type, and the Physical Dimensions service (1.0) if known.

    `service` is an array in version 3; in version 2 only if there are several.
    """
    extra = dict(service.extra)
    if service.inches_per_pixel is not None:
        configured = extra.get("service", [])
        services = configured if isinstance(configured, list) else [configured]
        physical = {
            "@context": f"{PHYSICAL}/1/context.json",
            "profile": PHYSICAL,
            "physicalScale": float(f"{service.inches_per_pixel:.6g}"),
            "physicalUnits": "in",
        }
        single = version is V2 and not services
        extra["service"] = physical if single else [*services, physical]
    return extra


def _limits(limits: Limits) -> dict[str, int]:
    """Limits; `maxHeight` without `maxWidth` is left out, as it is not allowed (3.0, 5.3)."""
    named = limits.named
    return named if limits.max_width else {k: v for k, v in named.items() if k != "maxHeight"}


def _sizes(dimensions: Dimensions, service: Service) -> list[dict[str, int]]:
    factors = scale_factors(dimensions, offered_tile(service.tile, service.limits))
    sizes = announced_sizes(dimensions, service.min_sizes_size, service.limits, factors)
    return [{"width": size.width, "height": size.height} for size in sizes]


def _tiles(dimensions: Dimensions, service: Service) -> list[dict[str, Any]]:
    tile = offered_tile(service.tile, service.limits)
    factors = list(scale_factors(dimensions, tile))
    return [{"width": tile.width, "height": tile.height, "scaleFactors": factors}]


def _features(features: Sequence[str], limits: Limits) -> list[str]:
    """Features, without `sizeUpscaling` if the image has no limits (3.0, 5.7)."""
    limited = limits.max_width is not None or limits.max_area is not None
    return [feature for feature in features if limited or feature != "sizeUpscaling"]


def _extra_formats(service: Service) -> list[str]:
    return [format_.value for format_ in service.formats if format_ not in LEVEL_2_FORMATS]
