"""BMP: headers of Windows and OS/2, and the location of the rows."""

from dataclasses import dataclass

from iiif_server.formats.bounded_file import BoundedFile, Inspection
from iiif_server.iiif.geometry import Dimensions
from iiif_server.plan.header import Colour, ImageHeader, Needs, Profile, Reader
from iiif_server.plan.orientation import UPRIGHT

_FILE_HEADER = 14
_CORE, _INFO, _V2, _V3, _V4, _V5 = 12, 40, 52, 56, 108, 124
_OS2 = frozenset(range(16, 68, 4)) - {_INFO, _V2, _V3}
"""Header sizes of OS/2 2.x: a header may end after any field."""
_HEADERS = _OS2 | {_CORE, _INFO, _V2, _V3, _V4, _V5}
_DEPTHS = frozenset({1, 2, 4, 8, 16, 24, 32})
_RAW, RLE8, RLE4, _BIT_FIELDS, _JPEG, _PNG, _ALPHA_BIT_FIELDS = range(7)
_RLE_BITS = {RLE8: 8, RLE4: 4}
_DEFAULT_MASKS = {16: (0x7C00, 0x03E0, 0x001F, 0), 32: (0xFF0000, 0xFF00, 0xFF, 0)}
"""Default masks of red, green, blue and alpha."""
MAX_RUN_LENGTH_PIXELS = 16_000_000
"""Maximum pixels of a run-length encoded BMP, which Python decodes."""
_MAX_PALETTE_BITS, _MAX_COLOURS = 8, 256
_PROFILE_EMBEDDED = b"DEBM"
_PIXEL_BYTES = 14
"""Bytes of memory per pixel during the conversion."""
_RLE_BYTES = 3
_EFFORT, _RLE_EFFORT = 3, 60


@dataclass(frozen=True, slots=True)
class Bitmap:
    """Pixel layout of a BMP."""

    dimensions: Dimensions
    from_top: bool
    bits: int
    """Bits per pixel."""
    run_length_encoded: bool
    """Whether the rows are run-length encoded."""
    masks: tuple[int, int, int, int]
    """Bit masks of red, green, blue and alpha without a palette; 0: no alpha."""
    palette: bytes
    colour_bytes: int
    """Bytes per palette entry: blue, green, red, and sometimes a reserved one."""
    start: int
    """Offset of the rows."""

    @property
    def row_bytes(self) -> int:
        """Bytes of a row, including padding."""
        return (self.dimensions.width * self.bits + 31) // 32 * 4


