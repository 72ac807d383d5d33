"""AVIF: the items of a picture and the samples of a sequence, by their boxes (ISO 23008-12)."""

from iiif_server.formats.bounded_file import MOST_METADATA, Subject
from iiif_server.formats.iso_boxes import Box, boxes
from iiif_server.plan.needs import Needs

_MOST_ITEMS = 2_000
_FULL = 4
"""Bytes of version and flags at the start of a full box."""
_NESTED = frozenset({b"iprp", b"ipco", b"moov", b"trak", b"mdia", b"minf", b"stbl"})
_DEEPEST = 8


def inspect(subject: Subject) -> Needs:
    """Refuse an AVIF that is too much: of pixels, items, frames or metadata."""
    subject.check_read_whole()
    for box in boxes(subject, 0, subject.size):
        if box.name == b"meta":
            subject.check(box.end - box.offset, MOST_METADATA, "bytes of metadata")
            _look_into(subject, Box(box.name, box.offset + _FULL, box.end), 1)
        elif box.name == b"moov":
            subject.check(box.end - box.offset, MOST_METADATA, "bytes of metadata")
            _look_into(subject, box, 1)
    return Needs(bytes=subject.size)  # the decoder takes it whole


def _look_into(subject: Subject, parent: Box, depth: int) -> None:
    """Check a box's boxes, and theirs."""
    if depth > _DEEPEST:
        raise subject.damaged("its boxes are nested too deeply")
    for box in boxes(subject, parent.offset, parent.end):
        if box.name in _NESTED:
            _look_into(subject, box, depth + 1)
        elif box.name == b"ispe":
            numbers = subject.numbers(">II", box.offset + _FULL)
            if numbers is not None:
                subject.check_size(*numbers)
        elif box.name == b"iinf":
            _check_items(subject, box)
        elif box.name == b"stsz":
            numbers = subject.numbers(">II", box.offset + _FULL)
            if numbers is not None:
                subject.check_frames(numbers[1])
        elif box.name == b"colr":
            subject.check_block(box.end - box.offset, "its ICC profile")


def _check_items(subject: Subject, box: Box) -> None:
    """Refuse more items than a picture of tiles is put together of."""
    version = subject.at(box.offset, 1)
    numbers = subject.numbers(">H" if version == b"\0" else ">I", box.offset + _FULL)
    if numbers is not None:
        subject.check(numbers[0], _MOST_ITEMS, "items")
