"""Responses to downloads: originals, metadata, thumbnails and previews."""

import json
from dataclasses import replace
from hashlib import blake2b
from typing import Any

from starlette.requests import ClientDisconnect, Request

from iiif_server.errors import DownloadRefusedError
from iiif_server.iiif.formats import Format
from iiif_server.iiif.quality import Quality
from iiif_server.iiif.region import FullRegion
from iiif_server.iiif.request import ImageRequest
from iiif_server.iiif.rotation import parse_rotation
from iiif_server.iiif.size import ConfinedSize
from iiif_server.images.body import Body, original_body
from iiif_server.images.registry import Image
from iiif_server.plan.original_format import MEDIA_TYPES, OriginalFormat
from iiif_server.server.call import ImageCall
from iiif_server.server.conditions import is_failed, is_not_modified
from iiif_server.server.delivery import by_proxy
from iiif_server.server.disconnect import cancel_on_disconnect
from iiif_server.server.file_names import content_disposition, name_of_original
from iiif_server.server.image_answers import canonical_of, make, ready
from iiif_server.server.problems import problem
from iiif_server.server.ranges import UnsatisfiableRangeError, requested_extent
from iiif_server.server.request_context import RequestContext
from iiif_server.server.respond import CLIENT_CLOSED_REQUEST, JSON, Answer
from iiif_server.server.services import Permission, Services
from iiif_server.telemetry.stages import Stages

_MAX_HEIGHT = 65_500
"""Maximum height of a JPEG, in pixels."""


async def original_answer(request: Request, services: Services, permission: Permission) -> Answer:
    """Response with an original, or with the requested range of it.

    Raises DownloadRefusedError, and the errors of `ImageRegistry.hold`: files that are no readable
    images are not sent.
    """
    check_offered(services, permission)
    try:
        async with (
            cancel_on_disconnect(request),
            services.images.hold(permission.identifier) as image,
        ):
            check_image(image)
            if image.header.treatment.strip_location:
                return await _stripped(services, permission, image)
            return await _original(request, services, permission, image)
    except ClientDisconnect:
        return Answer(status_code=CLIENT_CLOSED_REQUEST)


def check_offered(services: Services, permission: Permission) -> None:
    """Raise DownloadRefusedError unless the type of an original allows downloads."""
    type_ = permission.identifier.type
    if services.types[type_].original != "download":
        raise DownloadRefusedError(
            f"Originals of the type {type_} are not offered for download; images of them are, as "
            "in full/max/0/default.jpg?download."
        )


def check_image(image: Image) -> None:
    """Raise DownloadRefusedError for an original whose image may not be shown in full size.

    With `strip = "location"`, also for an original that is not a JPEG.
    """
    if not image.original.terms.limits.allow(image.facts.dimensions):
        raise DownloadRefusedError(
            "This original is not offered for download: its image has a limited size."
        )
    format_ = image.header.format
    if image.header.treatment.strip_location and format_ is not OriginalFormat.JPEG:
        raise DownloadRefusedError(
            f"This original is not offered for download: it is a {format_}, and only JPEGs can be "
            "sent without their location metadata. Images of it are, as in "
            "full/max/0/default.jpg?download."
        )


async def body_of_original(services: Services, image: Image) -> Body:
    """File of a held original; if its type strips the location, the rewritten JPEG."""
    if image.header.treatment.strip_location:
        return await services.derivatives.body(services.derivatives.rewritten(image, Stages()))
    return await original_body(image.original)


async def _original(
    request: Request, services: Services, permission: Permission, image: Image
) -> Answer:
    original, headers = image.original, request.headers
    size, tag, modified = original.file.size, original.fingerprint, original.modified
    name = name_of_original(services.readable_name(permission.identifier), image.header.format)
    answer = Answer(
        b"",
        MEDIA_TYPES[image.header.format],
        cache_control=str(services.caching(permission)),
        tag=tag,
        modified=modified,
        extra={
            "Content-Disposition": content_disposition(name, attachment=True),
            "Accept-Ranges": "bytes",
        },
    )
    if is_failed(headers, tag, modified):
        return problem(412, "The original is not in the state that the request wants.")
    if is_not_modified(headers, tag, modified):
        return answer  # `respond` makes it a 304
    path = original.file.path
    accel = by_proxy(request.scope, services, originals=True) and "if-range" not in headers
    if accel and original.parts is None and path.is_relative_to(services.source_path):
        answer.body = Body(size, path=path)
        return answer
    if RequestContext.of(request.scope).head:
        answer.body = Body(size)  # HEAD needs only the length: nothing is fetched or read
        return answer
    try:
        extent = requested_extent(headers, size, tag, modified)
    except UnsatisfiableRangeError:
        unsatisfied = {"Content-Range": f"bytes */{size}"}
        return problem(416, f"The original has {size} bytes.", unsatisfied)
    answer.body = await original_body(original, extent)
    if extent is not None:
        answer.status_code = 206
        begin, end = extent
        answer.extra = {**answer.extra, "Content-Range": f"bytes {begin}-{end - 1}/{size}"}
    return answer


async def _stripped(services: Services, permission: Permission, image: Image) -> Answer:
    """Response with a JPEG without location: rewritten and cached, without range requests."""
    resolved = services.derivatives.rewritten(image, Stages())
    name = name_of_original(services.readable_name(permission.identifier), image.header.format)
    return Answer(
        await services.derivatives.body(resolved),
        MEDIA_TYPES[image.header.format],
        cache_control=str(services.caching(permission)),
        tag=resolved.key.digest,
        modified=image.original.modified,
        extra={"Content-Disposition": content_disposition(name, attachment=True)},
        stages=resolved.stages,
    )


async def scaled_answer(
    request: Request, services: Services, call: ImageCall, width: int
) -> Answer:
    """Response with the whole image as a JPEG of this width; narrower ones keep their width."""
    image = await services.images.get(call.identifier)
    scaled_request = ImageRequest(
        FullRegion(),
        ConfinedSize(width, _MAX_HEIGHT, upscale=False),
        parse_rotation("0"),
        Quality.DEFAULT,
        Format.JPG,
    )
    call = replace(call, request=scaled_request)
    # The canonical parameters, so that `canonical_redirect` does not redirect the request.
    resolved = services.derivatives.resolve(image, scaled_request, Stages())
    call = replace(call, parameters=canonical_of(services, call, resolved))
    return await ready(request.scope, services, call) or await make(request, services, call)


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
    remembered_image = services.images.remembered(identifier)
    current = remembered_image is not None and remembered_image.original == image.original
    return Answer(
        data,
        JSON,
        cache_control=str(services.caching(permission)),
        tag=blake2b(data, digest_size=16).hexdigest(),
        modified=image.original.modified,
        depends_on=remembered_image if current and services.may_repeat(permission) else None,
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
