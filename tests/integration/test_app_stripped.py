"""Types whose originals are sent without what says where photographs were taken."""

import csv
import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from support import pictures
from support.apps import assert_problem, decode_image
from support.coloured import SIZE, app, engine, jpeg
from support.jpeg_metadata import (
    degrees,
    exif,
    iptc,
    multi_picture,
    photoshop,
    segment,
    short,
    text,
    with_segments,
    xmp,
)

PLACE = b"Atlantis"
TRACES = (PLACE, degrees(51)[2])
STRIPPED = {"strip": "location", "original": "download"}


def photograph(orientation: int = 1, **options: object) -> bytes:
    """A JPEG that says where it was taken in every way."""
    space = 'xmlns:p="http://ns.adobe.com/photoshop/1.0/"'
    tags = {
        274: short(orientation),
        315: text("Ada"),
        34_853: {1: text("N"), 2: degrees(51)},
    }
    extended = b"http://ns.adobe.com/xmp/extension/\0" + bytes(40) + b"<p:City>Atlantis</p:City>"
    segments = [
        segment(0xE1, b"Exif\0\0" + exif(tags)),
        xmp("<p:City>Atlantis</p:City><p:Credit>Ada</p:Credit>", space),
        segment(0xE1, extended),
        segment(0xED, b"Photoshop 3.0\0" + b"8BIM\x04\x04\0"),  # cut short
        photoshop((1028, iptc((80, "Ada"), (90, "Atlantis")))),
        segment(0xE6, b"GoPro\0Atlantis"),
        segment(0xE2, b"FPXR\0Atlantis"),
        segment(0xFE, b"a comment"),
    ]
    first = jpeg(pictures.photograph(*SIZE), **options)
    return (
        multi_picture(first, [with_segments(jpeg(Image.new("L", (9, 9))), segments[0])], *segments)
        + PLACE
    )


def assert_without_location(made: bytes, data: bytes) -> None:
    for trace in TRACES:
        assert trace in data
        assert trace not in made
    for kept in (b"Ada", b"a comment"):
        assert kept in made
    assert made.endswith(b"\xff\xd9")
    with Image.open(io.BytesIO(made)) as one, Image.open(io.BytesIO(data)) as other:
        assert (np.asarray(one) == np.asarray(other)).all()
        assert one.info.get("icc_profile") == other.info.get("icc_profile")
        assert one.getexif().get(274) == other.getexif().get(274)


async def test_the_whole_image_and_the_download_say_no_place(tmp_path: Path) -> None:
    data = photograph(icc_profile=pictures.wide_profile(), progressive=True)
    async with app(tmp_path, t=STRIPPED) as server:
        server.put("t", "a.jpg", data)
        answer = await server.get("/t:a.jpg/full/max/0/default.jpg")
        assert engine(answer) == "rewritten"
        assert_without_location(answer.content, data)
        download = await server.get("/t:a.jpg/original")
        assert download.content == answer.content
        assert download.headers["content-disposition"] == 'attachment; filename="a.jpg"'
        assert "accept-ranges" not in download.headers
        again = await server.get("/t:a.jpg/original", If_None_Match=download.headers["etag"])
        assert again.status_code == 304


async def test_the_download_of_a_turned_photograph_keeps_its_orientation(tmp_path: Path) -> None:
    data = photograph(orientation=6)
    async with app(tmp_path, t=STRIPPED) as server:
        server.put("t", "a.jpg", data)
        assert_without_location((await server.get("/t:a.jpg/original")).content, data)
        image = decode_image(await server.get("/t:a.jpg/full/max/0/default.jpg"))
        assert image.size == SIZE[::-1]


async def test_a_download_that_cannot_be_rewritten_is_not_sent_as_it_is(tmp_path: Path) -> None:
    data = photograph()
    at = data.index(b"\xff\xda") + 60
    flood = data[:at] + segment(0xFE, b"") * 5_100 + data[at:]
    async with app(tmp_path, t=STRIPPED) as server:
        server.put("t", "a.jpg", flood)
        for path in ("full/max/0/default.jpg", "original"):
            answer = await server.get(f"/t:a.jpg/{path}")
            assert not any(trace in answer.content for trace in TRACES), path


async def test_originals_of_other_formats_are_not_offered(tmp_path: Path) -> None:
    file = io.BytesIO()
    Image.fromarray(pictures.photograph(*SIZE)).save(file, "PNG")
    data = photograph()
    async with app(tmp_path, t=STRIPPED) as server:
        server.put("t", "a.png", file.getvalue())
        server.put("t", "a.jpg", data)
        assert_problem(await server.get("/t:a.png/original"), 403, "PNG", "location")
        answer = await server.get("/originals.zip?identifiers=t:a.png,t:a.jpg")
        with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
            assert_without_location(archive.read("a.jpg"), data)
            missing = list(csv.reader(io.StringIO(archive.read("missing.csv").decode())))
            assert missing[1][0] == "t:a.png"
            sizes = csv.DictReader(io.StringIO(archive.read("manifest.csv").decode()))
            assert int(next(sizes)["bytes"]) == len(archive.read("a.jpg"))
        assert decode_image(await server.get("/t:a.png/full/max/0/default.png")).size == SIZE


async def test_metadata_says_no_place_either(tmp_path: Path) -> None:
    async with app(tmp_path, t={**STRIPPED, "show_location": True}) as server:
        server.put("t", "a.jpg", photograph())
        answer = await server.get("/t:a.jpg/metadata.json")
        assert answer.json()["exif"] == {"Artist": "Ada", "Orientation": 1}
        assert PLACE not in answer.content


async def test_a_lookup_leaves_out_what_one_of_its_types_leaves_out(tmp_path: Path) -> None:
    data = photograph()
    table = tmp_path / "table.csv"
    table.write_text("id,name\nx,a.jpg\n")
    types: dict[str, Any] = {
        "hidden": {"strip": "location", "access": "internal"},
        "found": {"source": "lookup", "table": table, "types": ["hidden"]},
    }
    async with app(tmp_path, **types) as server:
        server.put("hidden", "a.jpg", data)
        answer = await server.get("/found:x/full/max/0/default.jpg")
        assert answer.status_code == 200, answer.text
        assert_without_location(answer.content, data)


async def test_another_setting_makes_another_answer(tmp_path: Path) -> None:
    data = photograph()
    for strip in ("location", "nothing", "location"):
        async with app(tmp_path, t={"strip": strip}) as server:
            server.put("t", "a.jpg", data) if not server.original_path(
                "t", "a.jpg"
            ).exists() else None
            content = (await server.get("/t:a.jpg/full/max/0/default.jpg")).content
            assert (PLACE in content) == (strip == "nothing")
