"""XMP (ISO 16684-1): properties of a packet that responses may contain."""

import re
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Iterator
from enum import StrEnum
from xml.parsers import expat

_MAX_BYTES = 1 << 20
_MAX_DEPTH = 64
_MAX_ELEMENTS = 10_000
_RDF = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}"
_ARRAYS = frozenset({f"{_RDF}Bag", f"{_RDF}Seq", f"{_RDF}Alt"})
_DC, _XMP = "http://purl.org/dc/elements/1.1/", "http://ns.adobe.com/xap/1.0/"
_RIGHTS, _PHOTOSHOP = f"{_XMP}rights/", "http://ns.adobe.com/photoshop/1.0/"
_IPTC = "http://iptc.org/std/Iptc4xmpCore/1.0/xmlns/"
_DUBLIN_CORE = (
    "title creator contributor rights description subject date source identifier publisher type "
    "language relation"
)
_PROPERTIES: dict[str, tuple[str, str]] = {
    _DC: ("dc", _DUBLIN_CORE),
    _XMP: ("xmp", "CreateDate ModifyDate CreatorTool Rating"),
    _RIGHTS: ("xmpRights", "Marked Owner UsageTerms WebStatement"),
    _PHOTOSHOP: ("photoshop", "Headline Credit Source DateCreated AuthorsPosition"),
}  # fmt: skip
_LOCATION_PROPERTIES = {
    _DC: ("dc", "coverage"),
    _PHOTOSHOP: ("photoshop", "City State Country"),
    _IPTC: ("Iptc4xmpCore", "Location CountryCode"),
    "http://ns.adobe.com/exif/1.0/": ("exif", "GPSLatitude GPSLongitude GPSAltitude"),
}

XMP = b"http://ns.adobe.com/xap/1.0/\0"
"""Signature at the start of a JPEG segment with XMP."""
_PREFIXES = {
    "x": "adobe:ns:meta/", "rdf": _RDF[1:-1], "dc": _DC, "xmp": _XMP, "xmpRights": _RIGHTS,
    "photoshop": _PHOTOSHOP, "Iptc4xmpCore": _IPTC,
}  # fmt: skip
for _prefix, _space in _PREFIXES.items():  # some readers know no others
    ET.register_namespace(_prefix, _space)
_PACKET = b'<?xpacket begin="\xef\xbb\xbf" id="W5M0MpCehiHzreSzNTczkc9d"?>%s<?xpacket end="w"?>'

Value = str | list[str]


class Kind(StrEnum):
    """Kind of the value of a property (ISO 16684-1, 6.3)."""

    TEXT = ""
    BAG = "Bag"
    SEQUENCE = "Seq"
    ALTERNATIVES = "Alt"
    """Language alternative: one text in several languages."""


class _UnsafePacketError(Exception):
    """Error for a packet that declares a document type, or is too large."""


def xmp_properties(packet: bytes, *, location: bool) -> dict[str, Value]:
    """Return the known properties of a packet, as `dc:title`; none if it is damaged or hostile.

    With `location`, also those of places.
    """
    names = {
        f"{{{space}}}{name}": f"{prefix}:{name}"
        for table in ((_PROPERTIES, _LOCATION_PROPERTIES) if location else (_PROPERTIES,))
        for space, (prefix, words) in table.items()
        for name in words.split()
    }
    root = _parsed(packet)
    if root is None:
        return {}
    found: dict[str, Value] = {}
    for description in root.iter(f"{_RDF}Description"):
        for tag, value in _properties(description):
            if tag in names and value:
                found.setdefault(names[tag], value)
    return found


def without_properties(packet: bytes, unwanted: re.Pattern[str]) -> bytes:
    """Return the packet without properties whose names, `{namespace}name`, match a pattern.

    Nested properties are checked, too. Empty for a packet that is damaged or hostile.
    """
    root = _parsed(packet)
    if root is None or unwanted.search(root.tag):
        return b""
    for element in list(root.iter()):
        for name in [name for name in element.attrib if unwanted.search(name)]:
            del element.attrib[name]
        for child in [child for child in element if unwanted.search(child.tag)]:
            element.remove(child)
    return _packet(root)


def xmp_packet(properties: Iterable[tuple[str, Kind, Iterable[str]]]) -> bytes:
    """Return a packet of properties, such as `dc:title`, with their values."""
    root = ET.Element(f"{{{_PREFIXES['x']}}}xmpmeta")
    description = ET.SubElement(ET.SubElement(root, f"{_RDF}RDF"), f"{_RDF}Description")
    description.set(f"{_RDF}about", "")
    for name, kind, values in properties:
        prefix, _, local = name.partition(":")
        element = ET.SubElement(description, f"{{{_PREFIXES[prefix]}}}{local}")
        if kind is Kind.TEXT:
            element.text = "".join(values)
            continue
        array = ET.SubElement(element, f"{_RDF}{kind}")
        for value in values:
            item = ET.SubElement(array, f"{_RDF}li")
            item.text = value
            if kind is Kind.ALTERNATIVES:
                item.set("{http://www.w3.org/XML/1998/namespace}lang", "x-default")
    return _packet(root)


def _packet(root: ET.Element) -> bytes:
    text: bytes = ET.tostring(root, "utf-8")
    return _PACKET % text


def _parsed(packet: bytes) -> ET.Element | None:
    try:
        _check(packet)
        return ET.fromstring(packet)  # noqa: S314 - without a document type there are no entities
    except (_UnsafePacketError, expat.ExpatError, ET.ParseError, ValueError, LookupError):
        return None


def _check(packet: bytes) -> None:
    if len(packet) > _MAX_BYTES:
        raise _UnsafePacketError
    depth = elements = 0

    def start(_: str, __: object) -> None:
        nonlocal depth, elements
        depth, elements = depth + 1, elements + 1
        if depth > _MAX_DEPTH or elements > _MAX_ELEMENTS:
            raise _UnsafePacketError

    def end(_: str) -> None:
        nonlocal depth
        depth -= 1

    def reject(*_: object) -> None:
        raise _UnsafePacketError

    parser = expat.ParserCreate()
    parser.StartElementHandler, parser.EndElementHandler = start, end
    parser.StartDoctypeDeclHandler = reject
    parser.Parse(packet, True)


def _properties(description: ET.Element) -> Iterator[tuple[str, Value]]:
    yield from description.attrib.items()
    for element in description:
        array = next((child for child in element if child.tag in _ARRAYS), None)
        if array is None:
            yield element.tag, element.text or ""
            continue
        items = [item.text for item in array if item.text]
        # Alternatives are one text in several languages, the default first.
        yield element.tag, items[0] if array.tag == f"{_RDF}Alt" and items else items
