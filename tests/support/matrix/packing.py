"""Compressions of TIFF written by hand: no library of the server has a part in them."""

import struct
import zlib
from binascii import crc32

import numpy as np

from support.matrix.chart import BITS, COLUMNS, HEIGHT, WIDTH, Array, painted

_LZW_CLEAR, _LZW_END, _LZW_MAX = 256, 257, 4095


def packbits(data: bytes) -> bytes:
    """Runs of equal bytes, and pieces of others (TIFF 6.0, section 9)."""
    found, at = b"", 0
    while at < len(data):
        run = 1
        while run < 128 and data[at : at + 1] == data[at + run : at + run + 1]:
            run += 1
        if run > 1:
            found += bytes([257 - run, data[at]])
        else:
            found += bytes([0, data[at]])
        at += run
    return found


def lzw(data: bytes) -> bytes:
    """LZW with the most significant bit first (TIFF 6.0, section 13)."""
    codes, bits = [(_LZW_CLEAR, 9)], 9
    table = {bytes([value]): value for value in range(256)}
    next_, known = 258, b""
    for value in data:
        longer = known + bytes([value])
        if longer in table:
            known = longer
            continue
        codes.append((table[known], bits))
        table[longer] = next_
        next_ += 1
        bits = max(9, next_.bit_length())
        known = bytes([value])
        if next_ >= _LZW_MAX:
            codes.append((_LZW_CLEAR, bits))
            table = {bytes([value]): value for value in range(256)}
            next_, bits = 258, 9
    codes.append((table[known], bits))
    next_ += 1
    bits = max(9, next_.bit_length())
    codes.append((_LZW_END, bits))
    text = "".join(format(code, f"0{size}b") for code, size in codes)
    text += "0" * (-len(text) % 8)
    return int(text, 2).to_bytes(len(text) // 8, "big")


def stored(data: bytes) -> bytes:
    """A zlib stream of stored blocks (RFC 1950, RFC 1951)."""
    pieces = [data[at : at + 65_535] for at in range(0, len(data), 65_535)] or [b""]
    body = b"".join(
        struct.pack("<BHH", number == len(pieces) - 1, len(piece), len(piece) ^ 0xFFFF) + piece
        for number, piece in enumerate(pieces)
    )
    return b"\x78\x01" + body + struct.pack(">I", zlib.adler32(data))


def zstd(data: bytes) -> bytes:
    """A frame of Zstandard with raw blocks (RFC 8878, 3.1.1)."""
    pieces = [data[at : at + 100_000] for at in range(0, len(data), 100_000)]
    body = b"".join(
        struct.pack("<I", (number == len(pieces) - 1) | len(piece) << 3)[:3] + piece
        for number, piece in enumerate(pieces)
    )
    return b"\x28\xb5\x2f\xfd\xa0" + struct.pack("<I", len(data)) + body


def xz(data: bytes) -> bytes:
    """An xz stream whose LZMA2 chunks are not compressed (The .xz File Format, 1.2)."""
    flags = b"\0\1"  # the check is a CRC-32
    head = b"\xfd7zXZ\0" + flags + struct.pack("<I", crc32(flags))
    block = b"\2\0\x21\1\x16\0\0\0"
    block += struct.pack("<I", crc32(block))
    pieces = [data[at : at + 65_536] for at in range(0, len(data), 65_536)]
    chunks = b"".join(
        bytes([2 if number else 1]) + struct.pack(">H", len(piece) - 1) + piece
        for number, piece in enumerate(pieces)
    )
    chunks += b"\0"
    unpadded = len(block) + len(chunks) + 4
    block += chunks + bytes(-len(chunks) % 4) + struct.pack("<I", crc32(data))
    index = b"\0\1" + _multibyte(unpadded) + _multibyte(len(data))
    index += bytes(-len(index) % 4)
    index += struct.pack("<I", crc32(index))
    tail = struct.pack("<I", len(index) // 4 - 1) + flags
    return head + block + index + struct.pack("<I", crc32(tail)) + tail + b"YZ"


def _multibyte(value: int) -> bytes:
    found = b""
    while value > 127:
        found += bytes([value & 127 | 128])
        value >>= 7
    return found + bytes([value])


# --- fax ------------------------------------------------------------------------------------
# The chart of BITS has runs of 35 and 36 pixels alone, and rows that begin with either colour.

_WHITE = {0: "00110101", 35: "00010100", 36: "00010101"}
_BLACK = {0: "0000110111", 35: "000011010011", 36: "000011010100"}
_EOL, _EOFB = "000000000001", "000000000001" * 2


def _runs(row: Array) -> list[int]:
    """Lengths of runs, the first of them white (0)."""
    ends = [*np.flatnonzero(np.diff(row)) + 1, len(row)]
    runs = np.diff([0, *ends]).tolist()
    return [0, *runs] if row[0] else runs


def _coded(runs: list[int]) -> str:
    return "".join((_BLACK if at % 2 else _WHITE)[run] for at, run in enumerate(runs))


def _packed(text: str) -> bytes:
    text += "0" * (-len(text) % 8)
    return int(text, 2).to_bytes(len(text) // 8, "big")


def huffman(rows: Array) -> bytes:
    """Modified Huffman: rows begin at whole bytes (TIFF 6.0, section 10)."""
    return b"".join(_packed(_coded(_runs(row))) for row in rows[:, :, 0])


def group3(rows: Array) -> bytes:
    """Group 3, one-dimensional (T4Options 0)."""
    return _packed("".join(_EOL + _coded(_runs(row)) for row in rows[:, :, 0]))


def group4(rows: Array) -> bytes:
    """Group 4: rows that are like the one above, and others in horizontal mode (ITU-T T.6)."""
    text, above = "", np.zeros(rows.shape[1])
    for row in rows[:, :, 0]:
        runs = _runs(row)
        if np.array_equal(row, above):
            text += "1" * (len(np.flatnonzero(np.diff(row))) + 1 + int(row[0]))
        else:
            runs += [0] * (len(runs) % 2)
            for at in range(0, len(runs), 2):
                text += "001" + _WHITE[runs[at]] + _BLACK[runs[at + 1]]
        above = row
    return _packed(text + _EOFB)


def fax_chart() -> Array:
    """The chart of bits: 1 is black."""
    assert painted(BITS).shape == (HEIGHT, WIDTH, 1)
    assert len(BITS) % COLUMNS == 0
    return painted(BITS)


# --- WebP -----------------------------------------------------------------------------------


def webp_lossless(pixels: Array, *, alpha: bool = False) -> bytes:
    """A VP8L stream in its container: literals whose codes are all of 8 bits (RFC 9649, 3)."""
    height, width = pixels.shape[:2]
    bits = [_little(width - 1, 14), _little(height - 1, 14), "1" if alpha else "0", "000"]
    bits.append("0" + "0" + "0")  # no transform, no colour cache, no meta codes
    bits.append(_eight_bit_codes(256 + 24))
    bits += [_eight_bit_codes(256)] * 3
    bits.append("1" + "0" + "0" + "0")  # distances: a simple code of the symbol 0
    order = (1, 0, 2, 3) if alpha else (1, 0, 2)
    # The code of the symbol n is n, most significant bit first.
    bits += [
        format(pixel[channel], "08b") if channel < len(pixel) else "11111111"
        for pixel in pixels.reshape(-1, pixels.shape[2]).tolist()
        for channel in (order if alpha else (*order, 3))
    ]
    text = "".join(bits)
    text += "0" * (-len(text) % 8)
    body = b"\x2f" + int(text[::-1], 2).to_bytes(len(text) // 8, "little")
    return riff((b"VP8L", body))


def _little(value: int, bits: int) -> str:
    return format(value, f"0{bits}b")[::-1]


def _eight_bit_codes(symbols: int) -> str:
    """A code of 256 symbols of 8 bits: the lengths 8 and 0 have codes of 1 bit each."""
    order = (17, 18, 0, 1, 2, 3, 4, 5, 16, 6, 7, 8)
    text = "0" + _little(len(order) - 4, 4)
    text += "".join(_little(1 if length in {0, 8} else 0, 3) for length in order)
    text += "0"  # lengths of all symbols follow
    return text + "".join("1" if symbol < 256 else "0" for symbol in range(symbols))


def riff(*chunks: tuple[bytes, bytes]) -> bytes:
    """A WebP of chunks."""
    body = b"WEBP"
    for name, data in chunks:
        body += name + struct.pack("<I", len(data)) + data + bytes(len(data) % 2)
    return b"RIFF" + struct.pack("<I", len(body)) + body
