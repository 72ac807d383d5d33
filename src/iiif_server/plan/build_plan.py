"""Build plan of one pyramid part: its levels and the source of its tiles. Pure."""

from dataclasses import dataclass
from pathlib import Path

from iiif_server.plan.grid import Grid, Part
from iiif_server.plan.header import ImageHeader
from iiif_server.plan.local_file import LocalFile
from iiif_server.plan.orientation import UPRIGHT
from iiif_server.plan.original_format import OriginalFormat
from iiif_server.plan.render_plan import ProfileAction
from iiif_server.plan.stored_grid import stored_grid

_REDUCE_WHILE_DECODING = 2
"""Reduction while decoding for the reduced part, if the decoder supports it. The decoded image has
at least twice the size of the first level; Lanczos scaling does the rest."""
_DECODED_WHOLE = 50_000_000
"""Pixels of a JPEG up to which the reduced part starts from a full decode, so that it has the level
at half size: viewers show that first or after one step in, and it should not wait for the
full-resolution tiles. A decode at half size would save 0.15 s at 50 megapixels."""
_COEFFICIENT_BYTES = 6
"""Bytes per pixel for lossless crops of a JPEG: 3 for the coefficients of a 4:2:0 image, and 3 for
those that are cropped in one pass."""
_BYTES_A_PIXEL = 0.4
"""Estimated bytes per pixel of a tile."""
_MAX_COEFFICIENT_BYTES = 1_500_000_000
"""Bytes of coefficients above which tiles are cropped in several passes."""


@dataclass(frozen=True, slots=True)
class BuildPlan:
    """Build plan: a job for a worker that builds one part of one pyramid."""

    original: LocalFile
    header: ImageHeader
    part: Part
    grid: Grid
    profile: ProfileAction
    lossless: bool
    """Whether a TurboJPEG library is available."""
    reduced_quality: int
    """JPEG quality of the reduced levels."""
    full_quality: int
    """JPEG quality of full-resolution tiles that cannot be the original's own coefficients."""
    target: Path


def first_reduced(header: ImageHeader) -> int:
    """Return the first scale factor of the reduced part; the detail part has those below it."""
    if stored_grid(header) is not None:
        return 2 * header.max_shrink  # the original has the larger levels itself
    if header.format is OriginalFormat.JPEG and header.stored.area <= _DECODED_WHOLE:
        return 2
    thinnest = min(header.stored.width, header.stored.height)  # a decoder keeps at least one pixel
    return 2 * min(_REDUCE_WHILE_DECODING, header.max_shrink, thinnest)


def part_of(header: ImageHeader, scale_factor: int) -> Part:
    """Return the part that contains the level of a scale factor."""
    return Part.REDUCED if scale_factor >= first_reduced(header) else Part.DETAIL


def expected_length(header: ImageHeader, part: Part, original: int) -> int:
    """Estimate the bytes of a part from those of the original."""
    pixels, first = header.dimensions.area, first_reduced(header)
    if part is Part.REDUCED:
        # Each level has a quarter of the pixels of the level before it.
        return int(pixels / first**2 * 4 / 3 * _BYTES_A_PIXEL)
    own = original if header.jpeg is not None else int(pixels * _BYTES_A_PIXEL)
    half = int(pixels / 4 * _BYTES_A_PIXEL) if first > 2 else 0  # noqa: PLR2004
    return own + half


def cuts_losslessly(header: ImageHeader, grid: Grid, profile: ProfileAction) -> bool:
    """Whether full-resolution tiles can be the original's own coefficients."""
    return (
        header.jpeg is not None
        and header.jpeg.plain
        and header.jpeg.complete
        and header.jpeg.mcu is not None
        and grid.tile.width % header.jpeg.mcu.width == 0
        and grid.tile.height % header.jpeg.mcu.height == 0
        and header.orientation == UPRIGHT
        and profile is not ProfileAction.CONVERT
    )


def passes(grid: Grid) -> int:
    """Return the number of passes over a JPEG that crop all full-resolution tiles."""
    return -(-grid.dimensions.area * _COEFFICIENT_BYTES // _MAX_COEFFICIENT_BYTES)
