"""JP2 metadata boxes: resolution, XMP and IPTC (ISO 15444-1, I.5.3.7 and I.7.2)."""

from dataclasses import dataclass

from iiif_server.formats.bounded_file import MAX_CREDITS_BYTES, BoundedFile
from iiif_server.formats.iso_boxes import boxes

XMP_UUID = bytes.fromhex("be7acfcb97a942e89c71999491e3afac")
_IPTC_UUID = bytes.fromhex("33c7a4d2b81d4723a0baf1a3e097ad38")
_UUID_BYTES = 16
_CODESTREAM = b"\xff\x4f\xff\x51"
_INCH = 0.0254
"""Metres per inch."""


@dataclass(frozen=True, slots=True)
class Jp2Metadata:
    """Metadata in the boxes of a file."""

    resolution: tuple[float, float] | None = None
    xmp: bytes = b""
    iptc: bytes = b""


def read_metadata(file: BoundedFile) -> Jp2Metadata:
    """Return the first resolution, XMP and IPTC of a file."""
    if file.read_at(0, len(_CODESTREAM)) == _CODESTREAM:
        return Jp2Metadata()
    resolution: tuple[float, float] | None = None
    blocks: dict[bytes, bytes] = {}
    for box in boxes(file, 0, file.size):
        if box.name == b"jp2h" and resolution is None:
            resolution = _resolution(file, box.offset, box.end)
        elif box.name == b"uuid" and box.end - box.offset <= MAX_CREDITS_BYTES:
            data = file.read_at(box.offset, box.end - box.offset)
            blocks.setdefault(data[:_UUID_BYTES], data[_UUID_BYTES:])
    return Jp2Metadata(resolution, blocks.get(XMP_UUID, b""), blocks.get(_IPTC_UUID, b""))


def _resolution(file: BoundedFile, start: int, end: int) -> tuple[float, float] | None:
    """Return dots per inch: the capture resolution, or else the display resolution."""
    found = {
        box.name: file.unpack_at(">HHHHbb", box.offset)
        for outer in boxes(file, start, end)
        if outer.name == b"res "
        for box in boxes(file, outer.offset, outer.end)
    }
    fields = found.get(b"resc") or found.get(b"resd")
    if fields is None or not (fields[1] and fields[3]):
        return None
    down, down_divisor, across, across_divisor, down_exponent, across_exponent = fields
    return (
        across / across_divisor * 10.0**across_exponent * _INCH,
        down / down_divisor * 10.0**down_exponent * _INCH,
    )
