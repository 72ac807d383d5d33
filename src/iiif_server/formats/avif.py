"""AVIF: items and sequences, by their boxes (ISO 23008-12); nothing is decoded."""

from iiif_server.formats.bounded_file import MOST_METADATA, BoundedFile, Inspection
from iiif_server.formats.iso_boxes import Box, boxes
from iiif_server.plan.header import Needs

_MOST_ITEMS = 2_000
_FULL = 4
"""Bytes of version and flags at the start of a full box."""
_NESTED = frozenset({b"iprp", b"ipco", b"moov", b"trak", b"mdia", b"minf", b"stbl"})
_DEEPEST = 8


def inspect(file: BoundedFile) -> Inspection:
    """Refuse an AVIF with too many pixels, items or frames, or too much metadata."""
    file.check_read_whole()
    for box in boxes(file, 0, file.size):
        if box.name == b"meta":
            file.check(box.end - box.offset, MOST_METADATA, "bytes of metadata")
            _look_into(file, Box(box.name, box.offset + _FULL, box.end), 1)
        elif box.name == b"moov":
            file.check(box.end - box.offset, MOST_METADATA, "bytes of metadata")
            _look_into(file, box, 1)
    return Inspection(Needs(bytes=file.size))  # the decoder takes it whole


def _look_into(file: BoundedFile, parent: Box, depth: int) -> None:
    """Check the boxes inside a box, recursively."""
    if depth > _DEEPEST:
        raise file.damaged("its boxes are nested too deeply")
    for box in boxes(file, parent.offset, parent.end):
        if box.name in _NESTED:
            _look_into(file, box, depth + 1)
        elif box.name == b"ispe":
            numbers = file.numbers(">II", box.offset + _FULL)
            if numbers is not None:
                file.check_size(*numbers)
        elif box.name == b"iinf":
            _check_items(file, box)
        elif box.name == b"stsz":
            numbers = file.numbers(">II", box.offset + _FULL)
            if numbers is not None:
                file.check_frames(numbers[1])
        elif box.name == b"colr":
            file.check_block(box.end - box.offset, "its ICC profile")


def _check_items(file: BoundedFile, box: Box) -> None:
    """Refuse too many items."""
    version = file.at(box.offset, 1)
    numbers = file.numbers(">H" if version == b"\0" else ">I", box.offset + _FULL)
    if numbers is not None:
        file.check(numbers[0], _MOST_ITEMS, "items")
