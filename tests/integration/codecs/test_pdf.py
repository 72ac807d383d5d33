"""PDF pages as images."""

import signal
import subprocess
import sys
import zlib
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from iiif_server import open_image
from iiif_server.codecs.page_list import list_pages
from iiif_server.codecs.probe import probe
from iiif_server.errors import (
    DamagedOriginalError,
    OriginalTooComplexError,
    OriginalTooLargeError,
    UnsupportedOriginalError,
)
from iiif_server.iiif.geometry import Dimensions
from iiif_server.plan.local_file import LocalFile
from iiif_server.plan.original_format import Bounds, OriginalFormat
from support.growth import measure_growth
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
        (pdf(extra="/CropBox [-72 -72 72 72]"), (150, 150), LEFT, LEFT),
        (pdf(extra="/CropBox [200 0 300 72]"), (300, 150), LEFT, RIGHT),
        (pdf(extra="/CropBox [200 0 300 72] /Rotate 90"), (150, 300), LEFT, LEFT),
        (pdf(extra="/CropBox [5 5 5 5]"), (300, 150), LEFT, RIGHT),
        (pdf(media=(144, 72, 0, 0)), (300, 150), RIGHT, LEFT),
        (pdf(extra="/Rotate 180"), (300, 150), RIGHT, LEFT),
        (pdf(extra="/Rotate 90"), (150, 300), LEFT, LEFT),
        (pdf(media=(100, 50, 244, 122)), (300, 150), LEFT, RIGHT),
        (pdf(content=""), (300, 150), WHITE, WHITE),
    ],
    ids=[
        "CropBox",
        "CropBox beyond MediaBox",
        "CropBox beside MediaBox",
        "CropBox beside MediaBox, turned",
        "empty CropBox",
        "swapped corners",
        "turned by 180",
        "turned by 90",
        "an origin elsewhere",
        "empty",
    ],
)
def test_boxes_and_turns_of_the_page_count(
    data: bytes, size: tuple[int, int], first: Any, last: Any, tmp_path: Path
) -> None:
    with open_image(written(tmp_path, data)) as image:
        assert (image.info.width, image.info.height) == size
        made = shown(image.render(format="png"))
    assert np.abs(made[2, 2] - first).max() <= 2
    assert np.abs(made[2, -3] - last).max() <= 2


def test_fields_of_forms_are_drawn_in_every_view(tmp_path: Path) -> None:
    field = "/Subtype /Widget /FT /Tx /T (a) /Rect [0 0 144 72] /F 4 /AP << /N 4 0 R >>"
    data = pdf(
        catalog="/AcroForm << /Fields [] >>",
        extra=f"/Annots [<< /Type /Annot {field} >>]",
        packed="/Type /XObject /Subtype /Form /BBox [0 0 144 72]",
    ).replace(b"/Contents 4 0 R", b"               ")
    with open_image(written(tmp_path, data)) as image:
        whole = shown(image.render(format="png"))
        part = shown(image.render(region="100,20,150,100", format="png"))
    assert np.abs(whole[2, 2] - LEFT).max() <= 2
    assert np.abs(whole[2, -3] - RIGHT).max() <= 2
    assert np.abs(part - whole[20:120, 100:250]).max() <= 2


def test_the_resolution_is_that_of_the_settings(tmp_path: Path) -> None:
    header = probe(written(tmp_path, pdf()), 10**9, Bounds(pdf_dpi=300))
    assert header.dimensions == Dimensions(600, 300)


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize(
    ("unit", "scale"),
    [
        ("2", 2),
        ("1.5", 1.5),
        ("+0.5", 0.5),
        ("-2", 1),
        ("0", 1),
        ("75001", 1),
        ("true", 1),
        ("/Two", 1),
        ("1 0 R", 1),
        ("[2]", 1),
    ],
)
def test_a_unit_of_its_own_scales_a_page(
    unit: str, scale: float, tmp_path: Path, *, compressed: bool
) -> None:
    path = written(tmp_path, pdf(extra=f"/UserUnit {unit}", compressed=compressed))
    header = probe(path, 10**9)
    assert header.dimensions == Dimensions(int(300 * scale), int(150 * scale))
    assert header.resolution == (150.0, 150.0)
    with open_image(path) as image:
        data = image.render(format="png")
    made = shown(data)
    assert made.shape == (header.dimensions.height, header.dimensions.width, 3)
    assert np.abs(made[1, 1] - LEFT).max() <= 2
    assert np.abs(made[-2, -2] - RIGHT).max() <= 2


