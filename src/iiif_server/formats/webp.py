"""WebP inspection: RIFF chunks, without decoding."""

from iiif_server.formats.bounded_file import BoundedFile, Inspection, truncated_error
from iiif_server.plan.header import Needs

_RIFF_HEADER = 8
_HEADER_BYTES = 12
_MAX_OTHER_CHUNKS = 1_000
_CANVAS = b"VP8X"
_LOSSY, _LOSSLESS = b"VP8 ", b"VP8L"
_FRAME = b"ANMF"
_METADATA = frozenset({b"ICCP", b"EXIF", b"XMP "})
_SIDE_BITS = 14


def inspect(file: BoundedFile) -> Inspection:
    """Refuse a WebP with too many pixels or frames, or too much metadata."""
    file.check_fits_in_memory()
    (length,) = file.unpack_at("<4xI", 0) or (0,)
    if _RIFF_HEADER + length > file.size:
        raise truncated_error(file.format)
    position, frames, others, canvas = _HEADER_BYTES, 0, 0, (1, 1)
    while True:
        numbers = file.unpack_at("<4sI", position)
        if numbers is None:
            file.check_page(max(frames, 1))
            effort = file.effort_before(*canvas)
            # The decoder takes it whole.
            return Inspection(Needs(bytes=file.size, effort=effort), pages=max(frames, 1))
        name, length = numbers
        if name == _FRAME:
            frames += 1
            file.check_frames(frames)
        else:
            others += 1
            file.check(others, _MAX_OTHER_CHUNKS, "chunks")
            canvas = _check(file, name, position + 8, length) or canvas
        position += 8 + length + length % 2


def _check(file: BoundedFile, name: bytes, offset: int, length: int) -> tuple[int, int] | None:
    """Refuse a chunk that is too large; return its width and height."""
    if name in _METADATA:
        file.check_block(length, f"its {name.decode().strip()} chunk")
    size = _size(file, name, offset)
    if size is not None:
        file.check_size(*size)
    return size


def _size(file: BoundedFile, name: bytes, offset: int) -> tuple[int, int] | None:
    """Return width and height of a chunk (WebP container specification; RFC 6386)."""
    data = file.read_at(offset, 10)
    if name == _CANVAS and len(data) == 10:  # noqa: PLR2004 - flags, and two numbers of 24 bits
        return 1 + int.from_bytes(data[4:7], "little"), 1 + int.from_bytes(data[7:10], "little")
    mask = (1 << _SIDE_BITS) - 1
    if name == _LOSSY and data[3:6] == b"\x9d\x01\x2a" and len(data) == 10:  # noqa: PLR2004
        numbers = int.from_bytes(data[6:8], "little"), int.from_bytes(data[8:10], "little")
        return numbers[0] & mask, numbers[1] & mask
    if name == _LOSSLESS and data[:1] == b"\x2f" and len(data) >= 5:  # noqa: PLR2004
        bits = int.from_bytes(data[1:5], "little")
        return 1 + (bits & mask), 1 + (bits >> _SIDE_BITS & mask)
    return None
