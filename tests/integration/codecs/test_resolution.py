"""Resolution of encoded images: that of the original, scaled with the pixels."""

import io
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from iiif_server import open_image
from iiif_server.codecs.labels import embed_description
from iiif_server.iiif.formats import Format
from iiif_server.plan.render_plan import NO_DESCRIPTION, Description
from support.apps import picture
from support.tiff_samples import TiffFile

STATING = ["jpg", "png", "tif"]
SILENT = ["webp", "gif", "jp2", "avif"]
RENDERED = [
    ("full", "32,", 300),
    ("full", "^90,", 844),
    ("0,0,32,32", "max", 600),
    ("3,5,40,40", "max", 600),
    ("3,5,40,40", "10,10", 150),
]


def stated(data: bytes) -> object:
    with Image.open(io.BytesIO(data)) as image:
        image.load()
        dpi = image.info.get("dpi")
        if image.format != "TIFF":
            assert image.getexif().get(282) is None
        return dpi and tuple(round(float(one)) for one in dpi)


@pytest.mark.parametrize("source", ["JPEG", "PNG", "TIFF"])
@pytest.mark.parametrize(("region", "size", "dpi"), RENDERED)
def test_resolution_scales_with_the_image(
    source: str, region: str, size: str, dpi: int, tmp_path: Path
) -> None:
    path = tmp_path / "original"
    path.write_bytes(picture(64, 64, source, dpi=(600, 600)))
    with open_image(path) as image:
        for format_ in STATING:
            for quality in ("default", "gray", "bitonal"):
                data = image.render(region, size, quality=quality, format=format_)
                assert stated(data) == (dpi, dpi), (format_, quality)
        for format_ in SILENT:
            assert stated(image.render(region, size, format=format_)) is None
        made = image.render(region, size, format="pdf")
    width = float(made.split(b"/MediaBox [ 0 0 ")[1].split()[0])
    pixels = {"32,": 32, "^90,": 90, "10,10": 10}.get(
        size, int(region.rsplit(",", maxsplit=1)[-1] or 0) if "," in region else 64
    )
    assert width == pytest.approx(72 * pixels / dpi, rel=0.01)


@pytest.mark.parametrize(
    ("turn", "dpi"), [("0", (300, 150)), ("90", (150, 300)), ("!180", (300, 150))]
)
def test_resolution_turns_with_the_image(turn: str, dpi: tuple[int, int], tmp_path: Path) -> None:
    path = tmp_path / "original"
    path.write_bytes(picture(64, 64, "PNG", dpi=(600, 300)))
    with open_image(path) as image:
        for format_ in STATING:
            assert stated(image.render("full", "32,32", turn, format=format_)) == dpi
            assert stated(image.render("full", "32,32", "45", format=format_)) is None


@pytest.mark.parametrize("dpi", [(72, 72), (96, 96), (1, 1), (5, 5), (600, 100), None])
def test_defaults_and_impossible_resolutions_are_not_repeated(
    dpi: tuple[int, int] | None, tmp_path: Path
) -> None:
    path = tmp_path / "original"
    path.write_bytes(picture(64, 64, "PNG", **({} if dpi is None else {"dpi": dpi})))
    with open_image(path) as image:
        for format_ in STATING:
            assert stated(image.render("full", "32,", format=format_)) is None


def test_a_resolution_that_is_too_small_or_large_for_the_formats_is_left_out(
    tmp_path: Path,
) -> None:
    path = tmp_path / "original"
    path.write_bytes(picture(2000, 20, "PNG", dpi=(300, 300)))
    with open_image(path) as image:
        assert stated(image.render("full", "60,1", format="jpg")) is None
        assert stated(image.render("0,0,4,4", "^1200,", format="jpg")) is None


def test_the_bytes_of_the_original_state_its_own(tmp_path: Path) -> None:
    path = tmp_path / "original"
    path.write_bytes(picture(64, 64, dpi=(600, 600)))
    with open_image(path) as image:
        assert stated(image.render()) == (600, 600)


def resolution_box(*numbers: int) -> bytes:
    content = struct.pack(">I4sHHHHbb", 18, b"resc", *numbers)
    return struct.pack(">I4s", 8 + len(content), b"res ") + content


def jp2_with(box: bytes) -> bytes:
    data = picture(64, 64, "JPEG2000")
    at = data.index(b"jp2h") - 4
    (length,) = struct.unpack_from(">I", data, at)
    head = struct.pack(">I", length + len(box)) + data[at + 4 : at + length] + box
    return data[:at] + head + data[at + length :]


def bmp_of(dpi: int) -> bytes:
    data = bytearray(picture(64, 64, "BMP"))
    struct.pack_into("<ii", data, 38, *[round(dpi / 0.0254)] * 2)
    return bytes(data)


