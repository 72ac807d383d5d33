"""Arithmetic coding of the coefficients of JPEG blocks (ITU-T T.81, annexes D and F.1.4)."""

from collections.abc import Sequence

_TABLE = """
    5a1d:1:1! 2586:14:2 1114:16:3 080b:18:4 03d8:20:5 01da:23:6 00e5:25:7 006f:28:8
    0036:30:9 001a:33:10 000d:35:11 0006:9:12 0003:10:13 0001:12:13 5a7f:15:15! 3f25:36:16
    2cf2:38:17 207c:39:18 17b9:40:19 1182:42:20 0cef:43:21 09a1:45:22 072f:46:23 055c:48:24
    0406:49:25 0303:51:26 0240:52:27 01b1:54:28 0144:56:29 00f5:57:30 00b7:59:31 008a:60:32
    0068:62:33 004e:63:34 003b:32:35 002c:33:9 5ae1:37:37! 484c:64:38 3a0d:65:39 2ef1:67:40
    261f:68:41 1f33:69:42 19a8:70:43 1518:72:44 1177:73:45 0e74:74:46 0bfb:75:47 09f8:77:48
    0861:78:49 0706:79:50 05cd:48:51 04de:50:52 040f:50:53 0363:51:54 02d4:52:55 025c:53:56
    01f8:54:57 01a4:55:58 0160:56:59 0125:57:60 00f6:58:61 00cb:59:62 00ab:61:63 008f:61:32
    5b12:65:65! 4d04:80:66 412c:81:67 37d8:82:68 2fe8:83:69 293c:84:70 2379:86:71
    1edf:87:72 1aa9:87:73 174e:72:74 1424:72:75 119c:74:76 0f6b:74:77 0d51:75:78 0bb6:77:79
    0a40:77:48 5832:80:81! 4d1c:88:82 438e:89:83 3bdd:90:84 34ee:91:85 2eae:92:86
    299a:93:87 2516:86:71 5570:88:89! 4ca9:95:90 44d9:96:91 3e22:97:92 3824:99:93
    32b4:99:94 2e17:93:86 56a8:95:96! 4f46:101:97 47e5:102:98 41cf:103:99 3c3d:104:100
    375e:99:93 5231:105:102 4c0f:106:103 4639:107:104 415e:103:99 5627:105:106!
    50e7:108:107 4b85:109:103 5597:110:109 504f:111:107 5a10:110:111! 5522:112:109
    59eb:112:111!
"""
"""Probability of the less probable symbol, and the next states after it and after the other one;
with a mark, the two are exchanged (table D.3)."""
_STATES = [
    (int(size, 16), int(less), int(more.rstrip("!")), more.endswith("!"))
    for size, less, more in (entry.split(":") for entry in _TABLE.split())
]
_AC = 64
"""Contexts of DC, before those of AC."""
_EVEN = 400
"""The context of signs of AC, which learns nothing."""
_MAX_LOW = 5
"""Kx, the last coefficient of the low ones, by default."""


class Coder:
    """The data of one interval between restart markers; the statistics are those of one table."""

    def __init__(self, components: int) -> None:
        self._states = [[0, 0] for _ in range(_EVEN + 1)]
        self._range, self._code, self._left = 0x10000, 0, 11
        self._data = bytearray()
        self._before = [0] * components
        self._context = [0] * components

    def dc(self, component: int, value: int) -> None:
        """Code the DC coefficient of a block (F.1.4.1)."""
        difference = value - self._before[component]
        self._before[component] = value
        at = self._context[component]
        self._bit(at, difference != 0)
        self._context[component] = 0
        if difference:
            negative = difference < 0
            self._bit(at + 1, negative)
            large = self._magnitude(abs(difference) - 1, (at + 2 + negative,), 20)
            # L is 0 and U is 1: differences of 1 and 2 are small, others are large.
            self._context[component] = 4 + 4 * negative + 8 * (large > 1)

    def ac(self, block: Sequence[int], start: int, end: int) -> None:
        """Code the coefficients from `start` to `end` of a block in zigzag order (F.1.4.2)."""
        last = max((at for at in range(start, end + 1) if block[at]), default=start - 1)
        at = start
        while at <= last:
            self._bit(_AC + 3 * (at - 1), False)
            while not block[at]:
                self._bit(_AC + 3 * (at - 1) + 1, False)
                at += 1
            self._bit(_AC + 3 * (at - 1) + 1, True)
            self._bit(_EVEN, block[at] < 0)
            first = _AC + 3 * (at - 1) + 2
            following = _AC + (189 if at <= _MAX_LOW else 217)
            self._magnitude(abs(block[at]) - 1, (first, first), following)
            at += 1
        if at <= end:
            self._bit(_AC + 3 * (at - 1), True)

    def _magnitude(self, size: int, first: Sequence[int], following: int) -> int:
        """Code a number by its length, then its bits (F.1.4.3.1); the length as a power of two."""
        length = size.bit_length()
        places = [*first, *range(following, following + 16)][: length + 1]
        for number, place in enumerate(places):
            self._bit(place, number < length)
        for shift in range(length - 2, -1, -1):
            self._bit(places[-1] + 14, bool(size >> shift & 1))
        return 1 << length >> 1

    def _bit(self, context: int, value: bool) -> None:  # noqa: FBT001 - a symbol
        """Code a symbol (D.1.4 and D.1.5)."""
        state = self._states[context]
        size, after_less, after_more, exchange = _STATES[state[0]]
        self._range -= size
        if value == state[1]:
            if self._range >= 0x8000:
                return
            if self._range < size:
                self._code += self._range
                self._range = size
            following = after_more
        else:
            if self._range >= size:
                self._code += self._range
                self._range = size
            following = after_less
            state[1] ^= exchange and context != _EVEN
        if context != _EVEN:
            state[0] = following
        while self._range < 0x8000:
            self._range <<= 1
            self._code <<= 1
            self._left -= 1
            if not self._left:
                self._byte()

    def _byte(self) -> None:
        """Put a byte out, and the carry into those before it (D.1.6)."""
        value = self._code >> 19
        if value > 0xFF:
            at = len(self._data) - 1
            while self._data[at] == 0xFF:
                self._data[at] = 0
                at -= 1
            self._data[at] += 1
        self._data.append(value & 0xFF)
        self._code &= 0x7FFFF
        self._left = 8

    def finish(self) -> bytes:
        """The data, stuffed (D.1.8)."""
        most = (self._code + self._range - 1) & ~0xFFFF
        self._code = (most + 0x8000 if most < self._code else most) << self._left
        self._byte()
        self._code <<= 8
        self._byte()
        return bytes(self._data).replace(b"\xff", b"\xff\0")
