"""Credits stay in derivatives; all other metadata is removed."""

import io
import struct
import xml.etree.ElementTree as ET
import zlib
from pathlib import Path

import pytest
import tifffile
from PIL import Image, TiffImagePlugin

from iiif_server import open_image
from support.apps import picture
from support.hostile import png_chunk
from support.jpeg_metadata import exif, iptc, photoshop, segment, text, with_segments, xmp

DC, RDF = "{http://purl.org/dc/elements/1.1/}", "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}"
SPACES = (
    'xmlns:dc="http://purl.org/dc/elements/1.1/" '
    'xmlns:photoshop="http://ns.adobe.com/photoshop/1.0/" '
    'xmlns:xmpRights="http://ns.adobe.com/xap/1.0/rights/"'
)
CREDITED = (
    "<dc:creator><rdf:Seq><rdf:li>Ann &amp; Bo</rdf:li><rdf:li>Cy</rdf:li></rdf:Seq></dc:creator>"
    '<dc:rights><rdf:Alt><rdf:li xml:lang="x-default">© Ann</rdf:li></rdf:Alt></dc:rights>'
    "<photoshop:Credit>The Museum</photoshop:Credit><photoshop:City>Oslo</photoshop:City>"
    "<dc:description>Private</dc:description>"
    "<xmpRights:WebStatement>https://example.org/</xmpRights:WebStatement>"
)
SIZE = (400, 300)
Found = dict[str, list[str]]
ALL: Found = {
    "creator": ["Ann & Bo", "Cy"],
    "rights": ["© Ann"],
    "Credit": ["The Museum"],
    "WebStatement": ["https://example.org/"],
}


def packet(properties: str = CREDITED) -> bytes:
    return xmp("", SPACES)[4 + 29 :].replace(b"></rdf:D", f">{properties}</rdf:D".encode())


def credits_in(data: bytes) -> Found:
    """Read credits with another library than the writer's."""
    with Image.open(io.BytesIO(data)) as image:
        image.load()
        raw = image.info.get("xmp") or b""
        if image.format == "TIFF":
            with tifffile.TiffFile(io.BytesIO(data)) as file:
                tag = file.pages[0].tags.get(700)  # type: ignore[union-attr]
                raw = b"" if tag is None else bytes(tag.value)
        if image.format == "JPEG2000":
            head = bytes.fromhex("be7acfcb97a942e89c71999491e3afac")
            raw = data.partition(head)[2]
    return properties_of(raw)


def properties_of(raw: bytes) -> Found:
    if not raw:
        return {}
    (description,) = ET.fromstring(raw.strip(b"\0")).iter(f"{RDF}Description")  # noqa: S314 - our own
    return {
        element.tag.partition("}")[2]: [item.text or "" for item in element.iter(f"{RDF}li")]
        or [element.text or ""]
        for element in description
    }


def tiff() -> bytes:
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags[315], tags[33432] = "Ann", "(c) Ann"
    tags[33723], tags.tagtype[33723] = iptc((110, "The Museum")), 7
    return picture(*SIZE, "TIFF", tiffinfo=tags)


def jp2() -> bytes:
    content = bytes.fromhex("be7acfcb97a942e89c71999491e3afac") + packet()
    return picture(*SIZE, "JPEG2000") + struct.pack(">I4s", 8 + len(content), b"uuid") + content


def png_of_libvips() -> bytes:
    data = picture(*SIZE, "PNG")
    content = b"zTXtXML:com.adobe.xmp\0\0" + zlib.compress(packet())
    chunk = struct.pack(">I", len(content) - 4) + content + struct.pack(">I", zlib.crc32(content))
    return data[:33] + chunk + data[33:]


def png_with(*chunks: bytes) -> bytes:
    data = picture(*SIZE, "PNG")
    return data[:33] + b"".join(chunks) + data[33:]


def png_after() -> bytes:
    """Insert a chunk after the pixels, like ExifTool."""
    data, content = picture(*SIZE, "PNG"), b"iTXtXML:com.adobe.xmp\0\0\0\0\0" + packet()
    chunk = struct.pack(">I", len(content) - 4) + content + struct.pack(">I", zlib.crc32(content))
    at = data.index(b"IEND") - 4
    return data[:at] + chunk + data[at:]


def jpeg(*segments: bytes) -> bytes:
    return with_segments(picture(*SIZE), *segments)


def psd() -> bytes:
    block = packet()
    block = b"8BIM" + struct.pack(">HHI", 1060, 0, len(block)) + block + bytes(len(block) % 2)
    head = struct.pack(">4sH6xHIIHH", b"8BPS", 1, 1, 300, 400, 8, 1)
    return head + bytes(4) + struct.pack(">I", len(block)) + block + bytes(4) + bytes(2 + 120_000)


def rendered(
    data: bytes,
    path: Path,
    region: str,
    size: str,
    *,
    quality: str = "default",
    format_: str = "jpg",
) -> bytes:
    path.write_bytes(data)
    with open_image(path) as image:
        return image.render(region, size, quality=quality, format=format_)


