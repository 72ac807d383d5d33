"""JPEG XL (ISO 18181): container, image size and metadata of the codestream; nothing is decoded."""

from collections.abc import Callable
from dataclasses import dataclass

from iiif_server.formats.bounded_file import (
    MAX_CREDITS_BYTES,
    MAX_METADATA_BYTES,
    BoundedFile,
    Inspection,
    truncated_error,
)
from iiif_server.formats.iso_boxes import boxes
from iiif_server.iiif.geometry import Dimensions
from iiif_server.plan.header import Colour, ImageHeader, Needs, Profile, Reader
from iiif_server.plan.orientation import UPRIGHT

_CODESTREAM = b"\xff\x0a"
_HEADER_BYTES = 1 << 15
"""Bytes at the start of the codestream that are parsed."""
MAX_EXTRA_CHANNELS = 8
"""Maximum number of extra channels. The decoder decodes each of them."""
_ALPHA, _SPOT, _BLACK, _CFA = 0, 2, 4, 5
"""Types of extra channels."""
_GRAY = 1
_FIRST_TRANSPOSED = 5
"""First orientation that swaps width and height."""
_CHANNEL_BYTES = 8
"""Bytes of memory per pixel and channel while decoding."""
_PIXEL_BYTES = 8
"""Additional bytes of memory per pixel, for the conversion."""
_EFFORT = 40
_SIZE = ((9, 1), (13, 1), (18, 1), (30, 1))
_RATIOS = ((1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))
_ENUM = ((0, 0), (0, 1), (4, 2), (6, 18))
_INTEGERS, _FLOATS = ((0, 8), (0, 10), (0, 12), (6, 1)), ((0, 32), (0, 16), (0, 24), (6, 1))


@dataclass(frozen=True, slots=True)
class Metadata:
    """Image metadata of a codestream."""

    dimensions: Dimensions
    """Upright dimensions: the decoder applies the orientation."""
    gray: bool = False
    bits: int = 8
    floating: bool = False
    extra: int = 0
    """Number of extra channels."""
    alpha: bool = False
    premultiplied: bool = False
    black: bool = False
    """Whether an extra channel is the black of CMYK."""
    xyb: bool = True
    """Whether the colours are XYB, which the decoder converts to any profile."""

    @property
    def channels(self) -> int:
        """Number of channels that are shown: colour and alpha."""
        return (1 if self.gray else 3) + self.alpha


def inspect(file: BoundedFile) -> Inspection:
    """Refuse a JPEG XL with too many pixels or channels, or CMYK; return its header."""
    file.check_fits_in_memory()
    found = read_metadata(file)
    file.check(found.extra, MAX_EXTRA_CHANNELS, "extra channels")
    if found.black:
        raise file.unsupported("has inks (CMYK)")
    area = found.dimensions.area
    pixel_memory = _CHANNEL_BYTES * (3 + found.extra) + _PIXEL_BYTES
    header = ImageHeader(
        format=file.format,
        stored=found.dimensions,
        orientation=UPRIGHT,
        colour=Colour.GRAY if found.gray else Colour.RGB,
        transparent=found.alpha,
        profile=Profile.NONE,
        profile_bytes=0,
        max_shrink=1,
        pixel_bytes=found.channels * (1 if found.bits <= 8 else 2),  # noqa: PLR2004 - of a byte
        needs=Needs(file.size + pixel_memory * area, _EFFORT * area),
        reader=Reader.LIBJXL,
        bits=found.bits,
    )
    blocks = _metadata_boxes(file)
    # In front of EXIF stands the offset of its first byte (ISO 18181-2, 9.5).
    return Inspection(
        header.needs, header=header, exif=blocks.get(b"Exif", b"")[4:], xmp=blocks.get(b"xml ", b"")
    )


def _metadata_boxes(file: BoundedFile) -> dict[bytes, bytes]:
    """Return the first uncompressed EXIF and XMP boxes."""
    found: dict[bytes, bytes] = {}
    if file.read_at(0, 2) != _CODESTREAM:
        for box in boxes(file, 0, file.size):
            if box.name in {b"Exif", b"xml "} and box.end - box.offset <= MAX_CREDITS_BYTES:
                found.setdefault(box.name, file.read_at(box.offset, box.end - box.offset))
    return found


