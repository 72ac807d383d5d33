"""JP2 boxes: colour space and channels of a JPEG 2000 codestream (ISO 15444-1, annex I)."""

import struct
from dataclasses import dataclass

from iiif_server.formats.bounded_file import MAX_BLOCK_BYTES, BoundedFile
from iiif_server.formats.iso_boxes import boxes
from iiif_server.plan.header import Colour

_SOC = b"\xff\x4f\xff\x51"
_ENUMERATED, _RESTRICTED_ICC, _UNRESTRICTED_ICC = 1, 2, 3
_PREMULTIPLIED = 2
_OPACITY = frozenset({1, _PREMULTIPLIED})
_MAX_COMPONENTS = 16_384
_MAX_ENTRIES, _MAX_COLUMNS = 1024, 4
_PALETTE_MAPPING = 1
_PARAMETERS_OFFSET = 7
"""Bytes of a `colr` box before the parameters of its colour space."""
_PARAMETERS = ">7I"
ILLUMINANTS = {0x443530: False, 0x443635: True}
"""CIELab illuminants D50 and D65, and whether it is D65 (ISO 15444-2, M.11.7.4.1)."""
_MAX_PILLOW_COMPONENTS = 4
"""Maximum number of components that Pillow decodes."""


@dataclass(frozen=True, slots=True)
class Palette:
    """Palette: a colour for each value of the first component (I.5.3.4)."""

    entries: tuple[tuple[int, ...], ...]
    bits: tuple[int, ...]
    """Bits of each column."""


@dataclass(frozen=True, slots=True)
class Container:
    """Offsets of the codestream of a JPEG 2000 file, and its colour and channel boxes."""

    start: int
    end: int
    colour_space: int | None = None
    """Enumerated colour space (EnumCS); None: the file has none."""
    profile: bytes = b""
    """ICC profile; empty: the file has none."""
    parameters: tuple[int, ...] = ()
    """CIELab parameters: range and offset of L*, a*, b*, then illuminant; empty: defaults."""
    palette: Palette | None = None
    order: tuple[int, ...] = ()
    """Channel number of each colour; empty: in order."""
    alpha: int | None = None
    """Channel number of alpha; None: there is none."""
    premultiplied: bool = False
    bare: bool = False
    """Whether the file is a bare codestream, without boxes."""


@dataclass(frozen=True, slots=True)
class Interpretation:
    """Colour space and channels of an image."""

    colour: Colour
    channels: tuple[int, ...]
    """Channel numbers of the colours, in order."""
    alpha: int | None


def interpret_components(found: Container, component_count: int) -> Interpretation:
    """Interpret the components, or the columns of the palette, as colours and alpha."""
    count = len(found.palette.bits) if found.palette else component_count
    known = _BY_PROFILE.get(found.profile[16:20]) if found.profile else None
    known = known or _BY_SPACE.get(found.colour_space if found.colour_space is not None else -1)
    colours, colour = known or ((1, Colour.GRAY) if count < 3 else (3, Colour.RGB))  # noqa: PLR2004
    if colours > count:  # as a gray codestream in a file that says sRGB
        colours, colour = (1, Colour.GRAY) if count < 3 else (3, Colour.RGB)  # noqa: PLR2004
    alpha = found.alpha
    if found.bare and count == colours + 1:
        alpha = colours
    channels = found.order if len(found.order) == colours else tuple(range(colours))
    is_valid = all(channel < count for channel in (*channels, alpha or 0))
    return Interpretation(
        colour, *((channels, alpha) if is_valid else (tuple(range(colours)), None))
    )


_GRAY, _RGB = (1, Colour.GRAY), (3, Colour.RGB)
_INKS, _LAB = (4, Colour.OTHER), (3, Colour.OTHER)
_BY_PROFILE = {b"GRAY": _GRAY, b"RGB ": _RGB, b"CMYK": _INKS, b"Lab ": _LAB}
YCC = frozenset({1, 3, 4, 18, 24})
"""Enumerated colour spaces of luma and chroma: YCbCr (1, 3, 4), sYCC, e-sYCC."""
BLACK_IS_ONE, CMY, CMYK, CIE_LAB = 0, 11, 12, 14
_BY_SPACE = {
    BLACK_IS_ONE: _GRAY, 15: _GRAY, 17: _GRAY, 16: _RGB, 20: _RGB, 21: _RGB, CMY: _RGB,
    CMYK: _INKS, CIE_LAB: _LAB, **dict.fromkeys(YCC, _RGB),
}  # fmt: skip
"""Number of colours, by EnumCS (ISO 15444-1, I.5.3.3, and 15444-2, M.11.7.3.1)."""


@dataclass(frozen=True, slots=True)
class Component:
    """Component of a codestream (SIZ, A.5.1)."""

    bits: int
    across: int
    """Sampling: columns of the image for one of the component."""
    down: int


def is_decoded_whole(components: tuple[Component, ...]) -> bool:
    """Whether these components are decoded by imagecodecs, which reduces nothing while decoding.

    Of several components of more than 8 bits, Pillow turns white into black; and it displaces
    subsampled components where the sides of the image are no multiples of the sampling. It reads
    neither more than 4 components nor more than 16 bits.
    """
    bits = [part.bits for part in components]
    if len(components) > _MAX_PILLOW_COMPONENTS or max(bits) > 16:  # noqa: PLR2004 - bits
        return True
    first, *others = ((part.across, part.down) for part in components)
    luma_and_chroma = first == (1, 1) and len(others) == 2  # noqa: PLR2004 - Cb and Cr
    if luma_and_chroma and set(others) in ({(2, 1)}, {(2, 2)}):
        return True
    return len(components) > 1 and not is_subsampled(components) and min(bits) > 8  # noqa: PLR2004


