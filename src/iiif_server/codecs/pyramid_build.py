"""Building of pyramid parts, in worker processes."""

import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice

from iiif_server.codecs import jpegtran
from iiif_server.codecs.decode import decode_upright, decoding_items
from iiif_server.codecs.encode import encode_tiles
from iiif_server.codecs.labels import embed_description
from iiif_server.codecs.open_originals import OpenOriginal
from iiif_server.codecs.pixel_buffer import Pixels
from iiif_server.codecs.resample import shift, shrink_by_two
from iiif_server.errors import NotKeptError
from iiif_server.formats.pyramid_file import write_part
from iiif_server.iiif.formats import Format
from iiif_server.iiif.geometry import Box, Dimensions
from iiif_server.plan.build_plan import BuildPlan, cuts_losslessly, first_reduced, passes
from iiif_server.plan.description import describe_tile
from iiif_server.plan.grid import Part, Tile
from iiif_server.plan.render_plan import ProfileAction

_THOROUGH_FROM = 8
"""First scale factor with optimised JPEG encoding: every first view loads these tiles, and they
have a 48th of the pixels of the image."""


def build(plan: BuildPlan, original: OpenOriginal) -> int:
    """Write a part to the plan's target; return its bytes.

    Raises DamagedOriginalError, or NotKeptError if the disk refuses.
    """
    levels = _reduced_levels if plan.part is Part.REDUCED else _detail_levels
    try:
        tiles = _with_descriptions(plan, levels(plan, original))
        write_part(plan.target, decoding_items(plan.header, tiles), plan.grid)
        return plan.target.stat().st_size
    except OSError as error:
        cause = OSError(error.errno, error.strerror)  # without a path
        raise NotKeptError("The pyramid of this image could not be stored.", cause) from error


def _with_descriptions(
    plan: BuildPlan, tiles: Iterator[tuple[Tile, bytes]]
) -> Iterator[tuple[Tile, bytes]]:
    for tile, data in tiles:
        description = describe_tile(plan.header, plan.grid, tile)
        yield tile, b"".join(embed_description(data, Format.JPG, description))