def test_units_are_those_of_each_page(tmp_path: Path) -> None:
    """UserUnit is not inherited (ISO 32000-1, table 30)."""
    data = pdf(pages=3).replace(b"/MediaBox [0 0 3 72]", b"/UserUnit 4 /MediaBox [0 0 3 72]")
    data = data.replace(b"<< /Type /Pages", b"<< /UserUnit 9 /Type /Pages")
    path = written(tmp_path, data)
    sizes = [probe(path, 10**9, page=page).dimensions for page in (1, 2, 3)]
    assert sizes == [Dimensions(300, 150), Dimensions(5, 150), Dimensions(25, 600)]
    header = probe(path, 10**9)
    listed = list_pages(LocalFile.at(path), header=header).result
    assert listed is not None
    assert list(listed.dimensions) == sizes


def test_a_document_in_which_qpdf_sees_other_pages_is_shown_without_units(tmp_path: Path) -> None:
    data = pdf(extra="/UserUnit 2", pages=3).replace(b"/Count 3", b"/Count 4")
    assert probe(written(tmp_path, data), 10**9).dimensions == Dimensions(300, 150)


def test_a_page_that_takes_too_long_is_refused_with_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = "0 0 9 9 re f\n" * 1000
    with open_image(written(tmp_path, pdf(content=content))) as image:
        monkeypatch.setattr("iiif_server.codecs.pdf._SECONDS", -1e9)
        with pytest.raises(OriginalTooComplexError, match="more processor time"):
            image.render(format="png")
        monkeypatch.undo()
        assert shown(image.render(format="png"))[-2, 2].max() == 0


_ENDLESS = {
    "pattern in tiny steps": (
        (
            "/Type /Pattern /PatternType 1 /PaintType 1 /TilingType 1 /BBox [0 0 1 1] "
            "/XStep 0.0001 /YStep 0.0001"
        ),
        "/Pattern cs /P scn 0 0 144 72 re f",
        signal.SIGXCPU,
    ),
    "form in itself": (
        "/Type /XObject /Subtype /Form /BBox [0 0 144 72]",
        "/F Do /F Do",
        signal.SIGABRT,
    ),
}
_IN_A_WORKER = """
import sys
from iiif_server import open_image
from iiif_server.codecs import pdf
from iiif_server.process_limits import allow_cpu
pdf._SECONDS, pdf._SECONDS_TO_STOP, pdf._MAX_MEMORY = 0, 1, 300 << 20
allow_cpu(60)
with open_image(sys.argv[1]) as image:
    image.render(format="png")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="others have no limit of memory")
@pytest.mark.parametrize("name", _ENDLESS)
def test_a_page_that_cannot_be_stopped_ends_its_worker(name: str, tmp_path: Path) -> None:
    packed, content, ending = _ENDLESS[name]
    resources = "/Resources << /Pattern << /P 4 0 R >> /XObject << /F 4 0 R >> >>"
    path = written(tmp_path, pdf(content=content, packed=packed, extra=resources))
    made = subprocess.run([sys.executable, "-c", _IN_A_WORKER, path], check=False)
    assert made.returncode == -ending


def test_pages_beyond_the_limits_are_refused_before_anything_is_made(tmp_path: Path) -> None:
    path = written(tmp_path, pdf(media=(0, 0, 14_400, 14_400)))
    with pytest.raises(OriginalTooLargeError, match="900,000,000 pixels"):
        probe(path, 10**8)


def header_of(path: Path) -> None:
    probe(path, 10**9)


def test_what_a_page_unpacks_to_does_not_count_before_it_is_rendered(tmp_path: Path) -> None:
    content = zlib.compress(b"0 0 9 9 re f\n" * 2_000_000).decode("latin-1")
    path = written(tmp_path, pdf(content=content, packed="/Filter /FlateDecode"))
    assert (
        measure_growth(header_of, path) < 16_000_000
    )  # the content is 26 MB, and 600 MB when parsed


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


def test_a_large_jpeg_2000_counts_with_its_pixels(tmp_path: Path) -> None:
    plain, wavelets = tmp_path / "plain.pdf", tmp_path / "wavelets.pdf"
    plain.write_bytes(pdf())
    image = b"\n9 0 obj <</Subtype/Image/Filter/JPXDecode/Width 8000/Height 5000/Length 0>> endobj"
    wavelets.write_bytes(pdf() + image)
    without, needs = (probe(path, 10**9).needs for path in (plain, wavelets))
    assert needs.bytes - without.bytes > 8000 * 5000 * 12
    assert needs.effort > without.effort
