"""JPEG 2000: the codestream is decoded by OpenJPEG; what its components mean, the boxes say.

OpenJPEG is the one in Pillow, or in imagecodecs where Pillow gives wrong samples. They get the
codestream without its boxes: Pillow would give no ICC profile, drop palette entries, and refuse the
colour spaces that it does not know.
"""

import os
from io import BytesIO
from struct import Struct
from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from iiif_server.codecs.pixel_buffer import Pixels
from iiif_server.codecs.sample_colours import Photometric, Samples, to_pixels
from iiif_server.formats.bounded_file import BoundedFile
from iiif_server.formats.jp2_boxes import (
    BLACK_IS_ONE,
    CIE_LAB,
    CMY,
    CMYK,
    ILLUMINANTS,
    YCC,
    Component,
    Container,
    interpret_components,
    is_decoded_whole,
    is_subsampled,
    read_components,
    read_container,
)
from iiif_server.plan.header import Colour, ImageHeader, Profile
from iiif_server.plan.original_format import OriginalFormat

Array = NDArray[Any]
_SOT, _SOT_BYTES = b"\xff\x90\0\x0a", 12
"""Marker and length of the first segment of a tile-part; bytes of both and its fields."""
_TILE_PART = Struct(">IBB")
"""Length of a tile-part, its number, and the number of those of its tile."""


def without_tile_part_counts(data: bytes) -> bytes:
    """Return a codestream without the numbers of tile-parts that some of its tiles exceed.

    Old versions of Kakadu wrote one too few (TNsot, ISO 15444-1, A.4.2). 0 is unknown.
    """
    found: list[int] = []
    exceeded = False
    at = max(0, data.find(_SOT))
    while data[at : at + 4] == _SOT and len(data) >= at + _SOT_BYTES:
        length, part, count = _TILE_PART.unpack_from(data, at + 6)
        found.append(at + _SOT_BYTES - 1)
        exceeded = exceeded or 0 < count <= part
        if not length:
            break
        at += length
    if not exceeded:
        return data
    changed = bytearray(data)
    for at in found:
        changed[at] = 0
    return bytes(changed)


def read_jpeg2000(descriptor: int, header: ImageHeader, shrink: int) -> Pixels:
    """Decode the pixels, reduced by `shrink`, with the ICC profile. Raises library errors."""
    with os.fdopen(os.dup(descriptor), "rb") as file:
        bounded = BoundedFile(file, OriginalFormat.JPEG2000)
        container = read_container(bounded)
        if container is None:
            raise bounded.damaged("it has no codestream")
        components = read_components(bounded, container.start)
        data = without_tile_part_counts(
            bounded.read_at(container.start, container.end - container.start)
        )
    whole = is_decoded_whole(components)
    values = (
        _decode_with_imagecodecs(data, components) if whole else _decode_with_pillow(data, shrink)
    )
    interpretation = interpret_components(container, len(components))
    values = _channels(values, components, container)
    photometric = _photometric(container, components, interpretation.colour)
    is_lab = container.colour_space == CIE_LAB and interpretation.colour is Colour.OTHER
    channels = [
        *interpretation.channels,
        *([] if interpretation.alpha is None else [interpretation.alpha]),
    ]
    samples = Samples(
        values=np.ascontiguousarray(values[:, :, channels]),
        photometric=photometric,
        bits=8 * values.dtype.itemsize,
        alpha=interpretation.alpha is not None,
        premultiplied=container.premultiplied,
        reference=_reference(components[0].bits, 8 * values.dtype.itemsize),
        ranges=_ranges(container, components, interpretation.channels) if is_lab else (),
        under_d65=bool(container.parameters) and ILLUMINANTS[container.parameters[-1]],
    )
    return to_pixels(samples, container.profile if header.profile is not Profile.NONE else None)