def inspect(file: BoundedFile) -> Inspection:
    """Refuse a BMP with too many pixels, in total or for run lengths."""
    found = bitmap(file)
    width, height, area = found.dimensions.width, found.dimensions.height, found.dimensions.area
    # Some writers leave out the padding of the last row.
    end = found.start + (height - 1) * found.row_bytes + -(-width * found.bits // 8)
    if found.run_length_encoded:
        partial = file.bounds.show_truncated  # the decoder alone knows where its rows end
        file.check(area, MAX_RUN_LENGTH_PIXELS, "run-length encoded pixels")
        file.check_fits_in_memory()
    else:
        partial = file.size < end and file.accept_truncated()
    memory = area * (_PIXEL_BYTES + found.run_length_encoded * _RLE_BYTES) + (
        file.size if found.run_length_encoded else 0
    )
    needs = Needs(memory, area * (_RLE_EFFORT if found.run_length_encoded else _EFFORT))
    header = ImageHeader(
        format=file.format,
        stored=found.dimensions,
        orientation=UPRIGHT,
        colour=Colour.RGB,
        transparent=bool(found.masks[3]),
        profile=Profile.NONE,
        profile_bytes=0,
        max_shrink=1,
        pixel_bytes=4 if found.masks[3] else 3,
        needs=needs,
        reader=Reader.BMP,
        resolution=_resolution(file),
    )
    return Inspection(needs, header=header, profile=profile_of(file), partial=partial)


def _resolution(file: BoundedFile) -> tuple[float, float] | None:
    """Return dots per inch, from dots per metre; OS/2 1.x has none."""
    size, across, down = file.unpack_at("<I20xii", _FILE_HEADER) or (_CORE, 0, 0)
    return None if size < _INFO else (across * 0.0254, down * 0.0254)


def bitmap(file: BoundedFile) -> Bitmap:
    """Parse the header. Raises OriginalRefusedError."""
    start = file.unpack_at("<II", 10)
    if start is None:
        raise file.damaged("it ends in its header")
    offset, size = start
    if size not in _HEADERS:
        raise file.damaged("its header has an unknown length")
    header = file.read_at(_FILE_HEADER, size).ljust(_V5, b"\0")
    if size == _CORE:
        width, height, bits = _number(header, 4, 2), _number(header, 6, 2), _number(header, 10, 2)
    else:
        width, height, bits = _number(header, 4), _number(header, 8), _number(header, 14, 2)
    compression = _number(header, 16) if size != _CORE else _RAW
    from_top = height >= 1 << 31
    height = (1 << 32) - height if from_top else height
    file.check_size(0 if width >= 1 << 31 else width, height)
    _check(file, size, bits, compression)
    palette = b""
    if bits <= _MAX_PALETTE_BITS:
        palette = _palette(file, header, size, bits, offset)
    return Bitmap(
        dimensions=Dimensions(width, height),
        from_top=from_top,
        bits=bits,
        run_length_encoded=compression in _RLE_BITS,
        masks=_masks(file, header, size, bits, compression),
        palette=palette,
        colour_bytes=3 if size == _CORE else 4,
        start=_rows(header, size, bits, compression, offset),
    )


def profile_of(file: BoundedFile) -> bytes:
    """Return the ICC profile that a V5 header embeds; empty: none."""
    header = file.read_at(_FILE_HEADER, _V5)
    if len(header) < _V5 or _number(header, 0) != _V5 or header[56:60] != _PROFILE_EMBEDDED:
        return b""
    length = _number(header, 116)
    file.check_block(length, "its ICC profile")
    return file.read_at(_FILE_HEADER + _number(header, 112), length)


def _check(file: BoundedFile, size: int, bits: int, compression: int) -> None:
    """Refuse unsupported depths and compressions."""
    if compression in {_JPEG, _PNG} and size not in _OS2:
        raise file.unsupported(f"contains a {'JPEG' if compression == _JPEG else 'PNG'}")
    if bits not in _DEPTHS:
        raise file.unsupported(f"has {bits} bits per pixel")
    supported = {_RAW, RLE8, RLE4}
    if size not in _OS2:  # there, these numbers are other methods
        supported |= {_BIT_FIELDS, _ALPHA_BIT_FIELDS}
    if compression not in supported:
        raise file.unsupported("is compressed by an unknown method")
    if _RLE_BITS.get(compression, bits) != bits:
        raise file.damaged("its run lengths are for another depth")
    if compression in {_BIT_FIELDS, _ALPHA_BIT_FIELDS} and bits not in _DEFAULT_MASKS:
        raise file.damaged("it has bit fields for another depth")


def _palette(file: BoundedFile, header: bytes, size: int, bits: int, offset: int) -> bytes:
    start, available = _FILE_HEADER + size, offset - _FILE_HEADER - size
    length = min(_palette_bytes(header, size, bits), 4 * _MAX_COLOURS)
    return file.read_at(start, min(length, available) if available > 0 else length)


def _palette_bytes(header: bytes, size: int, bits: int) -> int:
    if size == _CORE:
        return 3 << bits
    return 4 * (_number(header, 32) or 1 << bits)


def _rows(header: bytes, size: int, bits: int, compression: int, offset: int) -> int:
    """Return the offset of the rows: that of the header, unless it points before or at the palette.

    Some writers leave it out, or write that of the palette. Then the rows follow the palette.
    """
    end = _FILE_HEADER + size
    if bits <= _MAX_PALETTE_BITS:
        return offset if offset > end else end + _palette_bytes(header, size, bits)
    if size == _INFO:
        end += {_BIT_FIELDS: 12, _ALPHA_BIT_FIELDS: 16}.get(compression, 0)
    return offset if offset >= _FILE_HEADER + size else end


def _masks(
    file: BoundedFile, header: bytes, size: int, bits: int, compression: int
) -> tuple[int, int, int, int]:
    if compression not in {_BIT_FIELDS, _ALPHA_BIT_FIELDS}:
        return _DEFAULT_MASKS.get(bits, (0, 0, 0, 0))
    if size == _INFO:  # they stand behind it
        header += file.read_at(_FILE_HEADER + _INFO, 16)[: 16 if compression != _BIT_FIELDS else 12]
        header = header[:_INFO] + header[_V5:].ljust(16, b"\0")
    red, green, blue, alpha = (_number(header, _INFO + at) for at in (0, 4, 8, 12))
    if size == _V2:
        alpha = 0
    for mask in (red, green, blue, alpha):
        field = mask >> max(0, (mask & -mask).bit_length() - 1)
        if field & (field + 1) or mask >> bits:
            raise file.damaged("its bit fields are invalid")
    return red, green, blue, alpha


def _number(header: bytes, at: int, size: int = 4) -> int:
    return int.from_bytes(header[at : at + size], "little")
