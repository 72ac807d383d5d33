"""JPEGs written by hand (ITU-T T.81): DCT of 8 or 12 bits, and lossless of 2 to 16.

Their Huffman codes are flat: each of a table's symbols has a code of the same length.
"""

import struct
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
_BASIS = np.array([[np.cos((2 * x + 1) * u * np.pi / 16) / 2 for x in range(8)] for u in range(8)])
_BASIS[0] /= np.sqrt(2)
_ZIGZAG = sorted(np.ndindex(8, 8), key=lambda at: (sum(at), at[0] if sum(at) % 2 else at[1]))
_EOB, _LONG_RUN = 0x00, 0xF0


def segment(marker: int, payload: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, 2 + len(payload)) + payload


RGB = segment(0xEE, b"Adobe\0\x64\0\0\0\0\0")
"""Adobe's segment: three components are RGB; four are inks, and inverted."""


class _Table:
    """A flat Huffman table (C.2): no code consists of ones alone."""

    def __init__(self, symbols: Iterable[int]) -> None:
        self._symbols = list(symbols)
        self._length = len(self._symbols).bit_length()

    def written(self, destination: int) -> bytes:
        counts = [len(self._symbols) if at == self._length else 0 for at in range(1, 17)]
        return segment(0xC4, bytes([destination, *counts, *self._symbols]))

    def code(self, symbol: int) -> str:
        return f"{self._symbols.index(symbol):0{self._length}b}"


def _bits(value: int) -> str:
    """The further bits of a number (F.1.2.1): those of its size, less one if it is negative."""
    size = abs(value).bit_length()
    return f"{value if value > 0 else value + (1 << size) - 1:0{size}b}" if size else ""


def _packed(bits: str, *, end: bool) -> bytes:
    """A scan, and the end of the image."""
    bits += "1" * (-len(bits) % 8)
    data = int(bits, 2).to_bytes(len(bits) // 8, "big").replace(b"\xff", b"\xff\0")
    return data + b"\xff\xd9" * end


_DC = _Table(range(16))
_DIFFERENCES = _Table(range(17))
_AC = _Table([_EOB, _LONG_RUN, *(run << 4 | size for run in range(16) for size in range(1, 15))])


def dct(
    samples: Array, bits: int, *, before: bytes = b"", marker: int = 0xC1, end: bool = True
) -> bytes:
    """Samples (rows, columns, components) whose sides are multiples of 8, quantised by 1."""
    height, width, components = samples.shape
    previous, out = [0] * components, []
    for y in range(0, height, 8):
        for x in range(0, width, 8):
            for number in range(components):
                block = samples[y : y + 8, x : x + 8, number].astype(float) - (1 << (bits - 1))
                levels = np.rint(_BASIS @ block @ _BASIS.T).astype(int)
                first, *rest = (int(levels[at]) for at in _ZIGZAG)
                difference, previous[number] = first - previous[number], first
                out.append(_DC.code(abs(difference).bit_length()) + _bits(difference))
                out.extend(_run_lengths(rest))
    quantisation = segment(0xDB, bytes([0]) + b"\1" * 64)
    tables = before + quantisation + _DC.written(0x00) + _AC.written(0x10)
    head = b"\xff\xd8" + tables + _frame(samples, bits, marker)
    return head + _scan(components, 0, 63) + _packed("".join(out), end=end)


def _run_lengths(levels: list[int]) -> Iterator[str]:
    run = 0
    last = max((at for at, level in enumerate(levels) if level), default=-1)
    for level in levels[: last + 1]:
        if level:
            while run > 15:
                yield _AC.code(_LONG_RUN)
                run -= 16
            yield _AC.code(run << 4 | abs(level).bit_length()) + _bits(level)
            run = 0
        else:
            run += 1
    if last < len(levels) - 1:
        yield _AC.code(_EOB)


def lossless(samples: Array, bits: int, *, before: bytes = b"", end: bool = True) -> bytes:
    """Samples of any size, each predicted by the one to its left (predictor 1, H.1.2)."""
    values = samples.astype(int)
    predicted = np.empty_like(values)
    predicted[:, 1:] = values[:, :-1]
    predicted[1:, 0] = values[:-1, 0]
    predicted[0, 0] = 1 << (bits - 1)
    # Differences are modulo 2**16; 32,768 has no further bits.
    differences = (values - predicted + 32_767) % 65_536 - 32_767
    out = []
    for difference in differences.ravel().tolist():
        size = abs(difference).bit_length()
        out.append(_DIFFERENCES.code(size) + ("" if size == 16 else _bits(difference)))
    head = b"\xff\xd8" + before + _DIFFERENCES.written(0x00) + _frame(samples, bits, 0xC3)
    return head + _scan(samples.shape[2], 1, 0) + _packed("".join(out), end=end)


def _frame(samples: Array, bits: int, marker: int) -> bytes:
    height, width, components = samples.shape
    described = b"".join(bytes([1 + number, 0x11, 0]) for number in range(components))
    return segment(marker, struct.pack(">BHHB", bits, height, width, components) + described)


def _scan(components: int, start: int, end: int) -> bytes:
    """The header of a scan; of a lossless one, `start` is the predictor."""
    chosen = b"".join(bytes([1 + number, 0]) for number in range(components))
    return segment(0xDA, bytes([components]) + chosen + bytes([start, end, 0]))
