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
_IPTC_NAMES = {
    "dc:creator": "byline", "dc:rights": "copyrightNotice", "photoshop:Credit": "credit",
}  # fmt: skip
ARTIST, COPYRIGHT = 315, 33_432
"""Tags of EXIF and TIFF for creator and copyright."""
_EXIF_TAGS = {"dc:creator": ARTIST, "dc:rights": COPYRIGHT}
_MAX_ITEMS, _MAX_ITEM_CHARACTERS, _MAX_TEXT_CHARACTERS = 10, 200, 1_000
"""Maximum number of values and of characters: together they fit into one JPEG segment."""


def plain_text(text: str, limit: int) -> str:
    """Return a text without control and bidirectional formatting characters."""
    kept = (char for char in text[:limit] if char == "\n" or unicodedata.category(char)[0] != "C")
    return "".join(kept).strip()


def credits_of(xmp: bytes, iptc: bytes, exif: Mapping[int, str | bytes]) -> Credits:
    """Return the credits in metadata blocks; damaged blocks count as empty."""
    properties = xmp_properties(xmp, location=False)
    datasets = iptc_properties(iptc, location=False)
    found = []
    for name, kind in _KINDS.items():
        candidates = (
            properties.get(name, ()),
            datasets.get(_IPTC_NAMES.get(name, ""), ()),
            _decode_text(exif.get(_EXIF_TAGS.get(name, 0), "")),
        )
        values = next(
            filter(None, (_clean_values(candidate, kind) for candidate in candidates)), None
        )
        if values:
            found.append((name, values))
    return tuple(found)


def credits_packet(credits_: Credits) -> bytes:
    """Return an XMP packet that contains only the credits."""
    return xmp_packet((name, _KINDS[name], values) for name, values in credits_)


def _decode_text(value: str | bytes) -> str:
    """Decode an EXIF text: ASCII in the standard, UTF-8 or Latin-1 in practice.

    Copyright can be that of the photographer and that of the editor (EXIF 2.3, 4.6.4).
    """
    text = value if isinstance(value, str) else value.decode("latin-1")
    with suppress(UnicodeError):
        text = text.encode("latin-1").decode()
    return "; ".join(filter(None, (part.strip() for part in text.split("\0"))))


def _clean_values(value: str | Iterable[str], kind: Kind) -> tuple[str, ...]:
    values = [value] if isinstance(value, str) else list(value)
    is_list = kind in {Kind.SEQUENCE, Kind.BAG}
    max_items, limit = (_MAX_ITEMS, _MAX_ITEM_CHARACTERS) if is_list else (1, _MAX_TEXT_CHARACTERS)
    return tuple(filter(None, (plain_text(text, limit) for text in values[:max_items])))
