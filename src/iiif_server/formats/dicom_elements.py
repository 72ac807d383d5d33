"""DICOM data elements (PS3.5, 7 and annex A): a bounded walk to those that describe the image.

Elements that name a patient are passed over like all others: only listed ones are read.
"""

import struct
from collections.abc import Container
from dataclasses import dataclass, field

from iiif_server.formats.bounded_file import BoundedFile

PREAMBLE, MAGIC = 128, b"DICM"
IMPLICIT, LITTLE, BIG = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2"
"""Transfer syntaxes: implicit VR, explicit VR in little-endian order, and in big-endian."""
PIXELS = 0x7FE0_0010
SYNTAX = 0x0002_0010
_FLOATING = frozenset({0x7FE0_0008, 0x7FE0_0009})
VOI_TABLES, MODALITY_TABLES = 0x0028_3010, 0x0028_3000
SHARED_GROUPS, FRAME_GROUPS = 0x5200_9229, 0x5200_9230
_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFE_E000, 0xFFFE_E00D, 0xFFFE_E0DD
_UNDEFINED = 0xFFFF_FFFF
_LONG_REPRESENTATIONS = frozenset(
    {"OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV"}
)
"""Value representations with a length of four bytes, after two reserved bytes."""
_SEQUENCES = frozenset(
    {VOI_TABLES, MODALITY_TABLES, SHARED_GROUPS, FRAME_GROUPS, 0x0028_9110, 0x0028_9132,
     0x0028_9145}
)  # fmt: skip
"""Sequences that are parsed: tables; and of enhanced images, functional groups, pixel measures,
windows and rescaling."""
_TABLES = frozenset({VOI_TABLES, MODALITY_TABLES})
MAX_ELEMENTS = 200_000
_MAX_DEPTH = 16
ByteRange = tuple[int, int]
"""Offset and length in the file."""
MAX_FRAGMENTS = 200_000


@dataclass(frozen=True, slots=True)
class Element:
    """Position of the value of an element."""

    vr: str
    """Value representation; empty if it is implicit."""
    offset: int
    length: int


@dataclass(slots=True)
class Elements:
    """Elements of a file; from sequences, those for one frame."""

    order: str
    """Byte order, for `struct`."""
    syntax: str
    implicit: bool = False
    """Whether value representations are implicit."""
    complete: bool = True
    """Whether the file ends at the end of an element."""
    found: dict[tuple[int, int], Element] = field(default_factory=dict)
    """Elements by table sequence (0: none) and tag."""
    table_offsets: tuple[int, ...] = ()
    """Basic offset table of encapsulated pixel data."""
    fragments: tuple[ByteRange, ...] | None = None
    """Fragments of encapsulated pixel data."""


def read_elements(
    file: BoundedFile, tags: frozenset[int], syntaxes: Container[str], frame: int
) -> Elements:
    """Read the needed elements up to the pixel data, for a frame counted from 0.

    Raises OriginalRefusedError, also for other transfer syntaxes.
    """
    position = PREAMBLE + len(MAGIC)
    meta = _Walk(file, Elements("<", LITTLE), frozenset({SYNTAX}), frame)
    position = meta.walk(position, file.size, group=2)
    syntax = file_text(file, meta.elements.found.get((0, SYNTAX))) or IMPLICIT
    if position >= file.size:
        raise file.damaged("it ends before its image begins")
    if syntax not in syntaxes:
        raise file.unsupported(f"has the transfer syntax {syntax[:64]}")
    # Some writers encode them otherwise than the transfer syntax says.
    implicit = not _is_representation(file.read_at(position + 4, 2))
    elements = Elements(">" if syntax == BIG else "<", syntax, implicit)
    elements.complete = (
        _Walk(file, elements, tags | {PIXELS}, frame).walk(position, file.size) == file.size
    )
    return elements


def _is_representation(vr: bytes) -> bool:
    return len(vr) == 2 and vr.isascii() and vr.isalpha() and vr.isupper()  # noqa: PLR2004


def file_text(file: BoundedFile, element: Element | None, limit: int = 1_024) -> str:
    """Return the text of an element without padding; empty without the element."""
    if element is None:
        return ""
    return (
        file.read_at(element.offset, min(element.length, limit))
        .decode("ascii", "replace")
        .strip(" \0")
    )


