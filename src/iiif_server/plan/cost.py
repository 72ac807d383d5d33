"""Cost estimates: peak memory and time of a job, before anything is decoded. Pure.

The numbers are measured: `python -m bench.costs` compares them with what worker processes really
take. They are meant to be too high rather than too low, by less than twice.
"""

from dataclasses import dataclass

from iiif_server.iiif.formats import Format
from iiif_server.iiif.geometry import Dimensions
from iiif_server.iiif.quality import Quality
from iiif_server.plan.build_plan import BuildPlan, cuts_losslessly, first_reduced, passes
from iiif_server.plan.encoding import EncodingOptions
from iiif_server.plan.grid import Part
from iiif_server.plan.header import Colour, ImageHeader, Reader
from iiif_server.plan.orientation import UPRIGHT
from iiif_server.plan.original_format import OriginalFormat
from iiif_server.plan.render_plan import (
    FEW_PIXELS,
    MAX_OPTIMISED_PIXELS,
    Engine,
    PixelOperations,
    RenderPlan,
)

_ALWAYS = 16_000_000
"""Bytes that even the smallest image takes: buffers and rows."""
_ROWS = 1024
"""Rows in memory between decoder and encoder, over all operations."""
_RGB = 3
_RGBA = 4


@dataclass(frozen=True, slots=True)
class Cost:
    """Cost of a job."""

    bytes: int
    """Peak memory in bytes, in addition to that of the idle process."""
    effort: int
    """Time in units of decoding one JPEG pixel: 4 ns."""

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(self.bytes + other.bytes, self.effort + other.effort)


@dataclass(frozen=True, slots=True)
class _Rate:
    """Cost of one pixel."""

    bytes: float
    effort: float


_DECODERS: dict[OriginalFormat, _Rate] = {
    OriginalFormat.JPEG: _Rate(0, 1),
    OriginalFormat.PNG: _Rate(0, 4),
    OriginalFormat.TIFF: _Rate(0, 2),
    OriginalFormat.WEBP: _Rate(9, 4),
    OriginalFormat.GIF: _Rate(6, 4),
    OriginalFormat.JPEG2000: _Rate(20, 150),
    OriginalFormat.AVIF: _Rate(17, 6),
    OriginalFormat.HEIF: _Rate(12, 10),
    OriginalFormat.JPEGXL: _Rate(0, 1),
    OriginalFormat.BMP: _Rate(0, 1),
    OriginalFormat.PSD: _Rate(0, 2),
    OriginalFormat.PDF: _Rate(0, 2),
    OriginalFormat.TGA: _Rate(0, 2),
    OriginalFormat.PCX: _Rate(0, 2),
    OriginalFormat.RAW: _Rate(0, 2),
    OriginalFormat.DICOM: _Rate(0, 2),
}
"""Costs of decoders. `bytes` is for formats that are decoded as a whole; else 0."""

_ENCODERS: dict[Format, _Rate] = {
    Format.JPG: _Rate(8, 4),
    Format.TIF: _Rate(4, 12),
    Format.PNG: _Rate(6, 20),
    Format.GIF: _Rate(16, 120),
    Format.JP2: _Rate(48, 200),
    Format.PDF: _Rate(10, 4),
    Format.WEBP: _Rate(8, 20),
    Format.AVIF: _Rate(27, 160),
}
"""Costs of encoders. `bytes` includes the encoded file."""

_CODESTREAM = 3
"""Maximum bytes per pixel of a JPEG 2000 file, which the decoder reads as a whole."""
_HEIF_ALPHA_BYTES = 4
"""Additional bytes per pixel of a HEIF with alpha."""
_STREAMED_JPEG = 1.0
"""Bytes per pixel of an encoded JPEG, if only the file is in memory."""
_COPIES = 2
"""Additional copies of a small image while it is scaled and turned."""
_DEEP = 2.25
"""Factor of an encoder's memory for 16-bit samples."""
_FINE_CHROMA = 90
"""JPEG quality from which libvips does not subsample chroma."""


