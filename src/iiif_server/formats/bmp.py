"""BMP: the header of any version; nothing is decoded."""

from iiif_server.formats.bounded_file import BoundedFile, Inspection

_HEADER = 14
_CORE = 12
_HEADERS = frozenset({12, 40, 52, 56, 64, 108, 124})
_DEPTHS = frozenset({1, 4, 8, 16, 24, 32})
_RAW, _BIT_FIELDS = 0, 3
_RUN_LENGTHS = frozenset({1, 2})
_MOST_RUN_LENGTH_PIXELS = 16_000_000
"""Pixels of a run-length encoded BMP, which is decoded step by step in Python."""
_MOST_COLOURS = 256


def inspect(file: BoundedFile) -> Inspection:
    """Refuse a BMP with too many pixels, or too many to decode step by step."""
    start = file.numbers("<II", 10)
    if start is None:
        return Inspection()
    offset, header = start
    if header not in _HEADERS:
        raise file.damaged("its header has an unknown length")
    numbers = file.numbers("<HHHH" if header == _CORE else "<iiHHI", _HEADER + 4)
    if numbers is None:
        return Inspection()
    width, height, _, bits = numbers[:4]
    compression = _RAW if header == _CORE else numbers[4]
    height = abs(height)  # negative: its rows go down
    file.check_size(width, height)
    if bits not in _DEPTHS:
        raise file.unsupported(f"has {bits} bits a pixel")
    if header != _CORE:
        _check_colours(file)
    if compression in _RUN_LENGTHS:
        file.check(width * height, _MOST_RUN_LENGTH_PIXELS, "run-length encoded pixels")
        return Inspection()
    if compression in {_RAW, _BIT_FIELDS}:
        row = (width * bits + 31) // 32 * 4
        # Some writers leave out the padding of the last row.
        end = offset + (height - 1) * row + -(-width * bits // 8)
        return Inspection(partial=file.size < end and file.truncated())
    raise file.unsupported("is compressed by an unknown method")


def _check_colours(file: BoundedFile) -> None:
    numbers = file.numbers("<I", _HEADER + 32)
    if numbers is not None and numbers[0] > _MOST_COLOURS:
        raise file.damaged("its palette has more than 256 colours")
