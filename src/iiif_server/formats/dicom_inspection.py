"""DICOM inspection: refusals, image header, and what decoding a frame takes, without decoding.

The bytes and efforts are measured: `make costs COSTS=dicom`.
"""

from contextlib import suppress
from dataclasses import dataclass
from io import BytesIO

from iiif_server.errors import OriginalRefusedError
from iiif_server.formats import jpeg2000
from iiif_server.formats.bounded_file import BoundedFile, Inspection
from iiif_server.formats.dicom import Coding, DicomImage, dicom_image, shares_chroma
from iiif_server.formats.jpeg import segments
from iiif_server.plan.header import NO_NEEDS, Colour, ImageHeader, Needs, Profile, Reader
from iiif_server.plan.orientation import UPRIGHT
from iiif_server.plan.original_format import OriginalFormat

_BYTE, _WORD = 8, 16
"""Bits of a byte and of two."""
_NUMBER_BYTES, _WAVELET_BYTES = 2, 4
"""Bytes of a coefficient of a JPEG, and of a JPEG 2000."""
_COMPUTED_BYTES, _LOOKED_UP_BYTES, _PALETTE_BYTES = 24, 16, 22
"""Bytes of a value in floating point that a table or a sigmoid changes; of one in a modality table;
and of a pixel that a palette colours."""
_SOS, _COMPONENTS = 0xDA, 5
"""Marker of a scan, and offset of the number of components in a frame header."""
_PROGRESSIVE = frozenset({0xC2, 0xCA})
_FRAMES = _PROGRESSIVE | {0xC0, 0xC1, 0xC3, 0xC9, 0xF7}
"""Markers of frame headers (T.81, B.1.1.3; T.87, C.1.1)."""
_START = 1 << 16
"""Bytes of a JPEG in which its first scan is searched."""
_EFFORTS = {
    Coding.NATIVE: 1,
    Coding.RUNS: 4,
    Coding.JPEG: 8,
    Coding.JPEG_LS: 12,
    Coding.JPEG_2000: 110,
}
"""Effort to decode a sample."""
_CONVERTED = frozenset({"YBR_FULL", "YBR_FULL_422"})
_GRAY_EFFORT, _COMPUTED_EFFORT, _COLOUR_EFFORT = 24, 100, 12
"""Effort to show a pixel."""


def inspect(file: BoundedFile) -> Inspection:
    """Refuse a DICOM with too many pixels, frames or elements, or of an unsupported kind."""
    image = dicom_image(file)
    samples = image.samples
    colours = 1 if samples.gray else 3
    wide = samples.gray or (samples.allocated > _BYTE and not image.palette)
    header = ImageHeader(
        format=file.format,
        stored=image.whole,
        orientation=UPRIGHT,
        colour=Colour.GRAY if samples.gray else Colour.RGB,
        transparent=False,
        profile=Profile.NONE,
        profile_bytes=0,
        max_shrink=1,
        pixel_bytes=colours * (2 if wide else 1),
        needs=_needs(file, image),
        page=file.page - 1,
        pages=1 if image.tiled else image.frames,
        reader=Reader.DICOM,
        bits=8 if image.palette else max(8, samples.stored),
        resolution=image.resolution,
    )
    return Inspection(header=header, profile=file.read_at(*image.profile) if image.profile else b"")


@dataclass(frozen=True, slots=True)
class _Decoding:
    """Memory to decode a frame."""

    encoded: int
    """Bytes of the encoded data."""
    held: int
    """Bytes per pixel while it is decoded."""
    decoded: int
    """Bytes per pixel afterwards."""
    inner: Needs = NO_NEEDS
    """Needs of the image inside."""


def _needs(file: BoundedFile, image: DicomImage) -> Needs:
    """Return the needs of the requested frame, or of the tiles of a slide."""
    samples, area, decoding = image.samples, image.frame.area, _decoding(file, image)
    effort = _EFFORTS[image.coding] * samples.count
    bytes_ = decoding.encoded + decoding.inner.bytes + decoding.held * area
    changing, changed = 0, 0
    if samples.signed or samples.stored != samples.allocated:
        changed = samples.count * (8 if samples.allocated > _WORD else 4)
        changing = changed * (3 if samples.signed else 2)
    showing, show_effort = _showing(image)
    if image.tiled:
        # Each tile is decoded and changed, and then copied into the part.
        return Needs(
            bytes_ + (decoding.decoded + changing) * area,
            (effort * area) + decoding.inner.effort,
            part_bytes=max(decoding.decoded, changed) + showing,
            part_effort=effort + show_effort,
        )
    # The part is changed and shown beside the frame, when the memory of its decoder is free again.
    beside = decoding.decoded + max(changing, changed + showing)
    return Needs(
        bytes_,
        effort * area + decoding.inner.effort,
        part_bytes=max(0, beside - decoding.held),
        part_effort=show_effort,
    )


