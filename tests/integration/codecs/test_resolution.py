"""Encoded images state no resolution, whatever the original says and in whichever format."""

import io
import struct
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from iiif_server import open_image
from iiif_server.codecs.resolution import without_resolution
from iiif_server.iiif.formats import Format
from support.apps import picture

FORMATS = ["jpg", "png", "tif", "webp", "gif", "jp2", "avif"]
RENDERED = [("full", "32,"), ("full", "^90,"), ("0,0,32,32", "max"), ("3,5,40,40", "max")]


def stated(data: bytes) -> object:
    with Image.open(io.BytesIO(data)) as image:
        image.load()
        return image.info.get("dpi"), image.getexif().get(282) if image.format != "TIFF" else None


@pytest.mark.parametrize("source", ["JPEG", "PNG", "TIFF"])
@pytest.mark.parametrize("format_", FORMATS)
@pytest.mark.parametrize(("region", "size"), RENDERED)
def test_no_format_states_a_resolution(
    source: str, format_: str, region: str, size: str, tmp_path: Path
) -> None:
    path = tmp_path / "original"
    path.write_bytes(picture(64, 64, source, dpi=(600, 600)))
    with open_image(path) as image:
        data = image.render(region, size, format=format_)
    assert stated(data) == (None, None)


def test_the_bytes_of_the_original_state_its_own(tmp_path: Path) -> None:
    path = tmp_path / "original"
    path.write_bytes(picture(64, 64, dpi=(600, 600)))
    with open_image(path) as image:
        assert stated(image.render()) == ((600, 600), None)


@pytest.mark.parametrize("size", [(5, 7), (3000, 2)])
@pytest.mark.parametrize("compression", [None, "tiff_deflate", "jpeg"])
def test_the_pixels_stay_as_they_are(size: tuple[int, int], compression: str | None) -> None:
    for format_, name in [(Format.JPG, "JPEG"), (Format.PNG, "PNG"), (Format.TIF, "TIFF")]:
        options: dict[str, Any] = (
            {"compression": compression} if name == "TIFF" and compression else {}
        )
        data = picture(*size, name, dpi=(300, 300), **options)
        made = b"".join(without_resolution(data, format_))
        assert stated(made) == (None, None)
        with Image.open(io.BytesIO(data)) as one, Image.open(io.BytesIO(made)) as other:
            assert one.tobytes() == other.tobytes()


def test_big_tiffs_of_either_order() -> None:
    entry = struct.pack(">HHQHxxxxxx", 296, 3, 1, 2)
    data = b"MM\0+" + struct.pack(">HHQQ", 8, 0, 16, 1) + entry + bytes(8)
    made = b"".join(without_resolution(data, Format.TIF))
    assert made == data.replace(entry, struct.pack(">HHQHxxxxxx", 296, 3, 1, 1))
    assert len(without_resolution(data.replace(b"\x01\x28", b"\x01\x29"), Format.TIF)) == 1


def test_files_without_a_resolution_are_not_touched() -> None:
    for format_, name in [(Format.PNG, "PNG"), (Format.JPG, "JPEG"), (Format.GIF, "GIF")]:
        data = picture(20, 20, name)
        assert without_resolution(data, format_) == (data,)
