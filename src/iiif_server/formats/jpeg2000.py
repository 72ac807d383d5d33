"""JPEG 2000 inspection (ISO 15444-1): container, codestream and tile headers, no decoding."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from iiif_server.formats.bounded_file import BoundedFile, Inspection
from iiif_server.formats.iso_boxes import boxes
from iiif_server.formats.jp2_boxes import (
    ILLUMINANTS,
    Component,
    Container,
    interpret_components,
    is_decoded_whole,
    is_subsampled,
    read_components,
    read_container,
)
from iiif_server.formats.jp2_metadata import read_metadata
from iiif_server.iiif.geometry import Dimensions
from iiif_server.plan.header import ImageHeader, Needs, Profile, Reader
from iiif_server.plan.orientation import UPRIGHT

_START = b"\xff\x4f\xff\x51"
"""Markers SOC and SIZ."""
_COD, _COC, _SOT, _SOD = 0xFF52, 0xFF53, 0xFF90, 0xFF93
_MAX_SEGMENTS = 2_000
_MAX_HEADER_BOX_BYTES = 4 << 20
MAX_TILES = 8_192
_TILE_BYTES = 14_000
"""Bytes that the decoder allocates per tile before decoding."""
_BLOCK_BYTES = 440
"""Bytes per code block of a tile, even if only a part of the tile is decoded."""
_PRECINCT_BYTES = 480
_PACKET_BYTES = 2
"""Bytes per layer and precinct."""
_BLOCK_EFFORT = 1000
"""Effort of setting up a code block (4 us), in pixels of a JPEG decoder."""
_PIXEL_BYTES = 3
"""Compressed bytes per pixel that the estimate of decoding includes."""
_SEGMENT_BYTES = 40
"""Bytes per segment of a code block, if every coding pass is a segment."""
_SEGMENT_PER_PASS = 0x05
"""Code block styles with a segment per pass: bypass, termination (A.6.1)."""
_MAX_TILE_PARTS = 65_536
MAX_COMPONENTS = 16
MAX_BITS = 31
_PILLOW_COMPONENTS, _WIDE_BYTES = 4, 8
"""Components that the estimate of decoding includes; bytes per pixel of each further one."""
_MAX_LEVELS = 32
_MAX_HALVINGS = 5
"""Maximum number of resolution levels that the decoder discards."""
_MAX_PRECINCTS = 250_000
"""Maximum number of precincts: each takes some hundred bytes, and time per quality layer."""
_MAX_PACKETS = 20_000_000
_TILE_PART_HEADER = 12
"""Bytes of an SOT segment (A.4.2)."""
_DEFAULT_PRECINCT = 15
"""Default exponent of a precinct's side."""
_BARE_MARKERS = range(0xFF30, 0xFF40)
"""Reserved markers without a segment (A.1.2), which decoders ignore."""


@dataclass(frozen=True, slots=True)
class _Size:
    """Image and tile size (SIZ, A.5.1)."""

    width: int
    height: int
    components: int
    tiles: int
    tile_width: int
    tile_height: int
    bits: int


@dataclass(frozen=True, slots=True)
class _Style:
    """Coding style (COD or COC, A.6.1, A.6.2)."""

    layers: int
    """Number of quality layers; 0 in COC, which uses that of COD."""
    levels: int
    block: tuple[int, int]
    """Exponents of width and height of code blocks."""
    segmented: bool
    precincts: bytes
    """Exponents of height and width, a byte for each resolution; what is missing is as large as
    can be."""


def inspect(file: BoundedFile) -> Inspection:
    """Refuse a JPEG 2000 with too many pixels, tiles, components or precincts."""
    header_size = _header_box_size(file)
    found = read_container(file)
    if found is None:
        raise file.damaged("it has no codestream")
    start = found.start
    if header_size is not None:
        file.check_size(*header_size)
    size = _size(file, start)
    if size is None:
        raise file.damaged("its codestream is cut short")
    if header_size is not None and header_size != (size.width, size.height):
        raise file.damaged("its codestream and its header have different dimensions")
    end = start + 2
    styles: list[_Style] = []
    for marker, offset, length in _segments(file, start + 2):
        styles += _styles(file, marker, offset, length)
        end = offset + length
    styles += _check_tiles(file, size, end)
    layers = max((style.layers for style in styles), default=1)
    for style in set(styles):
        _check_style(file, size, style, layers)
    needs = _needs(file, size, set(styles), layers)
    components = read_components(file, start)
    decoded_whole = is_decoded_whole(components)
    if not decoded_whole or size.components > _PILLOW_COMPONENTS or size.bits > 16:  # noqa: PLR2004
        _check_components(file, size, components, decoded_whole=decoded_whole)
    halvings = 0 if decoded_whole else min((style.levels for style in styles), default=0)
    header = _header(file, size, needs, found, min(halvings, _MAX_HALVINGS))
    metadata = read_metadata(file)
    header = replace(header, resolution=metadata.resolution)
    return Inspection(
        needs, header=header, profile=found.profile, xmp=metadata.xmp, iptc=metadata.iptc
    )


