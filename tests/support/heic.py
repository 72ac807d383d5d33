"""HEIC of 48 x 24 pixels, as x265 wrote it: the tests depend on no HEVC encoder."""

import base64
import struct

LEFT, RIGHT = (200, 40, 40), (40, 60, 200)

HALVES = base64.b85decode(
    "0000SW^{RQXk}?*00000ZE0pPXk}?*ZE0a<00054ZDn*}000000000XXk=`10000000000aA{+7000000000"
    "000000000004sdC7Z2$lO00062000naWMOmw00000FaQ_;001~?Y;R)$0000)KmY;&0RR9100001(EtGe000"
    "00002h-0ssL3000000003100000000O8001~?X>Mi!000000ssI26=`l}WdZ;I0RRC20BCk&F#rGn02OI&W@"
    "Q2Z00002003ulX=DHZ007u&aB^?}006dWaAR)(004Gqc4I>U18@KU000000000U@BsY%`1k+-4+9_o0RR|40"
    "Sp2E{{wIU00RJ!0009300RIXx&lBU0096hLID8-Z~y=U0FVFx0{{R603M(qfd!W8uA1iHKtRBN00093fB*mk"
    "0E8j{0RRR>0l{;@i2wiq6lrsCWdHyG00000KmY&$KmY&$6lrsCWdHyG00000FaQ7m7ytkO5O8UDX#fBK00Rg"
    "J2mk;88fkECVE_OC000000ssL5fdT*m0t18q000_ka%E-!00000000hTX>Df!0ssL30RR91Pi<sjbN~PVLnr"
    "~S3CL-N8aX3ZfB(;GAO9$4q5H(6ly{&cI8V}l0*c_0KJwrG?9j@7hbrlM;F7dkwj24^0f1u|&_JK!y<BXh"
)
"""The left half (200, 40, 40), the right half (40, 60, 200)."""


def of_two(*, primary: int) -> bytes:
    """The two items as images of their own: 1 is the 64 x 64 pixels that 2 is a part of."""
    data = bytearray(HALVES)
    data[data.index(b"infe") + 7] = 0  # no longer hidden
    data[data.index(b"pitm") + 9] = primary
    return bytes(data)


def with_code_points(primaries: int, transfer: int) -> bytes:
    """Return the same pixels with a colr box (nclx) of these code points for both items."""
    box = struct.pack(">I4s4sHHHB", 19, b"colr", b"nclx", primaries, transfer, 6, 0x80)
    properties, uses = HALVES.index(b"ipco") - 4, HALVES.index(b"ipma") - 4
    old = HALVES[uses : HALVES.index(b"iref") - 4]
    new = struct.pack(">I4sII", len(old) + 2, b"ipma", 0, 2)
    new += b"\0\1\3\x81\x02\x05" + b"\0\2\3\x03\x84\x05"
    data = bytearray(HALVES[:uses] + box + new + HALVES[uses + len(old) :])
    growth = len(box) + len(new) - len(old)
    grown = {
        HALVES.index(b"meta") - 4: growth,
        HALVES.index(b"iprp") - 4: growth,
        properties: len(box),
        HALVES.index(b"\0\0\x01\xd1"): growth,  # where the pixels are
    }
    for at, by in grown.items():
        struct.pack_into(">I", data, at, struct.unpack_from(">I", data, at)[0] + by)
    return bytes(data)
