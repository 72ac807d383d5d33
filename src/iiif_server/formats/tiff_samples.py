"""TIFF samples: colour, depth and decoder of a directory's pixels.

TIFF 6.0, sections 4 to 7, 16, 18 and 20 to 23; Adobe's TIFF Technical Notes; ICC.1, annex B.
"""

from dataclasses import replace

from iiif_server.formats.bounded_file import BoundedFile
from iiif_server.formats.tiff import TABLES, Directory, Tag, tiles_exceed_image
from iiif_server.plan.extents import BytesMissingError
from iiif_server.plan.header import Colour, ImageHeader, Needs, Profile, Reader
from iiif_server.plan.orientation import FROM_EXIF, UPRIGHT
from iiif_server.plan.original_format import OriginalFormat
from iiif_server.plan.stored_tiles import StoredTiles

_MIN_IS_WHITE, _MIN_IS_BLACK, _RGB, _PALETTE, _MASK, _INKS, _YCBCR = range(7)
_CIE_LAB, _ICC_LAB, _ITU_LAB = 8, 9, 10
_LOG_L, _LOG_LUV = 32_844, 32_845
_COLOURS = {
    _MIN_IS_WHITE: 1, _MIN_IS_BLACK: 1, _RGB: 3, _PALETTE: 1, _MASK: 1, _INKS: 4, _YCBCR: 3,
    _CIE_LAB: 3, _ICC_LAB: 3, _ITU_LAB: 3, _LOG_L: 1, _LOG_LUV: 3,
}  # fmt: skip
"""Colour samples per pixel, by PhotometricInterpretation."""
_GRAY = frozenset({_MIN_IS_WHITE, _MIN_IS_BLACK, _MASK, _LOG_L})
_LAB = frozenset({_CIE_LAB, _ICC_LAB, _ITU_LAB})
_ALPHA = frozenset({1, 2})
"""ExtraSamples: associated (1) and unassociated (2) alpha. 0 is unspecified."""
_JPEG, _NONE, _SEPARATE, _UNSIGNED = 7, 1, 2, 1
_OLD_JPEG, _START_OF_IMAGE = 6, b"\xff\xd8"
_BY_LIBVIPS = frozenset({1, 2, 3, 4, 5, 7, 8, 32_773, 32_946, 50_001})
"""Compressions that the libvips wheel decodes: none, CCITT (2, 3, 4), LZW, JPEG, deflate (two
numbers), PackBits, WebP."""
_BY_ARRAYS = frozenset({1, 2, 3, 4, 5, 6, 7, 8, 32_773, 32_946, 50_001}) | frozenset(
    {33_003, 33_005, 34_712, 34_925, 50_000}
)
"""Compressions that imagecodecs decodes: those, old-style JPEG, JPEG 2000 (three numbers), LZMA,
Zstandard."""
_RARE = frozenset({34_887, 50_002, 52_546})
"""Compressions that need `limits.rare`: LERC, JPEG XL, and JPEG XL in DNG."""
_LOGARITHMIC = {(_LOG_L, 34_676), (_LOG_LUV, 34_676), (_LOG_LUV, 34_677)}
"""LogL and LogLuv: valid pairs of photometric interpretation and compression."""
_LOG_SAMPLE_BYTES = 4
"""Bytes of a decoded LogL or LogLuv sample."""
_DEPTHS = {_RGB: {8, 16}, _INKS: {8, 16}, _YCBCR: {8}, _PALETTE: {1, 2, 4, 8}}
_GRAY_DEPTHS = {1, 2, 4, 8, 16}
_SIGNED, _RESOLUTION_UNITS = 10, frozenset({1, 2, 3})
"""Tag type SRATIONAL; valid values of ResolutionUnit."""
_TILE_UNIT = 16
"""Divisor of the sides of tiles (TIFF 6.0, section 15). libvips refuses other sides."""
_EFFORT, _COMPUTED_EFFORT = 12, 130
"""Effort of a pixel, and of one of Lab or of logarithmic light."""
_EFFORT_PER_SEGMENT = 1500
"""Effort of reading a strip or tile (6 us), in pixels of a JPEG decoder."""