def _header(
    file: BoundedFile, size: _Size, needs: Needs, found: Container, halvings: int
) -> ImageHeader:
    interpretation = interpret_components(found, size.components)
    if found.parameters and found.parameters[-1] not in ILLUMINANTS:
        raise file.unsupported("has CIELab under another illuminant than D50 and D65")
    channels = len(found.palette.bits) if found.palette else size.components
    return ImageHeader(
        format=file.format,
        stored=Dimensions(size.width, size.height),
        orientation=UPRIGHT,
        colour=interpretation.colour,
        transparent=interpretation.alpha is not None,
        profile=Profile.NONE,
        profile_bytes=0,
        max_shrink=1 << halvings,
        pixel_bytes=channels * (1 if size.bits <= 8 else 2),  # noqa: PLR2004 - bits of a byte
        needs=needs,
        reader=Reader.OPENJPEG,
        bits=max(found.palette.bits) if found.palette else size.bits,
    )


def _check_components(
    file: BoundedFile, size: _Size, components: tuple[Component, ...], *, decoded_whole: bool
) -> None:
    """Refuse subsampling and depths that no decoder of the server supports."""
    if decoded_whole and is_subsampled(components):
        raise file.unsupported("has subsampled components, and more than 4 of them or 16 bits")
    if decoded_whole:
        return
    if any(
        size.width % component.across or size.height % component.down for component in components
    ):
        raise file.unsupported("has components that are subsampled in an unusual way")
    if is_subsampled(components[:1]) and len({(part.across, part.down) for part in components}) > 1:
        raise file.unsupported("has a first component that is subsampled, unlike the others")
    if len(components) > 1 and max(part.bits for part in components) > 8:  # noqa: PLR2004 - bits of a byte
        raise file.unsupported("has components of different depths")


def _header_box_size(file: BoundedFile) -> tuple[int, int] | None:
    """Return width and height of the image header box (I.5.3.1)."""
    if file.read_at(0, len(_START)) == _START:
        return None
    for box in boxes(file, 0, file.size):
        if box.name == b"jp2h":
            file.check(box.end - box.offset, _MAX_HEADER_BOX_BYTES, "bytes in its header")
            for inner in boxes(file, box.offset, box.end):
                if inner.name == b"ihdr":
                    numbers = file.unpack_at(">II", inner.offset)
                    return None if numbers is None else (numbers[1], numbers[0])
        if box.name == b"jp2c":
            break
    return None