def read_metadata(file: BoundedFile) -> Metadata:
    """Parse size and metadata. Raises OriginalTooLargeError or DamagedOriginalError."""
    bits = _BitReader(file, _codestream_start(file))
    width, height = bits.read_size()
    file.check_size(width, height)
    if bits.read(1):  # all default: an opaque image of 8 bits in XYB, shown in sRGB
        return Metadata(Dimensions(width, height))
    orientation = 1
    if bits.read(1):
        orientation = 1 + bits.read(3)
        if bits.read(1):
            bits.read_size()  # intrinsic
        if bits.read(1):
            bits.read_preview()
        if bits.read(1):
            bits.read_animation()
    floating, depth = bits.read_depth()
    bits.read(1)  # whether 16 bits suffice
    extra = bits.read_u32((0, 0), (0, 1), (4, 2), (12, 1))
    file.check(extra, MAX_EXTRA_CHANNELS, "extra channels")
    kinds = [bits.read_channel() for _ in range(extra)]
    xyb = bool(bits.read(1))
    gray = False
    if not bits.read(1):  # the colour encoding is not sRGB
        bits.read(1)  # ICC profile
        gray = bits.read_u32(*_ENUM) == _GRAY
    alpha = next((premultiplied for kind, premultiplied in kinds if kind == _ALPHA), None)
    return Metadata(
        dimensions=Dimensions(
            *((height, width) if orientation >= _FIRST_TRANSPOSED else (width, height))
        ),
        gray=gray,
        bits=depth,
        floating=floating,
        extra=extra,
        alpha=alpha is not None,
        premultiplied=bool(alpha),
        black=any(kind == _BLACK for kind, _ in kinds),
        xyb=xyb,
    )


def _codestream_start(file: BoundedFile) -> bytes:
    """Return the first bytes of the codestream, which may be in several boxes."""
    if file.read_at(0, 2) == _CODESTREAM:
        return file.read_at(0, _HEADER_BYTES)
    start, other = b"", 0
    for box in boxes(file, 0, file.size):
        if box.truncated:
            raise truncated_error(file.format, "its boxes do")
        if box.name in {b"jxlc", b"jxlp"}:
            offset = box.offset + (4 if box.name == b"jxlp" else 0)  # the number of the part
            if len(start) < _HEADER_BYTES:
                start += file.read_at(offset, max(0, min(box.end - offset, _HEADER_BYTES)))
        else:
            other += box.end - box.offset
            file.check(other, MAX_METADATA_BYTES, "bytes of metadata")
    if not start.startswith(_CODESTREAM):
        raise file.damaged("it has no codestream")
    return start


class _BitReader:
    """Bit reader, least significant bit first (ISO 18181-1, 9.2)."""

    def __init__(self, file: BoundedFile, data: bytes) -> None:
        self._file = file
        self._bits = int.from_bytes(data, "little") >> 8 * len(_CODESTREAM)
        self._left = 8 * (len(data) - len(_CODESTREAM))

    def read(self, count: int) -> int:
        """Read the next bits as an integer."""
        if count > self._left:
            raise truncated_error(self._file.format, "its header does")
        value = self._bits & ((1 << count) - 1)
        self._bits >>= count
        self._left -= count
        return value

    def read_u32(self, *distributions: tuple[int, int]) -> int:
        """Read a U32: two bits choose one of four pairs of bit count and offset."""
        count, offset = distributions[self.read(2)]
        return self.read(count) + offset

    def read_size(self) -> tuple[int, int]:
        """Read width and height."""
        small = self.read(1)
        return self._sides(lambda: 8 * (1 + self.read(5)) if small else self.read_u32(*_SIZE))

    def _sides(self, side: Callable[[], int]) -> tuple[int, int]:
        height, ratio = side(), self.read(3)
        if not ratio:
            return side(), height
        across, down = _RATIOS[ratio - 1]
        return height * across // down, height

    def read_preview(self) -> None:
        """Skip the size of a preview, which is not shown."""
        small = self.read(1)
        distributions = (
            ((0, 16), (0, 32), (5, 1), (9, 33))
            if small
            else ((6, 1), (8, 65), (10, 321), (12, 1345))
        )
        self._sides(lambda: self.read_u32(*distributions))

    def read_animation(self) -> None:
        """Skip the header of an animation, of which the first frame is shown."""
        self.read_u32((0, 100), (0, 1000), (10, 1), (30, 1))
        self.read_u32((0, 1), (0, 1001), (8, 1), (10, 1))
        self.read_u32((0, 0), (3, 0), (16, 0), (32, 0))
        self.read(1)

    def read_depth(self) -> tuple[bool, int]:
        """Read whether samples are floating point, and their bits."""
        floating = bool(self.read(1))
        bits = self.read_u32(*(_FLOATS if floating else _INTEGERS))
        if floating:
            self.read(4)
        return floating, bits

    def read_channel(self) -> tuple[int, bool]:
        """Read the type of an extra channel, and whether its alpha is premultiplied."""
        if self.read(1):
            return _ALPHA, False
        kind = self.read_u32(*_ENUM)
        self.read_depth()
        self.read_u32((0, 0), (0, 3), (0, 4), (3, 1))
        self.read(8 * self.read_u32((0, 0), (4, 0), (5, 16), (10, 48)))  # its name
        if kind == _ALPHA:
            return kind, bool(self.read(1))
        if kind == _SPOT:
            self.read(4 * 16)
        if kind == _CFA:
            self.read_u32((0, 1), (2, 0), (4, 3), (8, 19))
        return kind, False