def header_of(
    file: BoundedFile, ifd: Directory, needs: Needs, tiles: StoredTiles | None, *, partial: bool
) -> ImageHeader:
    """Return the header of the image in a directory, without its ICC profile.

    Raises OriginalRefusedError with what is not supported.
    """
    photometric = ifd.value(Tag.PHOTOMETRIC, _MIN_IS_BLACK)
    bits = ifd.values(Tag.BITS) or (1,)
    bands, transparent = _shown_bands(file, ifd, photometric)
    logarithmic = photometric in {_LOG_L, _LOG_LUV}
    depth = 16 if logarithmic else max(bits)
    pixel_bytes = ifd.value(Tag.SAMPLES, 1) * (_LOG_SAMPLE_BYTES if logarithmic else -(-depth // 8))
    by_libvips = not partial and _is_for_libvips(ifd, photometric, bits)
    reader = Reader.LIBVIPS if by_libvips else Reader.ARRAYS
    if reader is Reader.ARRAYS:
        needs = _needs_of_arrays(ifd, needs, pixel_bytes, bands, transparent=transparent)
    return ImageHeader(
        format=OriginalFormat.TIFF,
        stored=ifd.dimensions,
        orientation=FROM_EXIF.get(ifd.value(Tag.ORIENTATION, 1), UPRIGHT),
        colour=_colour(photometric),
        transparent=transparent,
        profile=Profile.NONE,
        profile_bytes=0,
        max_shrink=tiles.last_contiguous if tiles else 1,
        tiles=tiles,
        pixel_bytes=pixel_bytes,
        needs=needs,
        directory=ifd.offset,
        # libvips gives the colours of a palette and not its one sample.
        bands=() if photometric == _PALETTE and reader is Reader.LIBVIPS else bands,
        reader=reader,
        bits=depth,
    )


def _needs_of_arrays(
    ifd: Directory, needs: Needs, pixel_bytes: int, bands: tuple[int, ...], *, transparent: bool
) -> Needs:
    """Return the needs of a part, and of the strip or tile that is decoded for it."""
    size, segments = ifd.dimensions, max(map(ifd.count, TABLES))
    rows = min(ifd.value(Tag.ROWS, size.height), size.height)
    segment = ifd.tile.area if Tag.TILES in ifd.tags else size.width * rows
    decoded = 2 * pixel_bytes * segment
    # Samples are there as decoded, as chosen, and twice as colours; alpha is split and joined.
    colours = 2 * len(bands) * (1 if pixel_bytes <= ifd.value(Tag.SAMPLES, 1) else 2)
    shown = pixel_bytes * (2 + transparent) + colours
    computed = ifd.value(Tag.PHOTOMETRIC, _MIN_IS_BLACK) in _LAB | {_LOG_L, _LOG_LUV}
    return replace(
        needs,
        bytes=needs.bytes + decoded,
        effort=needs.effort + segments * _EFFORT_PER_SEGMENT,
        # The segment is free again when colours are made of a whole image.
        part_bytes=max(pixel_bytes, shown - decoded // size.area),
        part_effort=_COMPUTED_EFFORT if computed else _EFFORT,
    )


def _shown_bands(
    file: BoundedFile, ifd: Directory, photometric: int
) -> tuple[tuple[int, ...], bool]:
    """Return the number of shown samples, and whether the last one is alpha."""
    colours, samples = _COLOURS.get(photometric, 0), ifd.value(Tag.SAMPLES, 1)
    compression = ifd.value(Tag.COMPRESSION, 1)
    if file.bounds.rare and (photometric, compression) in _LOGARITHMIC:
        if samples != colours or ifd.value(Tag.PLANES, 1) == _SEPARATE:
            raise file.unsupported("has LogLuv samples and extra samples")
        return (*range(colours),), False
    if not colours or photometric in {_LOG_L, _LOG_LUV}:
        raise file.unsupported(f"has samples of the photometric interpretation {photometric}")
    if compression not in (_BY_ARRAYS | _RARE if file.bounds.rare else _BY_ARRAYS):
        raise file.unsupported(f"is compressed by method {compression}")
    if compression == _OLD_JPEG and not _has_whole_jpegs(file, ifd):
        raise file.unsupported("stores parts of a JPEG (compression 6), not whole ones")
    if samples < colours:
        raise file.damaged("it has too few samples for its colours")
    extra = ifd.values(Tag.EXTRA_SAMPLES, samples)[: samples - colours]
    alpha = next((colours + at for at, kind in enumerate(extra) if kind in _ALPHA), None)
    return (*range(colours), *(() if alpha is None else (alpha,))), alpha is not None


def _has_whole_jpegs(file: BoundedFile, ifd: Directory) -> bool:
    """Whether the first strip or tile starts a JPEG of its own, as all have to for the decoder."""
    first = ifd.value(Tag.TILES) or ifd.value(Tag.STRIPS)
    return not first or file.read_at(first, len(_START_OF_IMAGE)) == _START_OF_IMAGE


def _colour(photometric: int) -> Colour:
    if photometric in _GRAY:
        return Colour.GRAY
    return Colour.OTHER if photometric in _LAB | {_INKS} else Colour.RGB


def _is_for_libvips(ifd: Directory, photometric: int, bits: tuple[int, ...]) -> bool:
    """Whether libvips decodes these samples correctly."""
    compression = ifd.value(Tag.COMPRESSION, 1)
    depths = _DEPTHS.get(photometric, _GRAY_DEPTHS)
    return (
        compression in _BY_LIBVIPS
        and photometric not in _LAB
        # libvips inverts them; then their range would be that of other numbers than the file has.
        and (photometric != _MIN_IS_WHITE or bits[0] <= 8)  # noqa: PLR2004 - bits of a byte
        and (photometric != _PALETTE or ifd.value(Tag.SAMPLES, 1) == 1)
        and (photometric != _YCBCR or compression == _JPEG)
        and (compression != _JPEG or bits[0] == 8)  # noqa: PLR2004 - more are lossless
        and len(set(bits)) == 1
        and bits[0] in depths
        and (bits[0] >= 8 or ifd.value(Tag.SAMPLES, 1) == 1)  # noqa: PLR2004 - bits of a byte
        # Of inks with names, libvips does not know that they are CMYK.
        and (photometric != _INKS or ifd.value(Tag.INK_SET, 1) == 1)
        and set(ifd.values(Tag.SAMPLE_FORMAT) or (_UNSIGNED,)) == {_UNSIGNED}
        and ifd.value(Tag.PLANES, 1) != _SEPARATE
        and ifd.value(Tag.ORIENTATION, 1) in FROM_EXIF
        and ifd.tile.width % _TILE_UNIT == ifd.tile.height % _TILE_UNIT == 0
        and not tiles_exceed_image(ifd.tile, ifd.dimensions)
        and not _is_sparse(ifd)
        and _has_sound_resolution(ifd)
    )


def _has_sound_resolution(ifd: Directory) -> bool:
    """Whether libtiff accepts the resolution; otherwise it refuses the whole image."""
    tags = [tag for tag in (Tag.X_RESOLUTION, Tag.Y_RESOLUTION) if tag in ifd.tags]
    sound = all(ifd.tags[tag].type != _SIGNED and ifd.fraction(tag) >= 0 for tag in tags)
    return sound and ifd.value(Tag.RESOLUTION_UNIT, 2) in _RESOLUTION_UNITS


def _is_sparse(ifd: Directory) -> bool:
    """Whether the file is sparse: strips or tiles are left out, as GDAL does.

    Only offsets count: some writers omit the lengths, and libtiff computes them.
    """
    try:
        return any(ifd.has_zero(table) for table in (Tag.STRIPS, Tag.TILES))
    except BytesMissingError:  # of a partly downloaded file: the table would cost more requests
        return False
