"""DICOM (PS3.3 and PS3.5): image description in data elements."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise

from iiif_server.formats.bounded_file import MAX_BYTES_IN_MEMORY, BoundedFile
from iiif_server.formats.dicom_elements import (
    BIG,
    IMPLICIT,
    LITTLE,
    MAX_FRAGMENTS,
    MODALITY_TABLES,
    PIXELS,
    VOI_TABLES,
    ByteRange,
    Elements,
    read_elements,
)
from iiif_server.formats.dicom_values import TAGS, Table, Values, Window
from iiif_server.iiif.geometry import Dimensions

_SAMPLES, _PHOTOMETRIC, _PLANAR, _FRAMES = 0x0028_0002, 0x0028_0004, 0x0028_0006, 0x0028_0008
_ROWS, _COLUMNS = 0x0028_0010, 0x0028_0011
_ALLOCATED, _STORED, _HIGH, _SIGNED = 0x0028_0100, 0x0028_0101, 0x0028_0102, 0x0028_0103
_INTERCEPT, _SLOPE, _SHAPE, _PROFILE = 0x0028_1052, 0x0028_1053, 0x2050_0020, 0x0028_2000
_PALETTE_HEADS = 0x0028_1101, 0x0028_1102, 0x0028_1103
_PALETTES = 0x0028_1201, 0x0028_1202, 0x0028_1203
_TOTAL_COLUMNS, _TOTAL_ROWS, _ORGANISATION = 0x0048_0006, 0x0048_0007, 0x0020_9311
_TAGS = TAGS | {
    _SAMPLES, _PHOTOMETRIC, _PLANAR, _FRAMES, _ROWS, _COLUMNS, _ALLOCATED, _STORED, _HIGH, _SIGNED,
    _INTERCEPT, _SLOPE, _SHAPE, _PROFILE, *_PALETTE_HEADS, *_PALETTES, _TOTAL_COLUMNS, _TOTAL_ROWS,
    _ORGANISATION,
}  # fmt: skip
_PALETTE = "PALETTE COLOR"
_MONOCHROME = frozenset({"MONOCHROME1", "MONOCHROME2"})
_RGB = frozenset({"RGB", "YBR_ICT", "YBR_RCT"})
_YBR = frozenset({"YBR_FULL", "YBR_FULL_422"})
_DEPTHS = frozenset({8, 16})
_GRAY_DEPTHS = _DEPTHS | {32}
_CODESTREAM_SIGNATURES = b"\xff\xd8", b"\xff\x4f"
"""Signatures of JPEG, JPEG-LS and JPEG 2000 codestreams."""


class Coding(StrEnum):
    """Coding of a frame."""

    NATIVE = "native"
    RUNS = "run lengths"
    JPEG = "JPEG"
    JPEG_LS = "JPEG-LS"
    JPEG_2000 = "JPEG 2000"


_JPEG_PREFIX = "1.2.840.10008.1.2.4."
_CODINGS = {
    IMPLICIT: Coding.NATIVE,
    LITTLE: Coding.NATIVE,
    BIG: Coding.NATIVE,
    "1.2.840.10008.1.2.5": Coding.RUNS,
    **{_JPEG_PREFIX + number: Coding.JPEG for number in ("50", "51", "57", "70")},
    **{_JPEG_PREFIX + number: Coding.JPEG_LS for number in ("80", "81")},
    **{_JPEG_PREFIX + number: Coding.JPEG_2000 for number in ("90", "91", "201", "202", "203")},
}


@dataclass(frozen=True, slots=True)
class Samples:
    """Layout of the samples of a pixel."""

    photometric: str
    count: int
    allocated: int
    """Allocated bits of a sample; `stored` bits are used, from bit `shift`."""
    stored: int
    shift: int
    signed: bool
    planar: bool

    @property
    def gray(self) -> bool:
        """Whether the samples are gray."""
        return self.photometric in _MONOCHROME

    @property
    def bytes(self) -> int:
        """Bytes per decoded pixel."""
        return self.count * self.allocated // 8

    def bits(self, coding: Coding) -> int:
        """Return bits per stored pixel."""
        # Two of luma and one of each chroma, for two pixels.
        return 16 if shares_chroma(self.photometric, coding) else 8 * self.bytes


def shares_chroma(photometric: str, coding: Coding) -> bool:
    """Whether two pixels share their chroma: uncompressed YBR_FULL_422."""
    return photometric == "YBR_FULL_422" and coding is Coding.NATIVE


@dataclass(frozen=True, slots=True)
class Display:
    """Display of gray values (PS3.3, C.11)."""

    slope: float
    intercept: float
    window: Window | None
    voi: Table | None
    modality: Table | None
    inverse: bool
    """Whether the least value is white."""


@dataclass(frozen=True, slots=True)
class DicomImage:
    """Image of a single frame, or of tiles with a frame each."""

    coding: Coding
    order: str
    frame: Dimensions
    whole: Dimensions
    """Dimensions of the image: of a frame, or of all tiles together."""
    frames: int
    samples: Samples
    display: Display | None
    palette: tuple[Table, ...]
    parts: tuple[tuple[ByteRange, ...], ...]
    """Extents of the data of each frame."""
    swapped: bool
    """Whether 8-bit samples are in words whose higher byte comes first."""
    profile: ByteRange | None
    resolution: tuple[float, float] | None

    @property
    def tiled(self) -> bool:
        """Whether the frames are tiles of one image."""
        return self.whole != self.frame


def dicom_image(file: BoundedFile) -> DicomImage:
    """Read the description of the requested frame. Raises OriginalRefusedError."""
    elements = read_elements(file, _TAGS, _CODINGS, file.page - 1)
    coding = _CODINGS[elements.syntax]
    if (0, PIXELS) not in elements.found:
        if not elements.complete:
            raise file.damaged("it ends before its pixel data")
        raise file.unsupported("has no pixel data")
    values = Values(file, elements)
    frame = Dimensions(values.integer(_COLUMNS), values.integer(_ROWS))
    file.check_size(frame.width, frame.height)
    frames = max(1, int(values.number(_FRAMES, 1)))
    whole = _image_size(file, values, frame, frames)
    samples = _samples(file, values, coding)
    profile = elements.found.get((0, _PROFILE))
    if profile is not None:
        file.check_block(profile.length, "its ICC profile")
    return DicomImage(
        coding=coding,
        order=elements.order,
        frame=frame,
        whole=whole,
        frames=frames,
        samples=samples,
        display=_display(values, samples) if samples.gray else None,
        palette=_palette(values) if samples.photometric == _PALETTE else (),
        parts=_frame_ranges(file, elements, coding, samples.bits(coding) * frame.area // 8, frames),
        swapped=samples.allocated == 8 and values.has_big_words,  # noqa: PLR2004 - bits of a byte
        profile=(profile.offset, profile.length) if profile else None,
        resolution=values.resolution(),
    )


def _display(values: Values, samples: Samples) -> Display:
    shape = values.text(_SHAPE)
    return Display(
        slope=values.number(_SLOPE, 1) or 1,
        intercept=values.number(_INTERCEPT, 0),
        window=values.window(),
        voi=values.optional_table(VOI_TABLES),
        modality=values.optional_table(MODALITY_TABLES),
        inverse=shape == "INVERSE" or (samples.photometric == "MONOCHROME1" and not shape),
    )


def _palette(values: Values) -> tuple[Table, ...]:
    return tuple(
        values.table(0, head, data) for head, data in zip(_PALETTE_HEADS, _PALETTES, strict=True)
    )


def _image_size(file: BoundedFile, values: Values, frame: Dimensions, frames: int) -> Dimensions:
    """Return the dimensions of the image: of a frame, or of a slide whose tiles are frames."""
    whole = Dimensions(values.integer(_TOTAL_COLUMNS, 0), values.integer(_TOTAL_ROWS, 0))
    if not whole.area or (whole.width <= frame.width and whole.height <= frame.height):
        file.check_frames(frames)
        file.check_page(frames)
        return frame
    if values.text(_ORGANISATION) != "TILED_FULL":
        raise file.unsupported("is a slide with sparse tiles (not TILED_FULL)")
    file.check_page(1)
    file.check_size(whole.width, whole.height)
    file.check(frames, MAX_FRAGMENTS, "tiles")
    if frames < -(-whole.width // frame.width) * -(-whole.height // frame.height):
        raise file.damaged("it has fewer frames than its slide has tiles")
    return whole


def _samples(file: BoundedFile, values: Values, coding: Coding) -> Samples:
    """Read the layout of the samples. Raises OriginalRefusedError for an unsupported one."""
    photometric, count = values.text(_PHOTOMETRIC), values.integer(_SAMPLES, 1)
    colours = photometric in _RGB | _YBR
    if not colours and photometric not in _MONOCHROME | {_PALETTE}:
        raise file.unsupported(f"has the photometric interpretation {photometric[:32] or 'none'}")
    if count != (3 if colours else 1):
        raise file.damaged(f"its colours have {count} samples")
    allocated = values.integer(_ALLOCATED)
    if allocated not in (_GRAY_DEPTHS if photometric in _MONOCHROME else _DEPTHS):
        raise file.unsupported(f"has samples of {allocated} bits")
    stored = values.integer(_STORED, allocated)
    high = values.integer(_HIGH, stored - 1)
    if not 1 <= stored <= high + 1 <= allocated:
        raise file.damaged(f"it declares {stored} stored of {allocated} bits, up to bit {high}")
    if shares_chroma(photometric, coding) and (allocated > 8 or values.integer(_COLUMNS) % 2):  # noqa: PLR2004
        raise file.damaged("its pixels cannot share chroma")
    signed, planar = values.integer(_SIGNED, 0) == 1, values.integer(_PLANAR, 0) == 1
    return Samples(photometric, count, allocated, stored, high + 1 - stored, signed, planar)


def _frame_ranges(
    file: BoundedFile, elements: Elements, coding: Coding, size: int, frames: int
) -> tuple[tuple[ByteRange, ...], ...]:
    """Return the byte ranges of each frame; `size` is the length of a native frame."""
    pixels = elements.found[0, PIXELS]
    if (coding is Coding.NATIVE) is not (elements.fragments is None):
        raise file.damaged("its pixel data do not match its transfer syntax")
    if elements.fragments is None:
        file.check_min_size(pixels.offset + size * frames)
        return tuple(((pixels.offset + size * number, size),) for number in range(frames))
    parts = _group_fragments(file, elements, frames)
    for part in parts:
        file.check_min_size(max(offset + length for offset, length in part))
        file.check(sum(length for _, length in part), MAX_BYTES_IN_MEMORY, "bytes in a frame")
    return parts


def _group_fragments(
    file: BoundedFile, elements: Elements, frames: int
) -> tuple[tuple[ByteRange, ...], ...]:
    """Return the byte ranges of the fragments of each frame (PS3.5, A.4)."""
    fragments: Sequence[ByteRange] = elements.fragments or ()
    if len(fragments) < frames:
        raise file.damaged("its pixel data have fewer fragments than frames")
    if frames == 1:
        return (tuple(fragments),)
    if len(fragments) == frames:
        return tuple((fragment,) for fragment in fragments)
    if len(elements.table_offsets) == frames:
        first = fragments[0][0]
        numbers = {offset - first: index for index, (offset, _) in enumerate(fragments)}
        starts = [numbers.get(offset, -1) for offset in elements.table_offsets]
    else:
        starts = [
            index
            for index, (offset, _) in enumerate(fragments)
            if file.read_at(offset, 2) in _CODESTREAM_SIGNATURES
        ]
    starts.append(len(fragments))
    if len(starts) != frames + 1 or any(start >= stop for start, stop in pairwise([-1, *starts])):
        raise file.damaged("its fragments cannot be assigned to frames")
    return tuple(tuple(fragments[start:stop]) for start, stop in pairwise(starts))