def is_subsampled(components: tuple[Component, ...]) -> bool:
    """Whether a component has fewer samples than the image has pixels."""
    return any(component.across > 1 or component.down > 1 for component in components)


def read_components(file: BoundedFile, start: int) -> tuple[Component, ...]:
    """Read the components of the codestream that starts at an offset."""
    (count,) = file.unpack_at(">H", start + 40) or (0,)
    data = file.read_at(start + 42, 3 * min(count, _MAX_COMPONENTS))
    triples = zip(data[::3], data[1::3], data[2::3], strict=False)
    return tuple(Component((depth & 0x7F) + 1, across, down) for depth, across, down in triples)


def read_container(file: BoundedFile) -> Container | None:
    """Read the container of a file; None if it has no codestream."""
    if file.read_at(0, len(_SOC)) == _SOC:
        return Container(0, file.size, bare=True)
    found: dict[bytes, tuple[int, int]] = {}
    space, profile = None, b""
    parameters: tuple[int, ...] = ()
    for box in boxes(file, 0, file.size):
        if box.name == b"jp2h":
            for inner in boxes(file, box.offset, box.end):
                found.setdefault(inner.name, (inner.offset, inner.end))
                if inner.name == b"colr" and space is None and not profile:
                    space, profile = _colour(file, inner.offset, inner.end)
                    if space == CIE_LAB:
                        parameters = _parameters(file, inner.offset, inner.end)
        if box.name == b"jp2c":
            palette = _palette(file, found)
            channels = _channels(file, found)
            return Container(box.offset, box.end, space, profile, parameters, palette, *channels)
    return None


def _colour(file: BoundedFile, start: int, end: int) -> tuple[int | None, bytes]:
    """Return the enumerated colour space or the ICC profile (I.5.3.3)."""
    method = file.read_at(start, 1)[:1]
    if method == bytes([_ENUMERATED]):
        numbers = file.unpack_at(">I", start + 3)
        return (None if numbers is None else numbers[0]), b""
    if method and method[0] in {_RESTRICTED_ICC, _UNRESTRICTED_ICC}:
        file.check_block(end - start, "its ICC profile")
        return None, file.read_at(start + 3, min(end - start - 3, MAX_BLOCK_BYTES))
    return None, b""


def _parameters(file: BoundedFile, start: int, end: int) -> tuple[int, ...]:
    """Read the parameters of CIELab (ISO 15444-2, M.11.7.4.1); empty if the box is too short."""
    is_complete = start + _PARAMETERS_OFFSET + struct.calcsize(_PARAMETERS) <= end
    numbers = file.unpack_at(_PARAMETERS, start + _PARAMETERS_OFFSET) if is_complete else None
    return numbers or ()


def _palette(file: BoundedFile, found: dict[bytes, tuple[int, int]]) -> Palette | None:
    if b"pclr" not in found:
        return None
    start, end = found[b"pclr"]
    header = file.unpack_at(">HB", start)
    if header is None or not 1 <= header[0] <= _MAX_ENTRIES or not 1 <= header[1] <= _MAX_COLUMNS:
        raise file.damaged("its palette is invalid")
    count, columns = header
    bits = tuple((depth & 0x7F) + 1 for depth in file.read_at(start + 3, columns))
    if len(bits) < columns or max(bits) > 16:  # noqa: PLR2004 - the most that is read
        raise file.damaged("its palette is invalid")
    layout = ">" + "".join("B" if depth <= 8 else "H" for depth in bits)  # noqa: PLR2004
    data = file.read_at(start + 3 + columns, end - start)
    size = struct.calcsize(layout)
    if len(data) < size * count:
        raise file.damaged("its palette is cut short")
    entries = tuple(struct.unpack_from(layout, data, size * index) for index in range(count))
    return Palette(_apply_mapping(file, found, entries), _apply_mapping(file, found, (bits,))[0])


def _apply_mapping(
    file: BoundedFile, found: dict[bytes, tuple[int, int]], rows: tuple[tuple[int, ...], ...]
) -> tuple[tuple[int, ...], ...]:
    """Return the columns of a palette in the order of the component mapping (I.5.3.5)."""
    if b"cmap" not in found:
        return rows
    start, end = found[b"cmap"]
    data = file.read_at(start, end - start)
    order = [data[at + 3] for at in range(0, len(data) - 3, 4) if data[at + 2] == _PALETTE_MAPPING]
    if not order or max(order) >= len(rows[0]):
        return rows
    return tuple(tuple(row[column] for column in order) for row in rows)


def _channels(
    file: BoundedFile, found: dict[bytes, tuple[int, int]]
) -> tuple[tuple[int, ...], int | None, bool]:
    """Return colour channels, alpha channel, and whether it is premultiplied (I.5.3.6)."""
    if b"cdef" not in found:
        return (), None, False
    start, end = found[b"cdef"]
    data = file.read_at(start + 2, min(end - start, 6 * 16))
    colours: dict[int, int] = {}
    alpha, premultiplied = None, False
    for at in range(0, len(data) - 5, 6):
        channel, kind, associated = struct.unpack_from(">HHH", data, at)
        if kind == 0 and associated:
            colours[associated] = channel
        elif kind in _OPACITY and alpha is None:
            alpha, premultiplied = channel, kind == _PREMULTIPLIED
    return tuple(colours[number] for number in sorted(colours)), alpha, premultiplied
