"""Metadata of originals."""

import hashlib
import io
import os
import struct
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from PIL import Image, TiffImagePlugin

from support.apps import Server, picture, running_app, settings_below, web_settings
from support.jpeg_metadata import iptc, xmp
from support.pictures import wide_profile
from support.upstream import running_upstream, send

pytestmark = pytest.mark.asyncio(loop_scope="module")

TYPES = {
    "disk": {"source": "disk"},
    "open": {"source": "disk", "show_location": True},
    "secret": {"source": "disk", "access": "signed"},
}
GPS = {1: "N", 2: (59.0, 54.0, 30.5), 3: "E", 4: (10.0, 45.0, 0.0)}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Server]:
    settings = settings_below(
        tmp_path_factory.mktemp("metadata"), types=TYPES, signing={"keys": ["k" * 32]}
    )
    async with running_app(settings) as server:
        yield server


def exif() -> Image.Exif:
    made = Image.Exif()
    made[271], made[315], made[33432], made[274] = "Canon", "Ann\x07", "(c) Ann", 6
    made[0x8769] = {33434: 0.008, 36867: "2020:01:01 10:00:00", 37500: b"maker", 42033: "SERIAL9"}
    made[0x8825] = GPS
    loaded = Image.Exif()  # which TIFFs can be saved with
    loaded.load(made.tobytes())
    return loaded


def photograph(format_: str = "JPEG", **options: Any) -> bytes:
    return picture(300, 150, format_, exif=exif(), dpi=(300, 150), **options)


async def document(server: Server, name: str) -> dict[str, Any]:
    answer = await server.get(f"/{name}/metadata.json")
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/json"
    found: dict[str, Any] = answer.json()
    return found


async def test_a_photograph(server: Server) -> None:
    path = server.put("disk", "a.jpg", photograph())
    found = await document(server, "disk:a.jpg")
    assert found == {
        "format": "JPEG",
        "mediaType": "image/jpeg",
        "bytes": path.stat().st_size,
        "width": 150,
        "height": 300,
        "pages": 1,
        "colourSpace": "rgb",
        "bitDepth": 8,
        "resolution": {"x": 150.0, "y": 300.0, "unit": "dpi"},
        "physicalSize": {"width": 1.0, "height": 1.0, "unit": "in"},
        "exif": {
            "Make": "Canon", "Artist": "Ann", "Copyright": "(c) Ann", "Orientation": 6,
            "ExposureTime": 0.008, "DateTimeOriginal": "2020:01:01 10:00:00",
        },
    }  # fmt: skip