def _reduced_levels(plan: BuildPlan, original: OpenOriginal) -> Iterator[tuple[Tile, bytes]]:
    """Yield the tiles from `first_reduced` down to one tile; each level is half of the one before.

    Two threads encode: the first level has three quarters of the pixels, and the levels from
    `_THOROUGH_FROM` down take about as long.
    """
    first = first_reduced(plan.header)
    pixels = _decode(plan, original, first // 2)
    with ThreadPoolExecutor(max_workers=2) as executor:
        encoding = []
        for scale_factor in plan.grid.scale_factors:
            if scale_factor >= first:
                pixels = _half_size(pixels)
                encoding.append(
                    (scale_factor, executor.submit(_encode_level, plan, scale_factor, pixels))
                )
        for scale_factor, archive in encoding:
            yield from _read_tiles(plan, scale_factor, archive.result())


def _detail_levels(plan: BuildPlan, original: OpenOriginal) -> Iterator[tuple[Tile, bytes]]:
    """Yield the tiles at full resolution, and at half resolution if the reduced part lacks them."""
    half_factors = [
        factor for factor in plan.grid.scale_factors[1:2] if factor < first_reduced(plan.header)
    ]
    if plan.lossless and cuts_losslessly(plan.header, plan.grid, plan.profile):
        # jpegtran and the decoder use a core each, and read the file independently.
        with ThreadPoolExecutor(max_workers=1) as executor:
            half = executor.submit(_half_level, plan, original) if half_factors else None
            yield from _lossless_tiles(plan, original)
            if half is not None:
                yield from _read_tiles(plan, half_factors[0], half.result())
        return
    yield from _encoded_tiles(plan, original)
    if half_factors:
        yield from _read_tiles(plan, half_factors[0], _half_level(plan, original))


def _lossless_tiles(plan: BuildPlan, original: OpenOriginal) -> Iterator[tuple[Tile, bytes]]:
    """Yield full-resolution tiles as lossless crops, until one fails.

    Where a pass fails, the tiles that are not yet written are encoded from pixels.
    """
    count = 0
    try:
        for tile in _lossless_crops(plan, original):
            count += 1
            yield tile
    except jpegtran.LosslessFailedError:
        yield from islice(_encoded_tiles(plan, original), count, None)


def _encoded_tiles(plan: BuildPlan, original: OpenOriginal) -> Iterator[tuple[Tile, bytes]]:
    """Yield the full-resolution tiles, encoded from pixels."""
    pixels = _decode(plan, original, 1)
    side, chroma = plan.grid.tile.width, plan.header.full_chroma
    return _read_tiles(plan, 1, encode_tiles(pixels, side, plan.full_quality, full_chroma=chroma))


def _half_level(plan: BuildPlan, original: OpenOriginal) -> zipfile.ZipFile:
    """Encode the tiles at half resolution."""
    return _encode_level(plan, 2, _half_size(_decode(plan, original, 1)))


def _decode(plan: BuildPlan, original: OpenOriginal, shrink: int) -> Pixels:
    """Decode the whole image, reduced by `shrink`, with sides rounded up.

    Decoders of JPEG leave out a last row or column that is not whole, at the end of the stored
    pixels; the one before stands for it.
    """
    header = plan.header
    pixels = decode_upright(original.descriptor, header, plan.profile, shrink)
    stored = header.orientation.inverse.apply(Dimensions(pixels.width, pixels.height))
    decoded = Box(0, 0, stored.width * shrink, stored.height * shrink)
    at = header.orientation.apply_to_box(decoded, header.stored)
    return _extend(pixels, at.x / shrink, at.y / shrink, header.dimensions.reduced(shrink))


def _half_size(pixels: Pixels) -> Pixels:
    """Halve the pixels by averaging four; an odd last row or column counts twice.

    libvips alone would round an odd side and put half of what that adds at either end, which moves
    the picture by a quarter of a pixel a level.
    """
    even = Dimensions(pixels.width + pixels.width % 2, pixels.height + pixels.height % 2)
    return shrink_by_two(_extend(pixels, 0, 0, even))


def _extend(pixels: Pixels, x: float, y: float, size: Dimensions) -> Pixels:
    """Extend the pixels to this size by repeating their edges."""
    if (x, y) == (0, 0):
        if (pixels.width, pixels.height) == (size.width, size.height):
            return pixels
        return pixels.embed(0, 0, size.width, size.height, extend="copy")
    # Between two pixels: after a turn, the partial row or column is at the beginning.
    extended = pixels.embed(1, 1, pixels.width + 2, pixels.height + 2, extend="copy")
    return shift(extended, x - 1, y - 1, size)


def _lossless_crops(plan: BuildPlan, original: OpenOriginal) -> Iterator[tuple[Tile, bytes]]:
    """Yield the full-resolution tiles as lossless crops of the original."""
    tiles = list(plan.grid.tiles(1))
    batch = -(-len(tiles) // passes(plan.grid))
    keep_profile = plan.profile is ProfileAction.KEEP
    for start in range(0, len(tiles), batch):
        selected = tiles[start : start + batch]
        boxes = [box for _, box in selected]
        pieces = jpegtran.split(
            original.bytes,
            boxes,
            keep_profile=keep_profile,
            generated_profile=plan.header.generated_profile,
        )
        for (tile, _), data in zip(selected, pieces, strict=True):
            yield tile, data


def _encode_level(plan: BuildPlan, scale_factor: int, level: Pixels) -> zipfile.ZipFile:
    """Encode the tiles of a reduced level."""
    side, thorough = plan.grid.tile.width, scale_factor >= _THOROUGH_FROM
    chroma = plan.header.full_chroma
    return encode_tiles(level, side, plan.reduced_quality, full_chroma=chroma, thorough=thorough)


def _read_tiles(
    plan: BuildPlan, scale_factor: int, archive: zipfile.ZipFile
) -> Iterator[tuple[Tile, bytes]]:
    with archive:
        for tile, _ in plan.grid.tiles(scale_factor):
            yield tile, archive.read(f"tiles_files/0/{tile.column}_{tile.row}.jpg")
