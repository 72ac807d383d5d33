"""Tile tables of tiled TIFFs, also of partly downloaded files."""

import os
from collections.abc import Iterator, Mapping, Sequence

from iiif_server.errors import OriginalRefusedError, PageNotFoundError
from iiif_server.formats.bounded_file import MAX_BLOCK_BYTES, BoundedFile, Inspection
from iiif_server.formats.inspection import inspect
from iiif_server.formats.jpeg_segments import icc_segments_of
from iiif_server.formats.present_file import PresentFile
from iiif_server.formats.tiff import (
    TABLES,
    Directory,
    Tag,
    levels_of,
    tile_table,
)
from iiif_server.formats.tiff_pages import directories
from iiif_server.plan.extents import BytesMissingError, Extent, PartialResult
from iiif_server.plan.local_file import LocalFile
from iiif_server.plan.original_format import OriginalFormat
from iiif_server.plan.stored_tiles import TileTable

_BASELINE = range(254, 400)
"""Tags that describe the pixels of a level."""


def read_tile_tables(
    original: LocalFile, descriptor: int | None = None, *, keep_profile: bool, page: int = 1
) -> Mapping[int, TileTable]:
    """Return the sound tile tables of a page of a tiled TIFF, by scale factor.

    The file is read by a descriptor if one is given. Raises OriginalChangedError where another
    version of the file, or none, is at the path.
    """
    with os.fdopen(original.open(descriptor), "rb") as opened:
        file = BoundedFile(opened, OriginalFormat.TIFF)
        try:
            found = levels_of(directories(file, page))
            profile = found[0][1].data(Tag.ICC_PROFILE) if found and keep_profile else b""
            icc = b"".join(icc_segments_of(profile))
            tables = {level.scale_factor: tile_table(file, level, ifd, icc) for level, ifd in found}
        except (OriginalRefusedError, PageNotFoundError):
            return {}
    return {factor: table for factor, table in tables.items() if table is not None}


def inspect_partial(file: PresentFile, bounded: BoundedFile) -> Inspection:
    """Inspect a partly downloaded TIFF without its tile tables, so that its header can be read.

    Raises BytesMissingError, for all of the file if it is not a tiled TIFF.
    """
    if bounded.format is OriginalFormat.TIFF:
        page = directories(bounded, bounded.page)
        others = (extent for ifd in page.all[1:] for extent in _value_extents(ifd, _BASELINE))
        file.require([*_value_extents(page.main), *others])
        inspected = inspect(bounded)
        if inspected.header is not None and inspected.header.tiles is not None:
            file.ignore(_table_extents(page.main))
            return inspected
    file.require([(0, bounded.size)])
    return inspect(bounded)


def read_partial_tile_tables(
    original: LocalFile,
    descriptor: int | None = None,
    *,
    present: Sequence[Extent],
    scale_factor: int,
    keep_profile: bool,
    decoder: bool,
    page: int = 1,
) -> PartialResult[Mapping[int, TileTable]]:
    """Return the sound tile table of one level, or the extents that are missing for it.

    With `decoder`, the extents include all that a decoder reads before the first tile of the level.
    Raises OriginalChangedError.
    """
    with PresentFile(original.open(descriptor), present) as file:
        bounded = BoundedFile(file, OriginalFormat.TIFF)
        try:
            found = levels_of(directories(bounded, page))
            chosen = [pair for pair in found if pair[0].scale_factor == scale_factor]
            if not chosen:
                return PartialResult({})
            base, (level, ifd) = found[0][1], chosen[0]
            file.require((*_table_extents(ifd), *_value_extents(ifd)))
            if decoder:
                # libtiff compares the subsampling of the first JPEG with the directory.
                file.require(_first_tile(ifd))
            profile = base.data(Tag.ICC_PROFILE) if keep_profile else b""
            table = tile_table(bounded, level, ifd, b"".join(icc_segments_of(profile)))
        except BytesMissingError as error:
            return PartialResult(None, error.extents)
        except (OriginalRefusedError, PageNotFoundError):
            return PartialResult({})
    return PartialResult({} if table is None else {scale_factor: table})


def _first_tile(ifd: Directory) -> Iterator[Extent]:
    for offset, length in zip(
        ifd.values(Tag.TILES, 1), ifd.values(Tag.TILE_BYTES, 1), strict=False
    ):
        yield offset, offset + min(length, MAX_BLOCK_BYTES)


def _table_extents(ifd: Directory) -> list[Extent]:
    return [extent for tag in TABLES if (extent := ifd.extent(tag)) is not None]


def _value_extents(ifd: Directory, tags: range | None = None) -> list[Extent]:
    """Return the extents of values of a directory, without tile tables; of some tags or all."""
    return [
        extent
        for tag in ifd.tags
        if tag not in TABLES and (tags is None or tag in tags)
        if (extent := ifd.extent(tag)) is not None
    ]
