"""PDF pages as images."""

import zlib
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from iiif_server import open_image
from iiif_server.codecs.probe import probe
from iiif_server.errors import (
    DamagedOriginalError,
    OriginalTooLargeError,
    UnsupportedOriginalError,
)
from iiif_server.iiif.geometry import Dimensions
from iiif_server.plan.original_format import Bounds, OriginalFormat
from support.growth import growth
from support.pdfs import LEFT, RIGHT, pdf

WHITE = (255, 255, 255)


def written(folder: Path, data: bytes) -> Path:
    path = folder / "original.pdf"
    path.write_bytes(data)
    return path


def shown(data: bytes) -> NDArray[Any]:
    found: NDArray[Any] = np.asarray(Image.open(BytesIO(data)).convert("RGB")).astype(int)
    return found


@pytest.mark.parametrize("format_", ["png", "jpg"])
@pytest.mark.parametrize(
    ("region", "size"),
    [("full", "max"), ("full", "100,"), ("full", "30,"), ("75,40,150,60", "max")],
)
def test_colours_are_right_in_every_view(
    region: str, size: str, format_: str, tmp_path: Path
) -> None:
    with open_image(written(tmp_path, pdf())) as image:
        assert (image.info.format, image.info.width, image.info.height) == ("PDF", 300, 150)
        made = shown(image.render(region=region, size=size, format=format_))
    assert np.abs(made[1, 1] - LEFT).max() <= 8
    assert np.abs(made[1, -2] - RIGHT).max() <= 8


def test_parts_are_the_pixels_of_the_whole(tmp_path: Path) -> None:
    content = "0 0 0 RG 3 w 5 7 m 130 61 l S 20 60 m 100 3 l S"
    with open_image(written(tmp_path, pdf(content=content))) as image:
        whole = shown(image.render(format="png"))
        for x, y, width, height in ((0, 0, 64, 64), (37, 11, 100, 90), (250, 100, 50, 50)):
            part = shown(image.render(region=f"{x},{y},{width},{height}", format="png"))
            assert np.abs(part - whole[y : y + height, x : x + width]).max() <= 8


@pytest.mark.parametrize(
    ("data", "size", "first", "last"),
    [
        (pdf(extra="/CropBox [72 0 144 72]"), (150, 150), RIGHT, RIGHT),
        (pdf(extra="/Rotate 180"), (300, 150), RIGHT, LEFT),
        (pdf(extra="/Rotate 90"), (150, 300), LEFT, LEFT),
        (pdf(media=(100, 50, 244, 122)), (300, 150), LEFT, RIGHT),
        (pdf(content=""), (300, 150), WHITE, WHITE),
    ],
    ids=["CropBox", "turned by 180", "turned by 90", "an origin elsewhere", "empty"],
)
def test_boxes_and_turns_of_the_page_count(
    data: bytes, size: tuple[int, int], first: Any, last: Any, tmp_path: Path
) -> None:
    with open_image(written(tmp_path, data)) as image:
        assert (image.info.width, image.info.height) == size
        made = shown(image.render(format="png"))
    assert np.abs(made[2, 2] - first).max() <= 2
    assert np.abs(made[2, -3] - last).max() <= 2


def test_the_resolution_is_that_of_the_settings(tmp_path: Path) -> None:
    header = probe(written(tmp_path, pdf()), 10**9, Bounds(pdf_dpi=300))
    assert header.dimensions == Dimensions(600, 300)


def test_pages_beyond_the_limits_are_refused_before_anything_is_made(tmp_path: Path) -> None:
    path = written(tmp_path, pdf(media=(0, 0, 14_400, 14_400)))
    with pytest.raises(OriginalTooLargeError, match="900,000,000 pixels"):
        probe(path, 10**8)


def header_of(path: Path) -> None:
    probe(path, 10**9)


def test_what_a_page_unpacks_to_does_not_count_before_it_is_rendered(tmp_path: Path) -> None:
    content = zlib.compress(b"0 0 9 9 re f\n" * 2_000_000).decode("latin-1")
    path = written(tmp_path, pdf(content=content, packed="/Filter /FlateDecode"))
    assert growth(header_of, path) < 16_000_000


@pytest.mark.parametrize("length", [8, 100, 400])
def test_a_file_that_is_cut_short_is_damaged(length: int, tmp_path: Path) -> None:
    with pytest.raises(DamagedOriginalError):
        probe(written(tmp_path, pdf()[:length]), 10**9)


def test_a_document_without_pages_is_damaged(tmp_path: Path) -> None:
    data = pdf().replace(b"/Kids [3 0 R] /Count 1", b"/Kids []      /Count 0")
    with pytest.raises(DamagedOriginalError):
        probe(written(tmp_path, data), 10**9)


def test_a_password_is_asked_for(tmp_path: Path) -> None:
    lock = "/Encrypt << /Filter /Standard /V 1 /R 2 /O <{0}> /U <{0}> /P -4 >> /ID [<00> <00>]"
    path = written(tmp_path, pdf(trailer=lock.format("00" * 32)))
    with pytest.raises(UnsupportedOriginalError, match="password"):
        probe(path, 10**9)


@pytest.mark.parametrize(
    ("entries", "reason"),
    [
        ("/Width 600000 /Height 9", "600,000 pixels on one side"),
        ("/Height\r\n90000/Filter/FlateDecode/Width\t90000>>", "8,100,000,000 pixels"),
        ("/Filter [/FlateDecode /FlateDecode]", "2 compressions of one stream"),
        ("/F#69lter [/#46lateDecode /Fl#61teDecode]", "2 compressions of one stream"),
        ("/W#69dth 600000 /#48eight 9", "600,000 pixels on one side"),
        ("/Filter[/ASCII85Decode/LZWDecode/FlateDecode]", "2 compressions of one stream"),
    ],
)
def test_streams_that_unpack_to_too_much_are_refused(
    entries: str, reason: str, tmp_path: Path
) -> None:
    for before in (0, (1 << 20) - 30):  # also across two windows of the search
        data = pdf(extra=f"/Own ({'x' * before}) /X << {entries} >>")
        with pytest.raises(OriginalTooLargeError, match=reason):
            probe(written(tmp_path, data), 10**9)


@pytest.mark.parametrize(
    "entries",
    [
        "/Width 0 /Height 6",
        "/Width 1 0 R /Height 20",
        "/Filter [/ASCIIHexDecode /FlateDecode /DCTDecode]",
        "/Width 30000 /Height 20000 >> /Y << /Width 20000 /Height 40000",
    ],
)
def test_streams_that_are_usual_are_not_refused(entries: str, tmp_path: Path) -> None:
    data = pdf(extra=f"/X << {entries} >>")
    assert probe(written(tmp_path, data), 10**9).format is OriginalFormat.PDF


def test_an_operator_may_leave_it_out(tmp_path: Path) -> None:
    formats = frozenset(OriginalFormat) - {OriginalFormat.PDF}
    with pytest.raises(UnsupportedOriginalError):
        probe(written(tmp_path, pdf()), 10**9, Bounds(formats=formats))
