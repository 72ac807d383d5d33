"""JPEG written by hand (ITU-T T.81): baseline, 12 bits, progressive, arithmetic, and lossless.

Quantisation by 1 keeps the samples. All code words of a Huffman table have one length, which makes
files large and this writer small.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from support.matrix.arithmetic import Coder

Array = NDArray[Any]

_DC_BITS, _AC_BITS = 5, 9
_DC_SYMBOLS = bytes(range(16))
_AC_SYMBOLS = bytes(range(255))
_ZIGZAG = np.array(sorted(range(64), key=lambda at: (
    at // 8 + at % 8, (at // 8 if (at // 8 + at % 8) % 2 else at % 8)
)))  # fmt: skip
_STEPS = np.arange(8)
_DCT = np.cos((2 * _STEPS + 1) * _STEPS[:, None] * np.pi / 16) / 2
_DCT[0] /= np.sqrt(2)

BASELINE, EXTENDED, PROGRESSIVE, LOSSLESS = 0xC0, 0xC1, 0xC2, 0xC3
ARITHMETIC, ARITHMETIC_PROGRESSIVE = 0xC9, 0xCA
JFIF = b"\xff\xe0\0\x10JFIF\0\1\1\0\0\1\0\1\0\0"


def adobe(transform: int) -> bytes:
    """The segment of Adobe: 0 for RGB and CMYK, 1 for YCbCr, 2 for YCCK."""
    return segment(0xEE, b"Adobe\0d\0\0\0\0" + bytes([transform]))


def segment(marker: int, payload: bytes) -> bytes:
    """A marker segment."""
    return struct.pack(">BBH", 0xFF, marker, len(payload) + 2) + payload


def icc(profile: bytes, *, piece: int = 65_000) -> bytes:
    """The segments of an ICC profile."""
    pieces = [profile[at : at + piece] for at in range(0, len(profile), piece)] or [b""]
    return b"".join(
        segment(0xE2, b"ICC_PROFILE\0" + bytes([number, len(pieces)]) + data)
        for number, data in enumerate(pieces, 1)
    )


def exif(orientation: int) -> bytes:
    """The segment of EXIF with an orientation."""
    return segment(0xE1, b"Exif\0\0" + exif_block(orientation))


def exif_block(orientation: int) -> bytes:
    """A TIFF structure with an orientation."""
    return b"MM\0*\0\0\0\x08\0\1\1\x12\0\3\0\0\0\1" + struct.pack(">HHI", orientation, 0, 0)


@dataclass(frozen=True)
class Jpeg:
    """A JPEG of samples as they are: nothing is converted."""

    samples: Array
    """Rows, columns, components."""
    sampling: Sequence[tuple[int, int]] = ()
    """Horizontal and vertical factor of each component; 1 and 1 if not given."""
    identifiers: Sequence[int] = (1, 2, 3, 4)
    segments: bytes = JFIF
    frame: int = BASELINE
    bits: int = 8
    restart: int = 0
    """Units between restart markers."""
    tables: bool = True
    """Whether its tables are in it; else it is an abbreviated stream (TIFF)."""

    def write(self) -> bytes:
        """The file."""
        data = b"\xff\xd8" + self.segments
        if self.tables:
            data += self.table_segments()
        if self.restart:
            data += segment(0xDD, struct.pack(">H", self.restart))
        height, width, count = self.samples.shape
        factors = self._factors
        frame = struct.pack(">BHHB", self.bits, height, width, count)
        for identifier, (h, v) in zip(self.identifiers, factors, strict=False):
            frame += bytes([identifier, h * 16 + v, 0])
        return data + segment(self.frame, frame) + self._scans() + b"\xff\xd9"

    def tables_only(self) -> bytes:
        """JPEGTables of a TIFF."""
        return b"\xff\xd8" + self.table_segments() + b"\xff\xd9"

    def table_segments(self) -> bytes:
        """Quantisation and Huffman tables."""
        symbols = bytes(range(17)) if self.frame == LOSSLESS else _DC_SYMBOLS
        dc = b"\0" + _lengths(_DC_BITS, len(symbols)) + symbols
        ac = b"\x10" + _lengths(_AC_BITS, len(_AC_SYMBOLS)) + _AC_SYMBOLS
        huffman = segment(0xC4, dc + ac)
        return huffman if self.frame == LOSSLESS else segment(0xDB, b"\0" + b"\1" * 64) + huffman

    @property
    def _factors(self) -> list[tuple[int, int]]:
        return list(self.sampling) or [(1, 1)] * self.samples.shape[2]

    def _scans(self) -> bytes:
        count = self.samples.shape[2]
        every = range(count)
        if self.frame == LOSSLESS:
            return self._scan(every, 1, 0, self._differences())
        blocks = [self._blocks(number) for number in every]
        if self.frame not in {PROGRESSIVE, ARITHMETIC_PROGRESSIVE}:
            return self._scan(every, 0, 63, self._interleaved(blocks, 0, 63))
        data = self._scan(every, 0, 0, self._interleaved(blocks, 0, 0))
        for number in every:
            height, width = self._own_size(number)
            own = blocks[number][: -(-height // 8), : -(-width // 8)].reshape(1, 1, -1, 64)
            # A scan of one component has its own blocks, row by row, without padding.
            units = own.reshape(-1, 1, 1, 64)
            data += self._scan([number], 1, 63, self._coded([(units, 0)], 1, 63))
        return data

    def _scan(
        self, components: Sequence[int], start: int, end: int, bits: Sequence[str | bytes]
    ) -> bytes:
        head = bytes([len(components)])
        for number in components:
            head += bytes([self.identifiers[number], 0])
        data = b""
        for number, part in enumerate(bits):
            data += _stuffed(part)
            if number < len(bits) - 1:
                data += bytes([0xFF, 0xD0 + number % 8])
        return segment(0xDA, head + bytes([start, end, 0])) + data

    def _own_size(self, number: int) -> tuple[int, int]:
        """Height and width of a component."""
        height, width, _ = self.samples.shape
        h, v = self._factors[number]
        most_h, most_v = (max(side) for side in zip(*self._factors, strict=True))
        return -(-height * v // most_v), -(-width * h // most_h)

    def _blocks(self, number: int) -> Array:
        """Coefficients of a component in zigzag order: rows and columns of blocks."""
        height, width, _ = self.samples.shape
        h, v = self._factors[number]
        most_h, most_v = (max(side) for side in zip(*self._factors, strict=True))
        down, across = -(-height // (8 * most_v)), -(-width // (8 * most_h))
        plane = self.samples[:, :, number].astype(float) - (1 << (self.bits - 1))
        whole = down * 8 * most_v, across * 8 * most_h
        plane = np.pad(plane, ((0, whole[0] - height), (0, whole[1] - width)), mode="edge")
        every_v, every_h = most_v // v, most_h // h
        plane = plane.reshape(down * 8 * v, every_v, across * 8 * h, every_h).mean(axis=(1, 3))
        cut = plane.reshape(down * v, 8, across * h, 8).transpose(0, 2, 1, 3)
        found = np.rint(_DCT @ cut @ _DCT.T).astype(int).reshape(down * v, across * h, 64)
        ordered: Array = found[:, :, _ZIGZAG]
        return ordered

    def _interleaved(self, blocks: list[Array], start: int, end: int) -> Sequence[str | bytes]:
        units = []
        if len(blocks) == 1:  # without interleaving a unit is a block, whatever the factors
            height, width = self._own_size(0)
            own = blocks[0][: -(-height // 8), : -(-width // 8)]
            return self._coded([(own.reshape(-1, 1, 1, 64), 0)], start, end)
        for number, plane in enumerate(blocks):
            h, v = self._factors[number]
            rows, columns = plane.shape[0] // v, plane.shape[1] // h
            cut = plane.reshape(rows, v, columns, h, 64).transpose(0, 2, 1, 3, 4)
            units.append((cut.reshape(rows * columns, v, h, 64), number))
        return self._coded(units, start, end)

    def _coded(self, units: list[tuple[Array, int]], start: int, end: int) -> Sequence[str | bytes]:
        """Bits of the intervals between restart markers."""
        count = len(units[0][0])
        step = self.restart or count
        if self.frame in {ARITHMETIC, ARITHMETIC_PROGRESSIVE}:
            firsts = range(0, count, step)
            return [_in_arithmetic(units, first, first + step, start, end) for first in firsts]
        found = []
        for first in range(0, count, step):
            before = [0] * len(units)
            parts: list[str] = []
            for at in range(first, min(first + step, count)):
                for place, (component, _) in enumerate(units):
                    for block in component[at].reshape(-1, 64).tolist():
                        if start == 0:
                            parts.append(_number(block[0] - before[place]))
                            before[place] = block[0]
                        if end:
                            parts.append(_coefficients(block, max(1, start), end))
            found.append("".join(parts))
        return found

    def _differences(self) -> list[str]:
        """Differences of samples to their left neighbours (T.81, H.1.2)."""
        values = self.samples.astype(int)
        predicted = np.empty_like(values)
        predicted[:, 1:] = values[:, :-1]
        predicted[1:, 0] = values[:-1, 0]
        predicted[0, 0] = 1 << (self.bits - 1)
        # Modulo 2 to the power of 16, from -32,767 to 32,767.
        differences = (values - predicted + 32_768) % 65_536 - 32_768
        return ["".join(map(_number, differences.ravel().tolist()))]


def _in_arithmetic(
    units: list[tuple[Array, int]], first: int, last: int, start: int, end: int
) -> bytes:
    """The units of an interval; all components have the first table."""
    coder = Coder(len(units))
    for at in range(first, min(last, len(units[0][0]))):
        for place, (component, _) in enumerate(units):
            for block in component[at].reshape(-1, 64).tolist():
                if start == 0:
                    coder.dc(place, block[0])
                if end:
                    coder.ac(block, max(1, start), end)
    return coder.finish()


def _stuffed(part: str | bytes) -> bytes:
    """Bits as bytes, the last one filled up with 1; bytes as they are."""
    if isinstance(part, bytes):
        return part
    padded = part + "1" * (-len(part) % 8)
    packed = int(padded, 2).to_bytes(len(padded) // 8, "big") if padded else b""
    return packed.replace(b"\xff", b"\xff\0")


def _lengths(bits: int, count: int) -> bytes:
    return bytes(count if length == bits else 0 for length in range(1, 17))


def _number(value: int) -> str:
    size = abs(value).bit_length()
    return format(size, f"0{_DC_BITS}b") + _amplitude(value, size)


def _amplitude(value: int, size: int) -> str:
    if size in {0, 16}:  # 16: the difference of 32,768, and no other (T.81, H.1.2.2)
        return ""
    return format(value if value > 0 else value + (1 << size) - 1, f"0{size}b")


def _coefficients(block: Sequence[int], start: int, end: int) -> str:
    parts, zeros = [], 0
    for value in block[start : end + 1]:
        if not value:
            zeros += 1
            continue
        while zeros > 15:
            parts.append(format(0xF0, f"0{_AC_BITS}b"))
            zeros -= 16
        size = abs(value).bit_length()
        parts.append(format(zeros * 16 + size, f"0{_AC_BITS}b") + _amplitude(value, size))
        zeros = 0
    if zeros:
        parts.append(format(0, f"0{_AC_BITS}b"))
    return "".join(parts)


def stream(jpeg: Jpeg) -> bytes:
    """An abbreviated stream, whose tables are elsewhere."""
    return replace(jpeg, tables=False, segments=b"").write()