class _Walk:
    """Walker through elements that records the positions of needed ones."""

    def __init__(
        self, file: BoundedFile, elements: Elements, tags: frozenset[int], frame: int
    ) -> None:
        self.elements = elements
        self._file = file
        self._tags = tags
        self._frame = frame
        self._count = 0

    def walk(
        self, at: int, end: int, *, depth: int = 0, scope: int = 0, recorded: bool = True,
        implicit: bool | None = None, group: int | None = None,
    ) -> int:  # fmt: skip
        """Walk to an offset, a delimiter, or the end of a group; return the offset after it."""
        if depth > _MAX_DEPTH:
            raise self._file.damaged("its sequences are nested too deeply")
        implicit = self.elements.implicit if implicit is None else implicit
        while at < end:
            self._file.check(self._count, MAX_ELEMENTS, "elements")
            self._count += 1
            if group not in {None, *(self._file.unpack_at(f"{self.elements.order}H", at) or ())}:
                return at
            tag, vr, length, value = self._read_header(at, implicit=implicit)
            if tag in {_ITEM_END, _SEQUENCE_END}:
                return value
            if tag in _FLOATING and not depth:
                raise self._file.unsupported("has pixels in floating point")
            if tag == PIXELS and not depth:
                self._pixels(vr, length, value)
                return end
            nested = (vr == "SQ" or not vr) and tag in _SEQUENCES and recorded
            if length == _UNDEFINED or nested:
                # What is of no known representation is encoded implicitly inside (PS3.5, 6.2.2).
                inside = implicit or vr == "UN"
                stop = end if length == _UNDEFINED else min(end, value + length)
                at = self._sequence(
                    tag, value, stop, depth, scope, recorded=nested, implicit=inside
                )
            else:
                if recorded and tag in self._tags:
                    self.elements.found.setdefault((scope, tag), Element(vr, value, length))
                at = value + length
        return at

    def _read_header(self, at: int, *, implicit: bool) -> tuple[int, str, int, int]:
        """Read tag, value representation, length, and offset of the value."""
        order = self.elements.order
        header = self._file.read_at(at, 12)
        if len(header) < 8:  # noqa: PLR2004 - the shortest
            raise self._file.damaged("its elements are cut off")
        group, number = struct.unpack_from(f"{order}HH", header)
        tag = group << 16 | number
        if implicit or group == 0xFFFE:  # noqa: PLR2004 - items and delimiters
            return tag, "", struct.unpack_from(f"{order}I", header, 4)[0], at + 8
        if not _is_representation(header[4:6]):
            raise self._file.damaged("an element has no value representation")
        vr = header[4:6].decode()
        if vr not in _LONG_REPRESENTATIONS:
            return tag, vr, struct.unpack_from(f"{order}H", header, 6)[0], at + 8
        if len(header) < 12:  # noqa: PLR2004
            raise self._file.damaged("its elements are cut off")
        return tag, vr, struct.unpack_from(f"{order}I", header, 8)[0], at + 12

    def _sequence(
        self, tag: int, at: int, end: int, depth: int, scope: int, *, recorded: bool, implicit: bool
    ) -> int:
        """Walk through the items of a sequence; return the offset after it."""
        index = 0
        while at < end:
            self._file.check(self._count, MAX_ELEMENTS, "elements")
            self._count += 1
            kind, _, length, value = self._read_header(at, implicit=True)
            if kind == _SEQUENCE_END:
                return value
            if kind != _ITEM:
                raise self._file.damaged("a sequence has something else than items")
            is_requested = recorded and index == (self._frame if tag == FRAME_GROUPS else 0)
            if length == _UNDEFINED or is_requested:
                stop = end if length == _UNDEFINED else min(end, value + length)
                at = self.walk(value, stop, depth=depth + 1, scope=tag if tag in _TABLES else scope,
                               recorded=is_requested, implicit=implicit)  # fmt: skip
            else:
                at = value + length
            index += 1
        return at

    def _pixels(self, vr: str, length: int, value: int) -> None:
        self.elements.found[0, PIXELS] = Element(vr, value, length)
        if length != _UNDEFINED:
            return
        fragments: list[ByteRange] = []
        at = value
        while at < self._file.size:
            kind, _, length, value = self._read_header(at, implicit=True)
            if kind == _SEQUENCE_END:
                break
            if kind != _ITEM or length == _UNDEFINED:
                raise self._file.damaged("its pixel data have something else than fragments")
            fragments.append((value, length))
            self._file.check(len(fragments), MAX_FRAGMENTS, "fragments")
            at = value + length
        if not fragments:
            raise self._file.damaged("its pixel data have no fragments")
        (offset, length), *parts = fragments
        self._file.check(length // 4, MAX_FRAGMENTS, "fragments")
        self.elements.table_offsets = (
            self._file.unpack_at(f"{self.elements.order}{length // 4}I", offset) or ()
        )
        self.elements.fragments = tuple(parts)
