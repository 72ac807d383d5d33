"""TIFF inspection: limits that apply before decoding."""

from collections.abc import Sequence
from dataclasses import replace
from math import prod
from sys import maxsize

from iiif_server.formats.bounded_file import (
    MAX_BLOCK_BYTES,
    MAX_CREDITS_BYTES,
    BoundedFile,
    Inspection,
)
from iiif_server.formats.credits import ARTIST, COPYRIGHT
from iiif_server.formats.tiff import (
    MAX_SEGMENTS,
    TABLES,
    Directory,
    Tag,
    levels_of,
    number_of_tiles,
    stored_tiles,
)
from iiif_server.formats.tiff_pages import directories
from iiif_server.formats.tiff_samples import header_of
from iiif_server.iiif.geometry import Dimensions
from iiif_server.plan.extents import BytesMissingError
from iiif_server.plan.header import Needs

_BYTES_PER_SEGMENT = 32
"""Bytes of memory that a decoder holds per strip or tile."""
MAX_SEGMENT_BYTES = 256 << 20
"""Decompressed bytes of one strip or tile, which decoders hold in memory."""
_MAX_TAG_BYTES = 512 << 20
"""Bytes of all directory values; some programs store whole documents in private tags."""
MAX_SAMPLES = 8
_MAX_BITS = 64
_SEPARATE = 2
_INCHES = {2: 1.0, 3: 2.54}
"""ResolutionUnit: inch and centimetre."""
_INTEGER_TAGS = (Tag.WIDTH, Tag.HEIGHT, Tag.BITS, Tag.COMPRESSION, Tag.PHOTOMETRIC, Tag.SAMPLES,
          Tag.ROWS, Tag.PLANES, Tag.TILE_WIDTH, Tag.TILE_HEIGHT, Tag.SAMPLE_FORMAT)  # fmt: skip
"""Tags with integer values."""
_BLOCKS: dict[int, str] = {
    Tag.XMP: "its XMP block",
    Tag.IPTC: "its IPTC block",
    Tag.ICC_PROFILE: "its ICC profile",
}


def inspect(file: BoundedFile) -> Inspection:
    """Refuse a TIFF above the limits of pixels, pages, strips or tags; return its tiled levels."""
    page = directories(file, file.page)
    first = page.main
    _check_samples(file, first)
    segments = _check_segments(file, first)
    check_tags(file, page.all)
    tiles = stored_tiles(levels_of(page))
    needs = Needs(bytes=_BYTES_PER_SEGMENT * segments)
    partial = _is_truncated(file, first) and file.accept_truncated("its strips or tiles do")
    header = header_of(file, first, needs, tiles, partial=partial)
    return Inspection(
        needs,
        header=replace(header, pages=page.pages, resolution=_resolution(first)),
        profile=first.data(Tag.ICC_PROFILE),
        partial=partial,
        xmp=first.data(Tag.XMP, MAX_CREDITS_BYTES),
        iptc=first.data(Tag.IPTC, MAX_CREDITS_BYTES),
        texts={tag: first.data(tag, MAX_CREDITS_BYTES) for tag in (ARTIST, COPYRIGHT)},
    )


def _resolution(directory: Directory) -> tuple[float, float] | None:
    inches = _INCHES.get(directory.value(Tag.RESOLUTION_UNIT, 2))
    across, down = (directory.fraction(tag) for tag in (Tag.X_RESOLUTION, Tag.Y_RESOLUTION))
    return (inches * across, inches * down) if inches else None


def _is_truncated(file: BoundedFile, directory: Directory) -> bool:
    """Whether the file ends before the last strip or tile of a directory."""
    tiled = Tag.TILES in directory.tags
    try:
        offsets = directory.table(Tag.TILES if tiled else Tag.STRIPS)
        lengths = directory.table(Tag.TILE_BYTES if tiled else Tag.STRIP_BYTES)
    except BytesMissingError:  # of a partly downloaded file: the tables would cost more requests
        return False
    if max(offsets, default=0) + max(lengths, default=0) <= file.size:
        return False
    pairs = zip(offsets, lengths, strict=False)
    return any(
        length and offset + min(length, _needed_bytes(directory, index)) > file.size
        for index, (offset, length) in enumerate(pairs)
    )


def _needed_bytes(directory: Directory, index: int) -> int:
    """Return the bytes that a strip or tile needs, whatever StripByteCounts says.

    Some writers state too large lengths for uncompressed strips, even beyond the file.
    """
    if directory.value(Tag.COMPRESSION, 1) != 1 or Tag.TILES in directory.tags:
        return maxsize
    size = directory.dimensions
    rows = max(1, min(directory.value(Tag.ROWS, size.height), size.height))
    top = index % -(-size.height // rows) * rows
    separate = directory.value(Tag.PLANES, 1) == _SEPARATE
    samples = 1 if separate else directory.value(Tag.SAMPLES, 1)
    bits = size.width * samples * directory.value(Tag.BITS, 1)
    return -(-bits // 8) * min(rows, size.height - top)


def check_tags(file: BoundedFile, read: Sequence[Directory]) -> None:
    """Refuse directories with too many values in total."""
    total = segments = 0
    for directory in read:
        for number, entry in directory.tags.items():
            if entry.length > file.size:
                continue  # decoders notice that this is impossible
            total += entry.length
            if number in _BLOCKS:
                file.check(entry.length, MAX_BLOCK_BYTES, f"bytes in {_BLOCKS[number]}")
        segments += max(directory.count(table) for table in TABLES)
    file.check(total, _MAX_TAG_BYTES, "bytes of metadata")
    file.check(segments, 2 * MAX_SEGMENTS, "strips or tiles in all directories")


def _check_samples(file: BoundedFile, directory: Directory) -> None:
    file.check_size(directory.dimensions.width, directory.dimensions.height)
    for tag in _INTEGER_TAGS:
        # Decoders take numbers of other types, too, and would see another image.
        if tag in directory.tags and not directory.values(tag, 1):
            raise file.damaged("tags of its size or samples are not integers")
    samples = directory.value(Tag.SAMPLES, 1)
    file.check(samples, MAX_SAMPLES, "samples per pixel")
    if samples < 1 or not 1 <= directory.value(Tag.BITS, 1) <= _MAX_BITS:
        raise file.damaged("it has no samples")


def _check_segments(file: BoundedFile, directory: Directory) -> int:
    """Refuse too many or too large strips or tiles, or none.

    Returns their number, which is that of the longest table.
    """
    whole = directory.dimensions
    samples, bits = directory.value(Tag.SAMPLES, 1), directory.value(Tag.BITS, 1)
    separate = directory.value(Tag.PLANES, 1) == _SEPARATE
    tiled = Tag.TILE_WIDTH in directory.tags or Tag.TILES in directory.tags
    if tiled:
        segment = directory.tile.width, directory.tile.height
    else:
        segment = whole.width, min(directory.value(Tag.ROWS, whole.height), whole.height)
    if min(segment) < 1:
        raise file.damaged("its strips or tiles have no pixels")
    segments = number_of_tiles(whole, Dimensions(*segment)) * (samples if separate else 1)
    most = max(segments, *(directory.count(table) for table in TABLES))
    file.check(most, MAX_SEGMENTS, "strips or tiles")
    if tiled:
        decompressed = prod(segment) * bits * (1 if separate else samples) // 8
        file.check(decompressed, MAX_SEGMENT_BYTES, "bytes in one tile")
    if directory.count(Tag.TILES if tiled else Tag.STRIPS) < segments:
        raise file.damaged("its table of strips or tiles is too short")
    return most
