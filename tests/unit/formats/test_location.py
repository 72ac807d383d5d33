"""Removal of location data from metadata."""

import io

import pytest
from PIL import Image

from iiif_server.formats.location import (
    XMP_LOCATION,
    exif_without_location,
    iptc_without_location,
    resources_without_location,
)
from iiif_server.formats.xmp import without_properties
from support.jpeg_metadata import degrees, exif, iptc, photoshop, short, text, xmp

PLACE, MAKER = "Atlantis", b"maker says 51.5 N"


def tags(order: str) -> dict[int, object]:
    return {
        274: short(6, order),
        315: text("Ada Lovelace"),
        700: (1, 40, b"<x>Atlantis</x>".ljust(40)),
        33_432: text("(c) Ada"),
        33_723: (7, 20, b"Atlantis".ljust(20)),
        34_665: {
            37_500: (7, len(MAKER), MAKER),
            36_867: text("2020:01:02 03:04:05"),
            40_965: {1: text("R98")},
        },
        34_853: {1: text("N"), 2: degrees(51, order), 29: text("2020:01:02")},
    }


@pytest.mark.parametrize("order", ["<", ">"])
def test_exif_keeps_everything_but_the_location(order: str) -> None:
    made = exif_without_location(exif(tags(order), order))
    found = Image.Exif()
    found.load(b"Exif\0\0" + made)
    assert dict(found) | {34_665: 0} == {
        274: 6, 315: "Ada Lovelace", 33_432: "(c) Ada", 34_665: 0,
    }  # fmt: skip
    inside = found.get_ifd(34_665)
    assert inside[36_867] == "2020:01:02 03:04:05"
    assert 37_500 not in inside
    assert found.get_ifd(40_965) == {1: "R98"}
    assert found.get_ifd(34_853) == {}
    for trace in (MAKER, PLACE.encode(), degrees(51, order)[2]):
        assert trace not in made
        assert trace in exif(tags(order), order)


@pytest.mark.parametrize("order", ["<", ">"])
def test_exif_with_directories_that_contain_each_other_is_dropped(order: str) -> None:
    whole = bytearray(exif({34_665: {34_665: {34_665: {1: short(1, order)}}}}, order))
    assert exif_without_location(bytes(whole)) == b""


def test_exif_whose_values_overlap_does_not_grow() -> None:
    entries = dict.fromkeys(range(1000, 1060), (7, 900, b""))
    data = bytearray(exif(entries))
    for number in range(len(entries)):
        data[10 + 12 * number + 8 : 10 + 12 * number + 12] = (8).to_bytes(4, "little")
    data += bytes(2000)
    assert exif_without_location(bytes(data)) == b""


def test_every_prefix_of_exif_is_read_or_dropped() -> None:
    whole = exif(tags("<"))
    for length in range(len(whole)):
        made = exif_without_location(whole[:length])
        assert degrees(51)[2] not in made
        assert PLACE.encode() not in made


def test_iptc_keeps_everything_but_the_location() -> None:
    kept = ((80, "Ada"), (116, "(c)"))
    data = iptc(kept[0], (90, PLACE), (92, PLACE), (27, PLACE), (101, PLACE), kept[1])
    assert iptc_without_location(data) == iptc(*kept)
    assert iptc_without_location(iptc(kept[0]) + b"\x1c\x02\x5a\x80\x04Atla") == iptc(kept[0])
    assert iptc_without_location(data[:-1]) == iptc(kept[0])


def resources(*items: tuple[int, bytes]) -> bytes:
    return photoshop(*items)[4 + len(b"Photoshop 3.0\0") :]


def test_resources_keep_everything_but_the_location() -> None:
    data = resources((1028, iptc((80, "Ada"), (90, PLACE))), (1060, b"<Atlantis/>"), (1005, b"odd"))
    assert resources_without_location(data) == resources((1028, iptc((80, "Ada"))), (1005, b"odd"))
    named = b"8BIM\x03\xed\x04name\0" + b"\0\0\0\x02ab"
    assert resources_without_location(named) == named
    for length in range(1, len(data)):
        assert PLACE.encode() not in resources_without_location(data[:length])


SPACES = (
    'xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:exif="http://ns.adobe.com/exif/1.0/" '
    'xmlns:photoshop="http://ns.adobe.com/photoshop/1.0/" '
    'xmlns:ext="http://iptc.org/std/Iptc4xmpExt/2008-02-29/" '
    'xmlns:dji="http://www.dji.com/drone-dji/1.0/" '
)


def test_xmp_keeps_everything_but_the_location() -> None:
    attributes = (
        f'{SPACES} exif:GPSLatitude="51,1N" photoshop:City="Atlantis" photoshop:Credit="Ada"'
    )
    inside = (
        "<dc:rights>(c) Ada</dc:rights><photoshop:Country>Atlantis</photoshop:Country>"
        '<ext:LocationCreated><rdf:Bag><rdf:li ext:City="Atlantis"/></rdf:Bag>'
        "</ext:LocationCreated>"
        "<dji:GpsLongitude>Atlantis</dji:GpsLongitude><dc:coverage>Atlantis</dc:coverage>"
        '<ext:Artwork ext:CountryCode="Atlantis"/>'
    )
    packet = xmp(inside, attributes)[4 + len(b"http://ns.adobe.com/xap/1.0/\0") :]
    made = without_properties(packet, XMP_LOCATION)
    assert b"(c) Ada" in made
    assert b'Credit="Ada"' in made
    assert b"Atlantis" not in made
    assert b"51,1N" not in made
    assert made.startswith(b"<?xpacket begin=")


@pytest.mark.parametrize("packet", [b"", b"<a", b"<!DOCTYPE a><a/>", b"\xff\xfe", b"<a>" * 99])
def test_xmp_that_cannot_be_read_is_dropped(packet: bytes) -> None:
    assert without_properties(packet, XMP_LOCATION) == b""


def test_what_this_module_writes_is_read_by_others() -> None:
    image = Image.new("RGB", (8, 8))
    file = io.BytesIO()
    image.save(file, "JPEG", exif=b"Exif\0\0" + exif_without_location(exif(tags("<"))))
    assert Image.open(file).getexif()[315] == "Ada Lovelace"