@pytest.mark.parametrize("format_", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
async def test_where_it_was_is_told_only_if_a_setting_says_so(server: Server, format_: str) -> None:
    data = photograph(format_)
    for type_ in ("disk", "open"):
        server.put(type_, f"a.{format_}", data)
        answer = await server.get(f"/{type_}:a.{format_}/metadata.json")
        assert answer.json()["exif"]["Make"] == "Canon"
        for private in ("maker", "SERIAL9"):
            assert private not in answer.text
        shown = answer.json()["exif"].get("GPSLatitude")
        assert shown == ([59.0, 54.0, 30.5] if type_ == "open" else None)
        assert ("GPS" in answer.text) == (type_ == "open")


async def test_a_tiff_of_several_pages_with_blocks(server: Server) -> None:
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags[700] = (
        b'<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description '
        b'xmlns:dc="http://purl.org/dc/elements/1.1/" dc:source="Box 1"/></rdf:RDF>'
    )
    tags.tagtype[700] = 7
    tags[33723], tags.tagtype[33723] = b"\x1c\x02\x50\x00\x02Bo", 7
    file = io.BytesIO()
    image = Image.new("L", (30, 20))
    image.save(
        file, "TIFF", save_all=True, append_images=[image], tiffinfo=tags, dpi=(400, 400),
    )  # fmt: skip
    server.put("disk", "a.tif", file.getvalue())
    found = await document(server, "disk:a.tif")
    assert (found["pages"], found["bitDepth"], found["colourSpace"]) == (2, 8, "gray")
    assert found["resolution"] == {"x": 400.0, "y": 400.0, "unit": "dpi"}
    assert found["xmp"] == {"dc:source": "Box 1"}
    assert found["iptc"] == {"byline": ["Bo"]}


async def test_each_page_of_a_tiff_has_its_own_metadata(server: Server) -> None:
    file, second = io.BytesIO(), Image.new("RGB", (60, 40))
    second.encoderinfo = {"dpi": (200, 200)}
    first = Image.new("L", (30, 20))
    first.save(file, "TIFF", save_all=True, append_images=[second], dpi=(400, 400))
    server.put("disk", "book.tif", file.getvalue())
    for page, size, dpi in (("", 30, 400.0), (";2", 60, 200.0)):
        found = await document(server, f"disk:book.tif{page}")
        assert (found["width"], found["resolution"]["x"], found["pages"]) == (size, dpi, 2)


async def test_the_name_of_a_profile(server: Server) -> None:
    server.put("disk", "p.png", picture(20, 20, "PNG", icc_profile=wide_profile()))
    found = await document(server, "disk:p.png")
    assert found["profile"] == "Wide test gamut"
    assert "resolution" not in found


@pytest.mark.parametrize(
    "block",
    [
        b"Exif\0\0",
        b"Exif\0\0II*\0\xff\xff\xff\xff",
        b"Exif\0\0II*\0\x08\0\0\0\xff\xff" + b"\x0f\x01\x02\0\xff\xff\xff\xff\0\0\0\0" * 50,
        # A directory that is its own EXIF directory, and a resolution of 1/0.
        b"Exif\0\0II*\0\x08\0\0\0\x02\0" + b"\x69\x87\x04\0\x01\0\0\0\x08\0\0\0"
        + b"\x1a\x01\x05\0\x01\0\0\0\x26\0\0\0" + bytes(4) + b"\1\0\0\0\0\0\0\0",
        b"Exif\0\0" + os.urandom(2000),
    ],
)  # fmt: skip
async def test_damaged_exif_is_left_out(server: Server, block: bytes) -> None:
    server.put("disk", "d.jpg", picture(40, 20, exif=block))
    found = await document(server, "disk:d.jpg")
    assert (found["width"], found["height"]) == (40, 20)
    assert "resolution" not in found


async def test_long_and_odd_values_are_bounded(server: Server) -> None:
    made = Image.Exif()
    made[270] = "x" * 50_000
    made[305] = "<script>alert(1)</script>"
    server.put("disk", "l.jpg", picture(40, 20, exif=made))
    answer = await server.get("/disk:l.jpg/metadata.json")
    assert len(answer.json()["exif"]["ImageDescription"]) == 2000
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["content-security-policy"] == "default-src 'none'"


async def test_conditions_errors_and_names(server: Server) -> None:
    server.put("disk", "a/metadata.json", picture())
    first = await server.get("/disk:a%2Fmetadata.json/metadata.json")
    assert first.status_code == 200
    again = await server.get(
        "/disk:a%2Fmetadata.json/metadata.json", If_None_Match=first.headers["etag"]
    )
    assert again.status_code == 304
    base = await server.get_raw(b"/disk:a%2Fmetadata.json")
    assert base.status_code == 303
    assert base.headers["location"].endswith("/disk:a%2Fmetadata.json/info.json")
    server.put("disk", "notes.txt", b"text")
    assert (await server.get("/disk:notes.txt/metadata.json")).status_code == 415
    assert (await server.get("/disk:none/metadata.json")).status_code == 404
    assert (await server.get("/secret:a/metadata.json")).status_code == 403


async def test_the_checksum_of_a_fetched_original(tmp_path: Path) -> None:
    data = picture()
    with running_upstream() as upstream:
        upstream.replies["/x"] = send(data)
        async with running_app(web_settings(tmp_path, upstream.base)) as server:
            found = await document(server, "web:x")
    value = hashlib.blake2b(data, digest_size=16).hexdigest()
    assert found["checksum"] == {"algorithm": "BLAKE2b-128", "value": value}


async def test_a_psd_has_its_blocks_and_its_depth(server: Server) -> None:
    packet = xmp('<dc:source xmlns:dc="http://purl.org/dc/elements/1.1/">Box 1</dc:source>')[33:]
    blocks = b""
    for number, block in ((1028, iptc((80, "Bo"))), (1058, exif().tobytes()[6:]), (1060, packet)):
        blocks += b"8BIM" + struct.pack(">HHI", number, 0, len(block)) + block
        blocks += bytes(len(block) % 2)
    head = struct.pack(">4sH6xHIIHH", b"8BPS", 1, 1, 20, 30, 16, 1)
    data = head + bytes(4) + struct.pack(">I", len(blocks)) + blocks + bytes(4)
    server.put("disk", "a.psd", data + bytes(2 + 2 * 600))
    found = await document(server, "disk:a.psd")
    assert (found["bitDepth"], found["colourSpace"]) == (16, "gray")
    assert (found["xmp"], found["iptc"]) == ({"dc:source": "Box 1"}, {"byline": ["Bo"]})
    assert found["exif"]["Make"] == "Canon"
