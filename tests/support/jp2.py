"""JP2 boxes written by hand."""

import base64
import struct

SIDE = 32
"""Width and height."""


def box(name: bytes, content: bytes) -> bytes:
    """Return a box."""
    return struct.pack(">I4s", 8 + len(content), name) + content


def jp2(stream: bytes, *inner: bytes, count: int = 3) -> bytes:
    """Return a JP2 of a codestream of so many components, with boxes in its header."""
    signature = box(b"jP  ", b"\r\n\x87\n")
    kind = box(b"ftyp", b"jp2 \0\0\0\0jp2 ")
    header = box(b"ihdr", struct.pack(">IIHBBBB", SIDE, SIDE, count, 7, 7, 0, 0))
    return signature + kind + box(b"jp2h", header + b"".join(inner)) + box(b"jp2c", stream)


def enumerated(space: int) -> bytes:
    """Return a colour specification box with an enumerated colour space."""
    return box(b"colr", struct.pack(">BBBI", 1, 0, 0, space))


def palette(*entries: tuple[int, ...]) -> bytes:
    """Return a palette box of bytes."""
    table = b"".join(bytes(entry) for entry in entries)
    columns = len(entries[0])
    return box(b"pclr", struct.pack(">HB", len(entries), columns) + b"\7" * columns + table)


def mapping(*columns: int) -> bytes:
    """Return a component mapping box: these columns of the palette, by the first component."""
    return box(b"cmap", b"".join(struct.pack(">HBB", 0, 1, column) for column in columns))


def channels(*definitions: tuple[int, int, int]) -> bytes:
    """Return a channel definition box: channel, type and association of each."""
    content = b"".join(struct.pack(">HHH", *definition) for definition in definitions)
    return box(b"cdef", struct.pack(">H", len(definitions)) + content)


FIVE_COMPONENTS = base64.b85decode(
    "|4;u>05t#r0000W0000W00000000000000W0000W000000000000jpD0S5sA2LS;G0RaaA0sm3}3;+NC0RaUB1ON"
    "g5TmTb5KuAbXNJvmfNKi;fP)JBn|6~9q00BdCWnpw>WFTUBAWv{*Zc0!^M<8}(a&u{KZXhx)H7+p!kN^q*00001L"
    ";wN*lgHEq1>eKx1OPwJv<Lu$&$I{!C(pD91Yf}U0RRL)$Jzt{0B_I02nN5;zz6}K&%g)>U%-4JfC%v>$Jz=22=OO"
    "4zsK4N00C%OPp`+?3IGTba2^-O+6n*xTU;I&z<eSA7c6sg$J!787c6ssondy7$J!DA7ua=n7Ztqk)yLWt02eCZHf"
    "U7$$6y1;+7tj6*5fv4RQJbV>cD&>03mJ+WL1C1+8h8OZVec|WG!G&Nen-1f5+M!03sR*pkI)ZAOe%~P7e>yz%(Il"
    "4I?f*lt2IgE`aOLz(67z4<jxz7P3}_Q8-9N3xB|TB7imWKjPoV+8O{g@;~E>le7Z~0>pTK$J!bIHl9J^-i~ks1tl"
    "a})5qEr05$SIs=Eqs0|^Mn+86*fo<XX+3UC7m{R)u(*#"
)
"""(200, 40, 40, 9, 250) beside (40, 60, 200, 250, 9), as opj_compress wrote it."""
FIVE_OF_12_BITS = base64.b85decode(
    "|4;u>05t#r0000W0000W00000000000000W0000W000000000000j#H0Sf^E3jqNO0RamE0sm3}3;+NC0RaUB1ON"
    "g5TmTb5U}$J?XlQU~XmDs~aA;_7|6~9q00BdCWnpw>WFTUBAWv{*Zc0!^M<8}(a&u{KZXhx)H7+p!kN^q*00001t"
    "pEZ4lgI1^1=oMW^8x?^&*TgMdVkO42nQ$6<O~FDf57|zfCP8P@&*6^Yk$x11ONup&+r5Q0hrJ51ONz7z<r>=2=OK"
    "+qd&*;4gd)8CpeO4-N*6}00C%OPrO#`f5-9;00<Ls9vKLk$MOyU0b5)i83>=ieW3ssEOT`+<v1J1@)`gaEOURIVR"
    "n)h0fw%J$MPBg7ua=n7Ztq&ns}-OZ^!Z;02eCZHfU7$$6x}FV(cV;$MPHi7uMr8XjJ#dU;>X~>?y!~p@1Q748zQT"
    "l8&?CZhyz}EC3;H4H&*;EnrYd3;7AiIRI*K2iXz<$MP%yA{q&xUyza@0+f7)HPp5NJ8*%M%Ae2hEC3;H4I?fx7P3"
    "}_Q8-9N3y$U2xsm$m&+se&A{q}PE;1IfR)tYGNJR^d<=459`su)Zp&&K#KjPF3*hovq@+JT^@;~E>le7Z~0>pTbA"
    "T5TLI3LIIC;&E|LE_$ya03M;BwExJ-2y;>wjamx9so7+KdQS5a03YltpmbBU&rzu05+aMs=Eqs0|^MN1HwXI|Je"
)
"""The same in 12 bits."""