def cost_of_render(plan: RenderPlan) -> Cost:
    """Cost of a derivative."""
    if plan.tile is not None:
        return Cost(_ALWAYS, 2 * plan.tile.operations.box.dimensions.area)
    if plan.level is not None:
        return _of_level(plan.level.operations, plan)
    if plan.engine is Engine.REWRITTEN:
        held = 2 * plan.original.size if plan.target is None else 0
        return Cost(_ALWAYS + held, plan.original.size)
    if plan.engine is Engine.JPEGTRAN:
        return _of_jpegtran(plan.header, plan.operations)
    return _of_raster(plan.header, plan.operations, plan.encoding)


def cost_of_scan(header: ImageHeader) -> Cost:
    """Cost of reading all samples of an original."""
    decoding = _decoding(header, 1, header.stored.height)
    return Cost(_ALWAYS, header.stored.area) + _needs(header, header.stored.area) + decoding


def cost_of_build(plan: BuildPlan) -> Cost:
    """Cost of a part of a pyramid."""
    header, area = plan.header, plan.header.stored.area
    shrink = first_reduced(header) // 2 if plan.part is Part.REDUCED else 1
    decoding = _decoding(header, shrink, header.stored.height) + _needs(header, area)
    oriented = 0 if header.orientation == UPRIGHT else _RGB * area // shrink**2
    bytes_ = decoding.bytes + oriented + _tiles_bytes(area // shrink**2)
    if plan.part is Part.REDUCED:
        bytes_ += _tiles_bytes(area // shrink**2 // 4)  # encoded together with the level above it
    effort = decoding.effort + 5 * area // shrink**2
    if plan.part is Part.DETAIL and plan.lossless and _cuts(plan):
        held = _coefficient_bytes(header) * area
        cutting = held + held // passes(plan.grid) + _tiles_bytes(area)
        # The next level is made at the same time.
        beside = decoding.bytes + _RGB * area // 4
        return Cost(_ALWAYS + cutting + beside, effort + 2 * area * passes(plan.grid))
    if plan.part is Part.DETAIL and first_reduced(header) > 2:  # noqa: PLR2004
        # The half-size level needs a second decoder, before the first one has freed all memory.
        bytes_ += _ALWAYS
    return Cost(_ALWAYS + bytes_, effort)


def _cuts(plan: BuildPlan) -> bool:
    return cuts_losslessly(plan.header, plan.grid, plan.profile)


def _tiles_bytes(pixels: int) -> int:
    """Bytes of a level's encoded tiles, and of the pixels of the next level."""
    return pixels + pixels * _RGB // 4


def _of_jpegtran(header: ImageHeader, operations: PixelOperations) -> Cost:
    """Cost of a lossless crop: all coefficients are read; a turn copies the cropped ones."""
    each, whole, cut = (
        _coefficient_bytes(header),
        header.stored.area,
        operations.box.dimensions.area,
    )
    oriented = operations.orientation != UPRIGHT
    held = each * max(whole, 2 * cut if oriented else 0)
    return Cost(
        _ALWAYS + held + cut, 2 * whole + (5 if oriented else 2) * cut + header.needs.effort
    )


def _of_level(operations: PixelOperations, plan: RenderPlan) -> Cost:
    """Cost of a derivative from a level: all tiles that the box touches are decoded."""
    touched, made = operations.box.dimensions.area // operations.shrink**2, operations.size.area
    held = (1 + _RGB) * touched
    if max(touched, made) <= FEW_PIXELS:
        held += _COPIES * _RGB * (touched + made)
    return Cost(_ALWAYS + held, 2 * touched) + _working(
        plan.header, operations, plan.encoding, _RGB
    )


def _of_raster(header: ImageHeader, operations: PixelOperations, encoding: EncodingOptions) -> Cost:
    if header.tiles is not None:
        decoding = _tiled(header, operations)
    else:
        decoding = _decoding(header, operations.shrink, operations.box.y + operations.box.height)
    working = _working(header, operations, encoding, _bands(header))
    needs = _needs(header, operations.box.dimensions.area // operations.shrink**2)
    return Cost(_ALWAYS, 0) + needs + decoding + working


def _needs(header: ImageHeader, pixels: int) -> Cost:
    """What the decoder needs for a part of so many pixels."""
    needs = header.needs
    return Cost(needs.bytes + needs.part_bytes * pixels, needs.effort + needs.part_effort * pixels)


def _tiled(header: ImageHeader, operations: PixelOperations) -> Cost:
    """Cost of decoding the tiles of a level that the box touches, with rows of tiles in memory."""
    touched = operations.box.dimensions.area // operations.shrink**2
    held = _rows(header, header.stored, operations.shrink)
    return Cost(held, int(2 * _DECODERS[header.format].effort * touched))


def _decoding(header: ImageHeader, shrink: int, bottom: int) -> Cost:
    """Cost of decoding from the top to a row."""
    rate, stored = _DECODERS[header.format], header.stored
    whole = rate.bytes or (header.pixel_bytes if header.interleaved else 0)
    if header.reader is Reader.LIBHEIF:
        whole += _HEIF_ALPHA_BYTES * header.transparent
        whole *= 1 if header.bits <= 8 else 2.5  # noqa: PLR2004 - bits of a byte
    read = stored.area if whole else stored.width * bottom
    if header.format is OriginalFormat.JPEG:
        held = _coefficient_bytes(header) * stored.area if header.interleaved else 0
        return Cost(held + _rows(header, stored, shrink), int(rate.effort * read))
    if header.format is OriginalFormat.JPEG2000:
        read = stored.area // shrink**2
        held = _CODESTREAM * stored.area  # also if only a part is decoded
        return Cost(held + int(whole * read), int(rate.effort * read))
    held = int(whole * stored.area)
    return Cost(held + _rows(header, stored, 1), int(rate.effort * read))


def _rows(header: ImageHeader, stored: Dimensions, shrink: int) -> int:
    return min(_ROWS, stored.height) * stored.width // shrink * header.pixel_bytes


def _working(
    header: ImageHeader, operations: PixelOperations, encoding: EncodingOptions, bands: int
) -> Cost:
    """Cost of scaling, turning, rotating and encoding."""
    pixels, sample = operations.size.area, _sample_bytes(operations)
    oriented = bands * sample * pixels if operations.orientation != UPRIGHT else 0
    rotated, made = 0, pixels
    if operations.degrees:
        rotated, made = _RGBA * sample * pixels, 2 * pixels  # the maximum, at 45 degrees
    rate, each = _ENCODERS[operations.format], _encoded_bytes(header, operations, encoding, made)
    # Samples of 16 bits are scaled in floating point.
    scaling = _ROWS * max(operations.size.width, 1) * bands * sample**2
    effort = (rate.effort + (8 if operations.degrees else 1)) * made
    return Cost(int(oriented + rotated + each * made + scaling), int(effort))


def _encoded_bytes(
    header: ImageHeader, operations: PixelOperations, encoding: EncodingOptions, pixels: int
) -> float:
    """Bytes per pixel while an image of `pixels` is encoded."""
    each = _ENCODERS[operations.format].bytes
    if operations.format is Format.JPG:
        optimised = encoding.jpeg_optimize and pixels <= MAX_OPTIMISED_PIXELS
        if not (optimised or encoding.jpeg_progressive):
            each = _STREAMED_JPEG
        fine = encoding.jpeg_quality >= _FINE_CHROMA or header.full_chroma
        return each * (2 if fine else 1)
    if operations.format is Format.TIF and encoding.tiff_compression == "none":
        each = 7
    if operations.quality is Quality.BITONAL and operations.format in {Format.PNG, Format.TIF}:
        each = 0.5
    # The lowest bits are noise, which cannot be compressed.
    return each * (1 if operations.depth == 8 else _DEEP)  # noqa: PLR2004 - bits of a byte


def _sample_bytes(operations: PixelOperations) -> int:
    return 1 if operations.depth == 8 else 2  # noqa: PLR2004 - bits of a byte


def _bands(header: ImageHeader) -> int:
    if header.colour is Colour.GRAY:
        return 2 if header.transparent else 1
    return _RGBA if header.transparent else _RGB


def _coefficient_bytes(header: ImageHeader) -> int:
    return header.jpeg.coefficient_bytes if header.jpeg is not None else 0