def _showing(image: DicomImage) -> tuple[int, int]:
    """Return bytes and effort per pixel to show values."""
    samples, display = image.samples, image.display
    if image.palette:
        return _PALETTE_BYTES, _COLOUR_EFFORT
    if display is None:
        made = samples.count * (1 if samples.stored <= _BYTE else 2)
        # Values that were changed are free when the last copy is made.
        return 2 * made if samples.photometric in _CONVERTED else made, _COLOUR_EFFORT
    bytes_, effort = 4, _GRAY_EFFORT
    if display.modality is not None:
        bytes_, effort = _LOOKED_UP_BYTES, 2 * _GRAY_EFFORT
    if display.voi is not None or (display.window and display.window.function == "SIGMOID"):
        bytes_, effort = _COMPUTED_BYTES + 2, effort + _COMPUTED_EFFORT
    return bytes_, effort


def _decoding(file: BoundedFile, image: DicomImage) -> _Decoding:
    samples, coding = image.samples, image.coding
    parts = image.parts if image.tiled else image.parts[file.page - 1 : file.page]
    encoded = max(sum(length for _, length in part) for part in parts)
    if any(len(part) > 1 for part in parts):
        encoded *= 2  # fragments, and these joined
    if coding is Coding.NATIVE:
        # The data are the samples, unless pixels share them.
        shared = shares_chroma(samples.photometric, coding)
        used = samples.bytes
        return _Decoding(encoded if shared else 0, used, used)
    if coding is Coding.RUNS:
        return _Decoding(encoded, 2 * samples.bytes, samples.bytes)
    count = samples.count
    if image.tiled:  # a tile may take more than the first one
        decoded, held, inner = 2 * count, _WAVELET_BYTES * count, NO_NEEDS
    elif coding is Coding.JPEG_2000:
        bits, inner = _of_jpeg2000(file, image)
        decoded, held = count * -(-bits // _BYTE), _WAVELET_BYTES * count
    else:
        bits, whole = _of_jpeg(file.read_at(*_first(file, image)))
        whole = whole and coding is Coding.JPEG
        decoded, held = count * -(-bits // _BYTE), _NUMBER_BYTES * count * whole
        inner = NO_NEEDS
    if coding is Coding.JPEG_2000:
        encoded *= 2  # OpenJPEG has a copy
    return _Decoding(encoded, held + decoded, decoded, inner)


def _first(file: BoundedFile, image: DicomImage) -> tuple[int, int]:
    """Return the extent of the start of the requested frame."""
    offset, length = image.parts[file.page - 1][0]
    return offset, min(length, _START)


def _of_jpeg(start: bytes) -> tuple[int, bool]:
    """Return bits per sample, and whether all scans are decoded before the first row is complete.

    Where the start does not say it, a JPEG has what takes most.
    """
    file = BoundedFile(BytesIO(start), OriginalFormat.JPEG)
    bits, components = _WORD, 0
    with suppress(OriginalRefusedError):
        for segment in segments(file):
            data = file.read_at(segment.offset, segment.length)
            if segment.marker in _FRAMES and len(data) > _COMPONENTS:
                bits = data[0]
                components = 0 if segment.marker in _PROGRESSIVE else data[_COMPONENTS]
            elif segment.marker == _SOS:
                return bits, data[:1] != bytes([components])
    return bits, True


def _of_jpeg2000(file: BoundedFile, image: DicomImage) -> tuple[int, Needs]:
    """Return bits per sample and the needs of a codestream; raises OriginalRefusedError."""
    data = b"".join(file.read_at(offset, length) for offset, length in image.parts[file.page - 1])
    area = image.frame.area
    within = BoundedFile(BytesIO(data), OriginalFormat.JPEG2000, area, file.bounds)
    header = jpeg2000.inspect(within).header
    return (header.bits, header.needs) if header else (_WORD, NO_NEEDS)
