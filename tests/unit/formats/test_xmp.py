"""XMP: only known properties of valid packets are returned."""

import pytest

from iiif_server.formats.xmp import xmp_properties

HEAD = (
    '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF '
    'xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description '
    'xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:xmp="http://ns.adobe.com/xap/1.0/" '
    'xmlns:photoshop="http://ns.adobe.com/photoshop/1.0/" '
    'xmlns:exif="http://ns.adobe.com/exif/1.0/" '
)
TAIL = "</rdf:Description></rdf:RDF></x:xmpmeta>"
PACKET = (
    HEAD + 'xmp:Rating="5" photoshop:City="Oslo" exif:GPSLatitude="59,54N" xmp:Secret="x">'
    "<dc:creator><rdf:Seq><rdf:li>Ann</rdf:li><rdf:li>Bo</rdf:li></rdf:Seq></dc:creator>"
    '<dc:title><rdf:Alt><rdf:li xml:lang="x-default">Map</rdf:li>'
    '<rdf:li xml:lang="de">Karte</rdf:li></rdf:Alt></dc:title>'
    "<dc:source>Box 1</dc:source><dc:coverage>Oslo</dc:coverage>" + TAIL
).encode()
SHOWN = {"xmp:Rating": "5", "dc:creator": ["Ann", "Bo"], "dc:title": "Map", "dc:source": "Box 1"}


def test_known_properties_are_read_and_no_location() -> None:
    assert xmp_properties(PACKET, location=False) == SHOWN


def test_the_location_is_read_where_it_is_wanted() -> None:
    assert xmp_properties(PACKET, location=True) == SHOWN | {
        "photoshop:City": "Oslo", "exif:GPSLatitude": "59,54N", "dc:coverage": "Oslo",
    }  # fmt: skip


@pytest.mark.parametrize(
    "packet",
    [
        b"",
        b"no xml",
        PACKET[:-20],
        b'<!DOCTYPE a [<!ENTITY b "c">]>' + PACKET,
        ('<?xml version="1.0" encoding="UTF-16"?><!DOCTYPE a SYSTEM "file:///etc/passwd">'
         + PACKET.decode()).encode("utf-16"),
        b"<a>" * 100_000 + b"</a>" * 100_000,
        b"<a>" + b"<b/>" * 100_000 + b"</a>",
        PACKET + b" " * (1 << 20),
        b'<?xml version="1.0" encoding="nothing"?>' + PACKET,
        b"\xff" * 100,
    ],
)  # fmt: skip
def test_packets_that_are_damaged_or_mean_harm_have_none(packet: bytes) -> None:
    assert xmp_properties(packet, location=True) == {}