def psd_of(dpi: int) -> bytes:
    resource = struct.pack(">IHHIHH", dpi << 16, 1, 1, dpi << 16, 1, 1)
    block = b"8BIM" + struct.pack(">HHI", 1005, 0, len(resource)) + resource
    head = struct.pack(">4sH6xHIIHH", b"8BPS", 1, 1, 64, 64, 8, 1)
    return head + bytes(4) + struct.pack(">I", len(block)) + block + bytes(4) + bytes(2 + 64 * 64)


def exif_of(dpi: int, unit: int) -> bytes:
    exif = Image.Exif()
    exif[282], exif[283], exif[296] = float(dpi), float(dpi), unit
    return exif.tobytes()


@pytest.mark.parametrize(
    "data",
    [
        jp2_with(resolution_box(300, 254, 300, 254, 4, 4)),
        bmp_of(300),
        psd_of(300),
        picture(64, 64, "WEBP", exif=exif_of(300, 2)),
        picture(64, 64, "PNG", exif=exif_of(300, 2)),
        picture(64, 64, "AVIF", exif=exif_of(300, 2)),
        picture(64, 64, "TIFF", dpi=(300, 300)).replace(
            struct.pack("<HHIH", 296, 3, 1, 2), struct.pack("<HHIH", 296, 3, 1, 2)
        ),
    ],
    ids=["jp2", "bmp", "psd", "webp", "png", "avif", "tiff"],
)
def test_where_formats_state_a_resolution(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "original"
    path.write_bytes(data)
    with open_image(path) as image:
        assert stated(image.render("full", "32,32", format="tif")) == (150, 150)


@pytest.mark.parametrize(
    "box",
    [
        resolution_box(300, 0, 300, 0, 4, 4),
        resolution_box(65_535, 1, 65_535, 1, 127, 127),
        resolution_box(1, 65_535, 1, 65_535, -128, -128),
        struct.pack(">I4sI4s", 16, b"res ", 8, b"resc"),
    ],
)
def test_impossible_resolutions_are_none(box: bytes, tmp_path: Path) -> None:
    path = tmp_path / "original"
    path.write_bytes(jp2_with(box))
    with open_image(path) as image:
        assert stated(image.render("full", "32,32", format="tif")) is None


@pytest.mark.parametrize("size", [(5, 7), (3000, 2)])
@pytest.mark.parametrize("compression", [None, "tiff_deflate", "jpeg"])
def test_the_pixels_stay_as_they_are(size: tuple[int, int], compression: str | None) -> None:
    for format_, name in [(Format.JPG, "JPEG"), (Format.PNG, "PNG"), (Format.TIF, "TIFF")]:
        options: dict[str, Any] = (
            {"compression": compression} if name == "TIFF" and compression else {}
        )
        data = picture(*size, name, dpi=(300, 300), **options)
        made = b"".join(embed_description(data, format_, NO_DESCRIPTION))
        assert stated(made) is None
        with Image.open(io.BytesIO(data)) as one, Image.open(io.BytesIO(made)) as other:
            assert one.tobytes() == other.tobytes()


def test_big_tiffs_of_either_order() -> None:
    entry = struct.pack(">HHQHxxxxxx", 296, 3, 1, 2)
    data = b"MM\0+" + struct.pack(">HHQQ", 8, 0, 16, 1) + entry + bytes(8)
    made = b"".join(embed_description(data, Format.TIF, NO_DESCRIPTION))
    assert made == data.replace(entry, struct.pack(">HHQHxxxxxx", 296, 3, 1, 1))
    unknown = data.replace(b"\x01\x28", b"\x01\x29")
    assert len(embed_description(unknown, Format.TIF, NO_DESCRIPTION)) == 1


def test_files_without_a_resolution_are_not_touched() -> None:
    for format_, name in [(Format.PNG, "PNG"), (Format.JPG, "JPEG"), (Format.GIF, "GIF")]:
        data = picture(20, 20, name)
        assert embed_description(data, format_, NO_DESCRIPTION) == (data,)


def test_a_jpeg_without_a_jfif_header_is_not_touched() -> None:
    data = b"\xff\xd8\xff\xee\0\x0eAdobe\0\x64\0\0\0\0\0"
    assert embed_description(data, Format.JPG, Description((300, 300))) == (data,)


@pytest.mark.parametrize(
    "tags",
    [{296: (3, [0])}, {296: (3, [99])}, {282: (12, [-300.0])}, {283: (12, [float("nan")])}],
    ids=str,
)
def test_an_impossible_resolution_is_no_reason_to_refuse_a_tiff(
    tags: dict[int, tuple[int, list[float]]], tmp_path: Path
) -> None:
    path = tmp_path / "original"
    path.write_bytes(TiffFile(np.full((20, 30, 1), 90, np.uint8), 1, tags=tags).write())
    with open_image(path) as image:
        assert stated(image.render(format="png")) is None