ORIGINALS = {
    "jpeg": (jpeg(xmp(CREDITED, SPACES)), ALL),
    "jpeg in iptc": (
        jpeg(photoshop((1028, iptc((80, "Bo"), (80, "Cy"), (116, "Mine"), (90, "Oslo"))))),
        {"creator": ["Bo", "Cy"], "rights": ["Mine"]},
    ),
    "jpeg in exif": (
        jpeg(segment(0xE1, b"Exif\0\0" + exif({315: text("Zoë"), 33432: text("A\0B")}))),
        {"creator": ["Zoë"], "rights": ["A; B"]},
    ),
    "xmp before iptc before exif": (
        jpeg(
            segment(0xE1, b"Exif\0\0" + exif({315: text("exif"), 33432: text("exif")})),
            xmp(
                "<dc:creator><rdf:Seq><rdf:li>xmp</rdf:li></rdf:Seq></dc:creator><dc:rights/>",
                SPACES,
            ),
            photoshop((1028, iptc((80, "iptc"), (116, "iptc")))),
        ),
        {"creator": ["xmp"], "rights": ["iptc"]},
    ),
    "png": (png_after(), ALL),
    "png of libvips": (png_of_libvips(), ALL),
    "png in texts": (
        png_with(
            png_chunk(b"tEXt", b"Author\0Zo\xeb"),
            png_chunk(b"iTXt", b"Copyright" + bytes(5) + "作者".encode()),
        ),
        {"creator": ["Zoë"], "rights": ["作者"]},
    ),
    "webp": (picture(*SIZE, "WEBP", xmp=packet()), ALL),
    "avif": (picture(*SIZE, "AVIF", xmp=packet()), ALL),
    "tiff": (tiff(), {"creator": ["Ann"], "rights": ["(c) Ann"], "Credit": ["The Museum"]}),
    "jp2": (jp2(), ALL),
    "psd": (psd(), ALL),
}


@pytest.mark.parametrize("name", ORIGINALS)
def test_credits_are_found_wherever_formats_have_them(name: str, tmp_path: Path) -> None:
    data, expected = ORIGINALS[name]
    made = rendered(data, tmp_path / "original", "full", "390,")
    assert credits_in(made) == expected
    for private in (b"Oslo", b"Private"):
        assert private not in made


@pytest.mark.parametrize("format_", ["jpg", "png", "tif", "webp", "avif", "jp2"])
@pytest.mark.parametrize("quality", ["default", "bitonal"])
def test_every_format_has_a_place_for_them(format_: str, quality: str, tmp_path: Path) -> None:
    data, path = ORIGINALS["jpeg"][0], tmp_path / "original"
    made = rendered(data, path, "full", "390,", quality=quality, format_=format_)
    assert credits_in(made) == ALL
    if format_ == "jpg":
        lossless = rendered(data, path, "0,0,384,288", "max")
        assert credits_in(lossless) == ALL


def test_pdfs_name_the_author_and_the_copyright(tmp_path: Path) -> None:
    made = rendered(ORIGINALS["jpeg"][0], tmp_path / "original", "full", "390,", format_="pdf")
    for words in ("Ann & Bo; Cy", "© Ann"):
        assert b"\xfe\xff" + words.encode("utf-16-be") in made or words.encode() in made


def test_small_images_do_without(tmp_path: Path) -> None:
    made = rendered(ORIGINALS["jpeg"][0], tmp_path / "original", "full", "360,")
    assert credits_in(made) == {}


def bomb() -> bytes:
    entities = "".join(f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, 9))
    return f'<!DOCTYPE a [<!ENTITY a0 "x">{entities}]>'.encode() + packet().replace(b"Cy", b"&a8;")


@pytest.mark.parametrize(
    "block",
    [
        bomb(),
        packet()[:-20],
        b"<a>" * 20_000,
        packet().replace(b"Cy", b"x" * (1 << 20)),
        packet().replace(b"Cy", b"\xff\xfe\x00"),
        bytes(1000),
    ],
    ids=["bomb", "cut", "deep", "large", "bytes", "zeros"],
)
def test_hostile_xmp_gives_none(block: bytes, tmp_path: Path) -> None:
    data = picture(*SIZE, "WEBP", xmp=block)
    assert credits_in(rendered(data, tmp_path / "original", "full", "390,")) == {}


def test_texts_are_bounded_and_cleaned(tmp_path: Path) -> None:
    names = "".join(f"<rdf:li>{n}\u202e{'&amp;' * 500}</rdf:li>" for n in range(30))
    properties = (
        f"<dc:creator><rdf:Seq>{names}</rdf:Seq></dc:creator><dc:rights>\u0085"
        f"{'&lt;' * 5000}</dc:rights><photoshop:Credit>  </photoshop:Credit>"
        f"<xmpRights:UsageTerms>{'&amp;' * 5000}</xmpRights:UsageTerms>"
        f"<xmpRights:Owner><rdf:Bag>{names}</rdf:Bag></xmpRights:Owner>"
    )
    data = picture(*SIZE, "WEBP", xmp=packet(properties))
    made = rendered(data, tmp_path / "original", "full", "390,")
    found = credits_in(made)
    assert set(found) == {"creator", "rights", "Owner", "UsageTerms"}
    assert len(found["creator"]) == 10
    assert found["creator"][9] == "9" + "&" * 198
    assert found["rights"] == ["<" * 999]
    with Image.open(io.BytesIO(made)) as image:
        assert image.size == (390, 293)
