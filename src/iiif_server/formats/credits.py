"""Credits that derivatives keep: creator, copyright and credit line. Pure.

They are properties of XMP, by their names; from IPTC or EXIF where the XMP of a file lacks them.
"""

import unicodedata
from collections.abc import Iterable, Mapping
from contextlib import suppress

from iiif_server.formats.iptc import iptc_properties
from iiif_server.formats.xmp import Kind, xmp_packet, xmp_properties
from iiif_server.plan.header import Credits

_KINDS = {
    "dc:creator": Kind.SEQUENCE, "dc:rights": Kind.ALTERNATIVES, "photoshop:Credit": Kind.TEXT,
    "xmpRights:Owner": Kind.BAG, "xmpRights:Marked": Kind.TEXT,
    "xmpRights:UsageTerms": Kind.ALTERNATIVES, "xmpRights:WebStatement": Kind.TEXT,
}  # fmt: skip
_OF_IPTC = {
    "dc:creator": "byline", "dc:rights": "copyrightNotice", "photoshop:Credit": "credit",
}  # fmt: skip
ARTIST, COPYRIGHT = 315, 33_432
"""Tags of EXIF and TIFF for creator and copyright."""
_OF_EXIF = {"dc:creator": ARTIST, "dc:rights": COPYRIGHT}
_MAX_ITEMS, _MAX_ITEM_CHARACTERS, _MAX_TEXT_CHARACTERS = 10, 200, 1_000
"""Maximum number of values and of characters: together they fit into one JPEG segment."""


def plain_text(text: str, most: int) -> str:
    """Return a text without control and bidirectional formatting characters."""
    shown = (c for c in text[:most] if c == "\n" or unicodedata.category(c)[0] != "C")
    return "".join(shown).strip()


def credits_of(xmp: bytes, iptc: bytes, exif: Mapping[int, str | bytes]) -> Credits:
    """Return the credits in metadata blocks; damaged blocks count as empty."""
    properties = xmp_properties(xmp, location=False)
    datasets = iptc_properties(iptc, location=False)
    found = []
    for name, kind in _KINDS.items():
        said = (
            properties.get(name, ()),
            datasets.get(_OF_IPTC.get(name, ""), ()),
            _decoded(exif.get(_OF_EXIF.get(name, 0), "")),
        )
        values = next(filter(None, (_cleaned(one, kind) for one in said)), None)
        if values:
            found.append((name, values))
    return tuple(found)


def credits_packet(credits_: Credits) -> bytes:
    """Return an XMP packet that contains only the credits."""
    return xmp_packet((name, _KINDS[name], values) for name, values in credits_)


def _decoded(value: str | bytes) -> str:
    """Decode an EXIF text: ASCII in the standard, UTF-8 or Latin-1 in practice.

    Copyright can be that of the photographer and that of the editor (EXIF 2.3, 4.6.4).
    """
    text = value if isinstance(value, str) else value.decode("latin-1")
    with suppress(UnicodeError):
        text = text.encode("latin-1").decode()
    return "; ".join(filter(None, (part.strip() for part in text.split("\0"))))


def _cleaned(value: str | Iterable[str], kind: Kind) -> tuple[str, ...]:
    values = [value] if isinstance(value, str) else list(value)
    several = kind in {Kind.SEQUENCE, Kind.BAG}
    number, most = (_MAX_ITEMS, _MAX_ITEM_CHARACTERS) if several else (1, _MAX_TEXT_CHARACTERS)
    return tuple(filter(None, (plain_text(one, most) for one in values[:number])))
