"""TGA inspection (Truevision TGA File Format Specification 2.0): header, no decoding."""

from iiif_server.formats.bounded_file import BoundedFile, Inspection
from iiif_server.iiif.geometry import Dimensions
from iiif_server.plan.header import Colour, ImageHeader, Needs, Profile, Reader
from iiif_server.plan.orientation import UPRIGHT

_HEADER, _LAYOUT = 18, "<BBBHHBHHHHBB"
_PALETTE, _RGB, _GRAY = 1, 2, 3
_RLE_BIT = 8
"""Bit in the image type for run-length encoding."""
_DEPTHS = {_PALETTE: {8}, _RGB: {16, 24, 32}, _GRAY: {8, 16}}
_MAX_RUN = 128
"""Maximum pixels of a run."""
_BYTES_PER_PIXEL = 12
"""Bytes of memory per pixel, in Pillow and afterwards."""
_EFFORT = 8


def inspect(file: BoundedFile) -> Inspection:
    """Refuse a TGA that has too many pixels, or is too short for them."""
    file.check_fits_in_memory()
    header = file.unpack_at(_LAYOUT, 0)
    if header is None:
        raise file.damaged("it is cut short")
    id_, _, kind, _, colours, colour_bits, _, _, width, height, bits, flags = header
    file.check_size(width, height)
    run_length_encoded, kind = kind >= _RLE_BIT, kind % _RLE_BIT
    if bits not in _DEPTHS[kind]:
        raise file.unsupported(f"has {bits} bits per pixel")
    if bool(colours) is not (kind == _PALETTE):
        raise file.unsupported("has a palette without need, or needs one and has none")
    pixel_bytes = -(-bits // 8)
    start = _HEADER + id_ + colours * -(-colour_bits // 8)
    area = width * height
    min_bytes = (
        -(-area // _MAX_RUN) * (1 + pixel_bytes) if run_length_encoded else area * pixel_bytes
    )
    file.check_min_size(start + min_bytes)
    # Two bytes of gray are gray and alpha; the others say how many bits of alpha they have.
    alpha = (kind == _GRAY and bits > 8) or (bits == 32 and bool(flags & 15))  # noqa: PLR2004
    return Inspection(
        header=ImageHeader(
            format=file.format,
            stored=Dimensions(width, height),
            orientation=UPRIGHT,
            colour=Colour.GRAY if kind == _GRAY else Colour.RGB,
            transparent=alpha,
            profile=Profile.NONE,
            profile_bytes=0,
            max_shrink=1,
            needs=Needs(file.size + area * _BYTES_PER_PIXEL, area * _EFFORT),
            reader=Reader.PILLOW,
        )
    )