def _size(file: BoundedFile, start: int) -> _Size | None:
    numbers = file.unpack_at(">IIIIIIIIH", start + len(_START) + 4)
    if numbers is None:
        return None
    right, bottom, left, top, tile_width, tile_height, tile_x, tile_y, count = numbers
    width, height = right - left, bottom - top
    file.check_size(width, height)
    if not tile_width or not tile_height or tile_x > left or tile_y > top:
        raise file.damaged("its tile grid is invalid")
    tiles = -(-(right - tile_x) // tile_width) * -(-(bottom - tile_y) // tile_height)
    file.check(tiles, MAX_TILES, "tiles")
    if not 1 <= count <= MAX_COMPONENTS:
        raise file.unsupported(f"has {count} components")
    samples = file.read_at(start + 42, 3 * count)
    bits = 1
    for depth, across, down in zip(samples[::3], samples[1::3], samples[2::3], strict=False):
        bits = max(bits, (depth & 0x7F) + 1)
        if bits > MAX_BITS:
            raise file.unsupported(f"has samples of more than {MAX_BITS} bits")
        if not across or not down:
            raise file.damaged("its sampling factors are invalid")
    tile_width, tile_height = min(tile_width, width), min(tile_height, height)
    return _Size(width, height, count, tiles, tile_width, tile_height, bits)


def _segments(file: BoundedFile, position: int) -> Iterator[tuple[int, int, int]]:
    """Yield marker, offset and length of the segments of the main or a tile-part header."""
    for _ in range(_MAX_SEGMENTS):
        numbers = file.unpack_at(">HH", position)
        if numbers is None or numbers[0] in {_SOT, _SOD}:
            return
        marker, length = numbers
        if marker in _BARE_MARKERS:
            yield marker, position + 2, 0
            position += 2
            continue
        if length < 2:  # noqa: PLR2004 - the length counts its own two bytes
            raise file.damaged("one of its segments has an invalid length")
        yield marker, position + 4, length - 2
        position += 2 + length
    file.check(_MAX_SEGMENTS + 1, _MAX_SEGMENTS, "segments of metadata")


def _check_tiles(file: BoundedFile, size: _Size, position: int) -> list[_Style]:
    """Refuse a codestream without some tiles, which the decoder would leave black (A.4.2).

    Return the coding styles in tile-part headers.
    """
    seen: set[int] = set()
    styles: set[_Style] = set()
    for _ in range(_MAX_TILE_PARTS):
        numbers = file.unpack_at(">HHHI", position)
        if numbers is None or numbers[0] != _SOT:
            break
        _, _, tile, length = numbers
        if position + length > file.size:
            break
        seen.add(tile)
        for marker, offset, size_ in _segments(file, position + _TILE_PART_HEADER):
            styles.update(_styles(file, marker, offset, size_))
        if not length:  # the last one, up to the end
            break
        position += length
    if len(seen) < size.tiles:
        raise file.damaged("it is truncated, or lacks tiles")
    return list(styles)


def _styles(file: BoundedFile, marker: int, offset: int, length: int) -> Iterator[_Style]:
    """Yield the coding style of a COD or COC segment (A.6.1, A.6.2)."""
    if marker not in {_COD, _COC}:
        return
    data = file.read_at(offset, length)
    # COC: the component, and its style; COD: the style, the progression, the layers, a transform.
    flags, layers = (
        (data[1:2], 0) if marker == _COC else (data[:1], int.from_bytes(data[2:4], "big"))
    )
    spatial = data[2:] if marker == _COC else data[5:]
    if len(spatial) < 5:  # noqa: PLR2004 - up to the precincts
        return
    levels, width, height, style = spatial[:4]
    if levels > _MAX_LEVELS:
        raise file.damaged("it has too many decomposition levels")
    yield _Style(
        layers=max(1, layers) if marker == _COD else 0,
        levels=levels,
        block=((width & 0x0F) + 2, (height & 0x0F) + 2),
        segmented=bool(style & _SEGMENT_PER_PASS),
        precincts=spatial[5 : 6 + levels] if flags and flags[0] & 1 else b"",
    )


def _check_style(file: BoundedFile, size: _Size, style: _Style, layers: int) -> None:
    """Refuse too many layers and precincts."""
    precincts = size.components * sum(count for count, _ in _resolutions(size, style))
    file.check(precincts, _MAX_PRECINCTS, "precincts in a tile")
    file.check(precincts * size.tiles * layers, _MAX_PACKETS, "packets")


def _needs(file: BoundedFile, size: _Size, styles: set[_Style], layers: int) -> Needs:
    """Return the largest needs of all styles, as each tile may have another style."""
    memory = max_blocks = 0
    passes = 3 * (size.bits + 4)
    for style in styles:
        resolutions = list(_resolutions(size, style))
        precincts = size.components * sum(count for count, _ in resolutions)
        blocks = size.components * sum(count for _, count in resolutions)
        widest = size.components * len(resolutions) * max(count for count, _ in resolutions)
        block_bytes = _BLOCK_BYTES + (_SEGMENT_BYTES * passes if style.segmented else 0)
        bytes_ = (
            blocks * block_bytes + precincts * _PRECINCT_BYTES + widest * layers * _PACKET_BYTES
        )
        memory, max_blocks = max(memory, bytes_), max(max_blocks, blocks)
    area = size.width * size.height
    decoded = 0 if size.bits > 16 else _PILLOW_COMPONENTS  # noqa: PLR2004
    extra_components = max(0, size.components - decoded)
    extra = max(0, file.size - _PIXEL_BYTES * area) + _WIDE_BYTES * extra_components * area
    return Needs(
        bytes=memory + size.tiles * _TILE_BYTES + extra,
        effort=_BLOCK_EFFORT * max_blocks * size.tiles,
    )


def _resolutions(size: _Size, style: _Style) -> Iterator[tuple[int, int]]:
    """Yield precincts and code blocks of a tile-component, per resolution (B.6, B.7)."""
    for resolution in range(style.levels + 1):
        exponents = style.precincts[resolution : resolution + 1]
        down, across = divmod(exponents[0] if exponents else _DEFAULT_PRECINCT * 17, 16)
        reduced = style.levels - resolution
        width, height = (
            _halve_repeatedly(size.tile_width, reduced),
            _halve_repeatedly(size.tile_height, reduced),
        )
        precincts = _halve_repeatedly(width, across) * _halve_repeatedly(height, down)
        bands, halved = (3, 1) if resolution else (1, 0)
        columns, rows = (min(style.block[0], max(0, across - halved)),
                         min(style.block[1], max(0, down - halved)))  # fmt: skip
        blocks = _halve_repeatedly(_halve_repeatedly(width, halved), columns) * _halve_repeatedly(
            _halve_repeatedly(height, halved), rows
        )
        yield precincts, bands * max(blocks, precincts)


def _halve_repeatedly(side: int, times: int) -> int:
    """Halve a side n times, rounding up."""
    return -(-side // (1 << times))
