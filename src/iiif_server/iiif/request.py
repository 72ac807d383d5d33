"""Image requests: the five parameters, and the pixels of one image that they select."""

import re
from contextlib import suppress
from dataclasses import dataclass

from iiif_server.errors import MalformedParameterError, RequestRefusedError, SizeRefusedError
from iiif_server.iiif.formats import FORMAT_FACTS, Format, parse_format
from iiif_server.iiif.geometry import Box, Dimensions, Limits
from iiif_server.iiif.quality import Quality, parse_quality
from iiif_server.iiif.region import FullRegion, Region, parse_region
from iiif_server.iiif.rotation import Rotation, parse_rotation
from iiif_server.iiif.size import MaxSize, Size, WidthSize, parse_size, resolve_size, size_text
from iiif_server.iiif.versions import V2, V3, ImageApiVersion

_SLASHES = 3
"""Slashes in `region/size/rotation/quality.format`."""
_PARAMETERS = re.compile(r"([^/]+)/([^/]+)/([^/]+)/([^/]+)\.([^/.]+)")


@dataclass(frozen=True, slots=True)
class Rendition:
    """Request, resolved to whole pixels of one image; equal for every spelling of a request."""

    region: Box
    """Region in pixels of the image with the orientation applied."""
    size: Dimensions
    """Size after scaling, before rotation."""
    rotation: Rotation
    quality: Quality
    """Quality; `default` if that gives the same pixels."""
    format: Format


@dataclass(frozen=True, slots=True)
class ImageFacts:
    """Properties of an image that `ImageRequest.resolve` needs."""

    dimensions: Dimensions
    """Dimensions with the orientation applied."""
    gray: bool
    """Whether it has no colour."""


@dataclass(frozen=True, slots=True)
class ImageRequest:
    """Image request: its five parsed parameters."""

    region: Region
    size: Size
    rotation: Rotation
    quality: Quality
    format: Format

    def resolve(self, image: ImageFacts, limits: Limits) -> Rendition:
        """Rendition of an image: region, then size, rotation, quality (Image API 3.0, 4).

        Raises OutOfBoundsError or SizeRefusedError.
        """
        region = self.region.resolve(image.dimensions)
        size = resolve_size(self.size, region.dimensions, limits)
        self._check_format_limit(self.rotation.extent(size))
        return Rendition(region, size, self.rotation, self._canonical_quality(image), self.format)

    def _check_format_limit(self, size: Dimensions) -> None:
        side = FORMAT_FACTS[self.format].max_side
        if max(size.width, size.height) > side:
            raise SizeRefusedError(
                f"The image would have {size.width}x{size.height} pixels; the format {self.format} "
                f"allows {side} per side. Request a smaller size or another format."
            )

    def _canonical_quality(self, image: ImageFacts) -> Quality:
        # "The canonical form [...] default if the server's default quality is requested" (3.0, 4.7)
        same_as_default = {Quality.COLOR, Quality.GRAY} if image.gray else {Quality.COLOR}
        return Quality.DEFAULT if self.quality in same_as_default else self.quality


def parse_image_request(text: str, version: ImageApiVersion) -> ImageRequest | None:
    """Parse `region/size/rotation/quality.format`; None if a part is missing.

    Raises the errors of the five parsers.
    """
    match = _PARAMETERS.fullmatch(text)
    if match is None:
        return None
    region, size, rotation, quality, format_ = match.groups()
    return ImageRequest(
        parse_region(region),
        parse_size(size, version),
        parse_rotation(rotation),
        parse_quality(quality),
        parse_format(format_),
    )


def parse_whole_request(text: str, version: ImageApiVersion) -> ImageRequest:
    """Parse `region/size/rotation/quality.format`.

    Raises the errors of the five parsers, and MalformedParameterError if a part is missing.
    """
    request = parse_image_request(text, version)
    if request is not None:
        return request
    if lacks_format(text):
        raise missing_format_error()
    raise MalformedParameterError(
        "request", text, "region/size/rotation/quality.format, as in full/!400,400/0/default.jpg"
    )


def missing_format_error() -> MalformedParameterError:
    """Error for a request without a format."""
    return MalformedParameterError("format", "", "one after the quality, as in default.jpg")


def lacks_format(text: str) -> bool:
    """Whether a text is `region/size/rotation/quality` of either version, without a format."""
    if text.count("/") != _SLASHES:
        return False
    for version in (V2, V3):
        with suppress(RequestRefusedError):
            return (
                parse_image_request(f"{text.removesuffix('.')}.{Format.JPG}", version) is not None
            )
    return False


def canonical_parameters(
    rendition: Rendition, image: ImageFacts, limits: Limits, version: ImageApiVersion
) -> str:
    """Canonical `region/size/rotation/quality.format` (Image API 3.0, 4.7; 2.1.1, 4.7)."""
    box = rendition.region
    whole = box.covers(image.dimensions)
    region = str(FullRegion()) if whole else f"{box.x},{box.y},{box.width},{box.height}"
    size = _canonical_size(rendition, limits, version)
    return f"{region}/{size}/{rendition.rotation}/{rendition.quality}.{rendition.format}"


def _canonical_size(rendition: Rendition, limits: Limits, version: ImageApiVersion) -> str:
    region, size = rendition.region.dimensions, rendition.size
    upscaled = size.width > region.width or size.height > region.height
    # If the largest size is within the region, `max` and `^max` are the same size.
    for upscale in (False, True) if version.caret_upscales and upscaled else (False,):
        max_size = MaxSize(upscale)
        # In 2.1 the canonical `full` means "not scaled"; in 3.0, `max` is the largest allowed size.
        if size == max_size.scale(region, limits) and (version.caret_upscales or size == region):
            return "^max" if upscale else version.full_size
    if version.canonical_width_only and size == WidthSize(size.width, upscaled).scale(
        region, limits
    ):
        return size_text(WidthSize(size.width, upscaled), version)
    caret = "^" if version.caret_upscales and upscaled else ""
    return f"{caret}{size.width},{size.height}"
