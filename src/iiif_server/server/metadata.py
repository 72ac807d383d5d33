"""Responses with the metadata of an original."""

import json
from hashlib import blake2b
from typing import Any

from iiif_server.images.registry import Image
from iiif_server.server.downloads import MEDIA_TYPES
from iiif_server.server.respond import JSON, Answer
from iiif_server.server.services import Permission, Services


async def metadata_answer(services: Services, permission: Permission) -> Answer:
    """Format, dimensions, colour, resolution, and the EXIF, IPTC and XMP that may be shown.

    For a fetched original also its checksum, which the server computes while it fetches.
    """
    identifier = permission.identifier
    async with services.images.hold(identifier) as image:
        stripped = image.header.treatment.strip_location
        location = services.types[identifier.type].show_location and not stripped
        found = await services.images.metadata(image, location=location)
        opened = image.original.opened
        if opened is not None and opened.checksum is not None:
            found["checksum"] = {"algorithm": "BLAKE2b-128", "value": opened.checksum}
    content = json.dumps(_document(image, found), ensure_ascii=False, separators=(",", ":"))
    data = content.encode("utf-8", "replace")
    known = services.images.remembered(identifier)
    current = known is not None and known.original == image.original
    return Answer(
        data,
        JSON,
        cache_control=str(services.caching(permission)),
        tag=blake2b(data, digest_size=16).hexdigest(),
        modified=image.original.modified,
        depends_on=known if current and services.may_repeat(permission) else None,
    )


def _document(image: Image, found: dict[str, Any]) -> dict[str, Any]:
    header, size = image.header, image.header.dimensions
    document: dict[str, Any] = {
        "format": header.format.value,
        "mediaType": MEDIA_TYPES[header.format],
        "bytes": image.original.file.size,
        "width": size.width,
        "height": size.height,
        "pages": header.pages,
        "colourSpace": header.colour.value,
        "bitDepth": header.bits,
    }
    if header.resolution is not None:
        x, y = _upright(image, header.resolution)
        document["resolution"] = {"x": x, "y": y, "unit": "dpi"}
        document["physicalSize"] = {
            "width": round(size.width / x, 4),
            "height": round(size.height / y, 4),
            "unit": "in",
        }
    return document | found


def _upright(image: Image, resolution: tuple[float, float]) -> tuple[float, float]:
    """Resolution of the image with its orientation applied."""
    x, y = resolution
    return (y, x) if image.header.orientation.transposes else (x, y)