def _decode_with_pillow(data: bytes, shrink: int) -> Array:
    """Decode the components with Pillow: in 8 bits, or a single one in up to 16."""
    Image.MAX_IMAGE_PIXELS = None  # the header has been checked against the configured limit
    with Image.open(BytesIO(data), formats=["JPEG2000"]) as image:
        if shrink > 1:
            image.reduce = shrink.bit_length() - 1  # type: ignore[method-assign, assignment]
            # The codestream rounds reduced sides up (ISO 15444-1, B.5). Pillow rounds them to the
            # nearest, and then refuses what does not fit; from these sides it comes to the same.
            width, height = (-(-side // shrink) * shrink for side in image.size)
            image._size = (width, height)  # noqa: SLF001
        image.load()
        values: Array = np.asarray(image)
    return values if values.ndim > 2 else values[:, :, np.newaxis]  # noqa: PLR2004


def _decode_with_imagecodecs(data: bytes, components: tuple[Component, ...]) -> Array:
    """Decode the components with imagecodecs, shifted up to 8 or 16 bits as Pillow does."""
    values: Array = imagecodecs.jpeg2k_decode(data, numthreads=1)
    values = values if values.ndim > 2 else values[:, :, np.newaxis]  # noqa: PLR2004 - of gray
    bits = np.array([part.bits for part in components])
    if values.dtype.kind == "i":
        values = values.astype(np.int64) + (1 << (bits - 1))
    if values.dtype.itemsize > 2:  # noqa: PLR2004 - more than 16 bits
        values = (values >> np.maximum(bits - 16, 0)).astype(np.uint16)
    width = 8 * values.dtype.itemsize
    values <<= np.maximum(width - bits, 0).astype(values.dtype)
    return values


def _channels(values: Array, components: tuple[Component, ...], container: Container) -> Array:
    """Return the channels scaled to the full range of their type; apply the palette."""
    width = 8 * values.dtype.itemsize
    if container.palette is not None:
        index = values[:, :, 0] >> max(0, width - components[0].bits)
        colours = np.array(
            [
                [
                    round(value * 255 / ((1 << bits) - 1))
                    for value, bits in zip(entry, container.palette.bits, strict=True)
                ]
                for entry in container.palette.entries
            ],
            np.uint8,
        )
        coloured: Array = colours[np.minimum(index, len(colours) - 1)]
        return coloured
    if all(component.bits >= width for component in components):
        return values
    # Pillow shifts the bits up: white is not white then.
    spread = np.empty_like(values)
    for number, component in enumerate(components):
        bits = min(component.bits, width)
        raw = values[:, :, number].astype(np.uint32) >> (width - bits)
        spread[:, :, number] = (raw * ((1 << width) - 1) + ((1 << bits) - 1) // 2) // (
            (1 << bits) - 1
        )
    return spread


def _ranges(
    container: Container, components: tuple[Component, ...], channels: tuple[int, ...]
) -> tuple[tuple[float, float], ...]:
    """Return L*, a* and b* of the least and greatest sample (ISO 15444-2, M.11.7.4.1)."""
    depths = (
        container.palette.bits if container.palette else tuple(part.bits for part in components)
    )
    bits = [depths[channel] for channel in channels]
    spans: tuple[int, ...] = (100, 170, 200)
    offsets: tuple[float, ...] = (0, 2 ** (bits[1] - 1), 2 ** (bits[2] - 2) + 2 ** (bits[2] - 3))
    if container.parameters:
        spans, offsets = container.parameters[:6:2], container.parameters[1:6:2]
    lows = [
        -span * offset / (2**depth - 1)
        for span, offset, depth in zip(spans, offsets, bits, strict=True)
    ]
    return tuple((low, low + span) for low, span in zip(lows, spans, strict=True))


def _reference(bits: int, width: int) -> tuple[float, ...]:
    """Return black and white of luma and chroma of `bits`, after scaling to `width` bits."""
    max_value = (1 << width) - 1
    middle = round((1 << (bits - 1)) * max_value / ((1 << bits) - 1))
    return 0, max_value, *(middle, middle + 127 * max_value / 255) * 2


def _photometric(
    container: Container, components: tuple[Component, ...], colour: Colour
) -> Photometric:
    """Return the photometric interpretation of the colours."""
    if container.colour_space == CMYK or container.profile[16:20] == b"CMYK":
        return Photometric.INKS
    if colour is Colour.OTHER:
        return Photometric.ITU_LAB if container.colour_space == CIE_LAB else Photometric.ICC_LAB
    if container.colour_space in {BLACK_IS_ONE, CMY}:
        return Photometric.MIN_IS_WHITE
    # Both libraries convert components of which some are subsampled.
    ycc = container.colour_space in YCC and not is_subsampled(components)
    return Photometric.YCBCR if ycc else Photometric.RGB
