"""AVIF and HEIF inspection: boxes of items and sequences (ISO 23008-12), without decoding."""

from collections.abc import Iterator

from iiif_server.formats.bounded_file import (
    MAX_METADATA_BYTES,
    BoundedFile,
    Inspection,
    truncated_error,
)
from iiif_server.formats.colour_tags import UNSPECIFIED, ColourTags
from iiif_server.formats.iso_boxes import Box, boxes
from iiif_server.plan.header import Needs

MAX_ITEMS = 2_000
_UNSPECIFIED_FULL_RANGE = b"colrnclx\0\2\0\2\0\2\x80"
_DEFAULT_FULL_RANGE = b"colrnclx\0\2\0\2\0\6\x80"
"""With the matrix of BT.601, which decoders use where none is specified."""
_FULL_BOX_HEADER = 4
"""Bytes of version and flags at the start of a full box."""
_CONTAINERS = frozenset({b"iprp", b"ipco", b"moov", b"trak", b"mdia", b"minf", b"stbl"})
_MAX_DEPTH = 8


def with_default_matrix(data: bytes) -> bytes:
    """Return an AVIF or HEIF in which unspecified code points with full range name a matrix.

    libheif ignores a box of unspecified code points, and its full range with it.
    """
    return data.replace(_UNSPECIFIED_FULL_RANGE, _DEFAULT_FULL_RANGE)


def inspect(file: BoundedFile) -> Inspection:
    """Refuse an AVIF or HEIF with too many pixels, items or frames, or too much metadata."""
    file.check_fits_in_memory()
    colours: list[ColourTags | None] = []
    for box in boxes(file, 0, file.size):
        if box.truncated:
            raise truncated_error(file.format, "its boxes do")
        if box.name == b"meta":
            file.check(box.end - box.offset, MAX_METADATA_BYTES, "bytes of metadata")
            _check_boxes(file, Box(box.name, box.offset + _FULL_BOX_HEADER, box.end), 1, colours)
        elif box.name == b"moov":
            file.check(box.end - box.offset, MAX_METADATA_BYTES, "bytes of metadata")
            _check_boxes(file, box, 1, colours)
    # Of an ICC profile and code points the profile counts (ISO 23000-22, 7.3.6.4).
    tags = None if None in colours else next(iter(colours), None)
    return Inspection(Needs(bytes=file.size), colour_tags=tags)  # the decoder takes it whole


def _check_boxes(
    file: BoundedFile, parent: Box, depth: int, colours: list[ColourTags | None]
) -> None:
    """Check nested boxes; append colour tags to `colours`, None for an ICC profile."""
    if depth > _MAX_DEPTH:
        raise file.damaged("its boxes are nested too deeply")
    for box in boxes(file, parent.offset, parent.end):
        if box.name in _CONTAINERS:
            _check_boxes(file, box, depth + 1, colours)
        elif box.name == b"ispe":
            numbers = file.unpack_at(">II", box.offset + _FULL_BOX_HEADER)
            if numbers is not None:
                file.check_size(*numbers)
        elif box.name == b"iinf":
            _check_items(file, box)
        elif box.name == b"stsz":
            numbers = file.unpack_at(">II", box.offset + _FULL_BOX_HEADER)
            if numbers is not None:
                file.check_frames(numbers[1])
        elif box.name == b"colr":
            file.check_block(box.end - box.offset, "its ICC profile")
            colours.extend(_colours(file, box))


def _colours(file: BoundedFile, box: Box) -> Iterator[ColourTags | None]:
    """Yield the code points of a box, None for an ICC profile, nothing if unspecified."""
    fields = file.unpack_at(">4sHH", box.offset)
    if fields is None:
        return
    kind, *code_points = fields
    if kind != b"nclx":
        yield None
    elif UNSPECIFIED not in code_points:
        yield ColourTags(*code_points)


def _check_items(file: BoundedFile, box: Box) -> None:
    """Refuse too many items."""
    version = file.read_at(box.offset, 1)
    numbers = file.unpack_at(">H" if version == b"\0" else ">I", box.offset + _FULL_BOX_HEADER)
    if numbers is not None:
        file.check(numbers[0], MAX_ITEMS, "items")
