"""TIFFs written by hand, of any sample type, without any library of the server."""

import struct
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

_SIZES = {1: "B", 2: "B", 3: "H", 4: "I", 5: "I", 7: "B", 10: "i", 12: "d", 13: "I", 16: "Q"}
_FRACTIONS = {5, 10}
"""Types of which two numbers are one value."""


@dataclass(frozen=True)
class TiffFile:
    """TIFF of one image."""

    values: Array
    """Rows, columns, samples; signed and floating point as they are."""
    photometric: int
    bits: int = 8
    extra: Sequence[int] = ()
    """ExtraSamples."""
    planar: bool = False
    tile: tuple[int, int] | None = None
    """Width and height."""
    deflate: bool = False
    compression: int = 1
    pack: Callable[[bytes], bytes] | None = None
    """Compresses the bytes of a strip or tile."""
    encode: Callable[[Array], bytes] | None = None
    """Compresses the samples of a strip or tile."""
    predictor: int = 1
    big: bool = False
    order: str = "<"
    tags: Mapping[int, tuple[int, Sequence[float]]] = field(default_factory=dict)
    """Further tags: their type and values; without values, a tag is left out."""
    missing: Sequence[int] = ()
    """Indexes of strips or tiles that are left out."""
    pieces: Sequence[bytes] | None = None
    """Strips or tiles as they are, instead of those of the values."""
    rows: int = 7
    """Of a strip."""
    in_front: bool = False
    """Whether the directory stands before the strips or tiles."""

    def write(self, before: bytes = b"") -> bytes:
        """Return the file; or append the next image to a little-endian file."""
        start = len(before) or (16 if self.big else 8)
        pieces = [
            b"" if number in self.missing else piece
            for number, piece in enumerate(self.pieces or self.encoded())
        ]
        body, offsets = b"", []
        for piece in pieces:
            offsets.append(start + len(body) if piece else 0)
            body += piece + bytes(len(piece) % 2)
        lengths = [len(piece) for piece in pieces]
        directory = self._directory(self._tags(offsets, lengths), start + len(body))
        if self.in_front:
            moved = [offset + len(directory) for offset in offsets]
            directory = self._directory(self._tags(moved, lengths), start)
            return b"II" + struct.pack("<HI", 42, start) + directory + body
        if before:
            return _append_directory(before, start + len(body)) + body + directory
        mark = b"II" if self.order == "<" else b"MM"
        if self.big:
            head = mark + struct.pack(f"{self.order}HHHQ", 43, 8, 0, start + len(body))
        else:
            head = mark + struct.pack(f"{self.order}HI", 42, start + len(body))
        return head + body + directory

    def encoded(self) -> list[bytes]:
        """Return the strips or tiles."""
        height, width, samples = self.values.shape
        planes = range(samples) if self.planar else [slice(None)]
        wide, tall = self.tile or (width, self.rows)
        found = []
        for plane in planes:
            values = self.values[:, :, plane].reshape(height, width, -1)
            for top in range(0, height, tall):
                for left in range(0, width, wide):
                    part = values[top : top + tall, left : left + wide]
                    if self.tile:
                        down, across = tall - part.shape[0], wide - part.shape[1]
                        part = np.pad(part, ((0, down), (0, across), (0, 0)), mode=self._edge)
                    found.append(self.encode(part) if self.encode else self._packed(part))
        pack = self.pack or (zlib.compress if self.deflate else bytes)
        return [pack(piece) for piece in found]

    @property
    def _edge(self) -> Any:
        """Return the fill of tiles beyond the image, at which lossy encoders show no ringing."""
        return "edge" if self.encode else "constant"

    def _packed(self, part: Array) -> bytes:
        if self.predictor == 2:
            part = np.diff(part, axis=1, prepend=np.zeros_like(part[:, :1]))
        rows = part.reshape(part.shape[0], -1)
        if self.predictor == 3:
            return _predict_floats(rows, part.shape[2], self.bits // 8)
        if rows.dtype.kind == "f" or self.bits in {8, 16, 32, 64}:
            code = {"f": "f", "i": "i"}.get(rows.dtype.kind, "u")
            return rows.astype(f"{self.order}{code}{self.bits // 8}").tobytes()
        shifts = np.arange(self.bits - 1, -1, -1)
        bits = (rows.astype(np.uint64)[:, :, None] >> shifts.astype(np.uint64)) & 1
        packed: Array = np.packbits(bits.reshape(rows.shape[0], -1).astype(np.uint8), axis=1)
        return packed.tobytes()

    def _tags(self, offsets: list[int], lengths: list[int]) -> dict[int, tuple[int, Sequence[Any]]]:
        height, width, samples = self.values.shape
        long_ = 16 if self.big else 4
        kind = {"f": 3, "i": 2}.get(self.values.dtype.kind, 1)
        tags: dict[int, tuple[int, Sequence[Any]]] = {
            256: (4, [width]),
            257: (4, [height]),
            258: (3, [self.bits] * samples),
            259: (3, [8 if self.deflate else self.compression]),
            262: (3, [self.photometric]),
            277: (3, [samples]),
            284: (3, [2 if self.planar else 1]),
            339: (3, [kind] * samples),
        }
        if self.tile:
            tags |= {322: (4, [self.tile[0]]), 323: (4, [self.tile[1]])}
            tags |= {324: (long_, offsets), 325: (long_, lengths)}
        else:
            tags |= {273: (long_, offsets), 278: (4, [self.rows]), 279: (long_, lengths)}
        if self.extra:
            tags[338] = (3, self.extra)
        if self.predictor > 1:
            tags[317] = (3, [self.predictor])
        return {tag: entry for tag, entry in (tags | dict(self.tags)).items() if entry[1]}

    def _directory(self, tags: dict[int, tuple[int, Sequence[Any]]], at: int) -> bytes:
        count, room, offset = ("Q", 8, "Q") if self.big else ("H", 4, "I")
        size = struct.calcsize(f"{self.order}{count}")
        entry = 4 + 2 * room if self.big else 4 + 4 + 4
        behind = at + size + entry * len(tags) + room
        table, values = struct.pack(f"{self.order}{count}", len(tags)), b""
        for number, (type_, items) in sorted(tags.items()):
            data = struct.pack(f"{self.order}{len(items)}{_SIZES[type_]}", *items)
            amount = len(items) // 2 if type_ in _FRACTIONS else len(items)
            table += struct.pack(f"{self.order}HH{offset}", number, type_, amount)
            if len(data) <= room:
                table += data.ljust(room, b"\0")
            else:
                table += struct.pack(f"{self.order}{offset}", behind + len(values))
                values += data + bytes(len(data) % 2)
        return table + bytes(room) + values


def _append_directory(data: bytes, offset: int) -> bytes:
    """Link another directory after the last one of a file."""
    place, changed = 4, bytearray(data)
    while directory := struct.unpack_from("<I", data, place)[0]:
        place = directory + 2 + 12 * struct.unpack_from("<H", data, directory)[0]
    struct.pack_into("<I", changed, place, offset)
    return bytes(changed)


def _predict_floats(rows: Array, samples: int, size: int) -> bytes:
    """Return bytes of floats, the most significant of a row first, as differences (TN 3)."""
    raw = rows.astype(f">f{size}").view(np.uint8).reshape(len(rows), -1, size)
    planes = raw.transpose(0, 2, 1).reshape(len(rows), -1)
    found: Array = planes.copy()
    found[:, samples:] -= planes[:, :-samples]
    return found.tobytes()
