"""What a job is said to take, and what a process really takes."""

from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from iiif_server.codecs.jobs import build_part, render
from iiif_server.codecs.probe import probe
from iiif_server.iiif.geometry import square
from iiif_server.plan.build_plan import BuildPlan
from iiif_server.plan.cost import Cost, cost_of_build, cost_of_render
from iiif_server.plan.grid import Grid, Part
from iiif_server.plan.local_file import LocalFile
from iiif_server.plan.render_plan import tile_profile
from support import pictures, psds
from support.growth import measure_growth
from support.matrix.dicom_kinds import JPEG, JPEG_2000, Elements, dicom
from support.rendering import EVERYTHING, plan_request
from support.tiff_samples import TiffFile

SIZE = (3200, 2400)
"""Large enough for the pixels to weigh more than what every job takes."""
ALWAYS = 48_000_000
"""What an estimate may be too high by, whatever it is about."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("originals")
    small = Image.fromarray(pictures.photograph(800, 600))
    image = small.resize(SIZE, Image.Resampling.BILINEAR)
    image.save(folder / "plain.jpg", quality=88, subsampling=2)
    image.save(folder / "progressive.jpg", quality=88, subsampling=0, progressive=True)
    image.save(folder / "plain.png", compress_level=1)
    return folder


def enlarged() -> Image.Image:
    return Image.fromarray(pictures.photograph(800, 600)).resize(SIZE, Image.Resampling.BILINEAR)


def coded(format_: str, **options: object) -> bytes:
    """The picture by Pillow."""
    data = BytesIO()
    enlarged().save(data, format_, **options)
    return data.getvalue()


def gray(more: Elements, type_: type[np.integer] = np.uint16) -> bytes:
    values = np.asarray(enlarged())[:, :, :1].astype(type_) * 16
    return dicom(values, "MONOCHROME2", stored=0 if type_ is np.uint16 else 12, more=more)


def frame(syntax: str, photometric: str, data: bytes) -> bytes:
    return dicom(np.asarray(enlarged()), photometric, syntax=syntax, fragments=[data])


def luv() -> bytes:
    """LogLuv in literals alone, of any colours."""
    width, height = SIZE
    row = b"\x7f" + bytes(range(127))
    plane = row * -(-width // 127)
    cut = plane[: width + width // 127] + bytes([width % 127]) + bytes(width % 127)
    strips = [cut * 4 * 64] * -(-height // 64)
    tags = {277: (3, [3]), 258: (3, [16] * 3), 339: (3, [2] * 3)}
    values = np.zeros((height, width, 1), np.uint8)
    return TiffFile(
        values, 32_845, bits=16, compression=34_676, tags=tags, rows=64, pieces=strips
    ).write()


def page(data: bytes) -> bytes:
    """A PDF of a page that a JPEG 2000 fills."""
    width, height = SIZE
    size = f"{width * 72 / 150} 0 0 {height * 72 / 150} 0 0".encode()
    content = size + b" cm /I Do"
    objects = (
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /Contents 4 0 R /MediaBox [0 0 %d %d] "
        b"/Resources << /XObject << /I 5 0 R >> >> >>" % (width * 72 // 150, height * 72 // 150),
        b"<< /Length %d >>\nstream\n%s\nendstream" % (len(content), content),
        b"<< /Type /XObject /Subtype /Image /Width %d /Height %d /BitsPerComponent 8 "
        b"/ColorSpace /DeviceRGB /Filter /JPXDecode /Length %d >>\nstream\n%s\nendstream"
        % (width, height, len(data), data),
    )
    body = b"".join(b"%d 0 obj\n%s\nendobj\n" % entry for entry in enumerate(objects, 1))
    return b"%PDF-1.7\n" + body + b"trailer << /Size 6 /Root 1 0 R >>\n%%EOF"


WHOLE, TILE = "full/200,/0/default.jpg", "1024,1024,512,512/512,/0/default.jpg"
SIGMOID: Elements = {
    0x0028_1050: ("DS", "1000"), 0x0028_1051: ("DS", "4000"), 0x0028_1056: ("CS", "SIGMOID"),
}  # fmt: skip
PALETTE: Elements = {
    **{0x0028_1101 + at: ("US", [256, 0, 16]) for at in range(3)},
    **{0x0028_1201 + at: ("OW", [257 * one for one in range(256)]) for at in range(3)},
}


def check(estimated: Cost, taken: int) -> None:
    assert taken < estimated.bytes < 3 * taken + ALWAYS


@pytest.mark.parametrize(
    ("name", "request_"),
    [
        ("plain.jpg", "full/max/90/default.jpg"),
        ("plain.jpg", "full/pct:50/0/default.jpg"),
        ("plain.jpg", "full/max/0/default.webp"),
        ("plain.jpg", "full/max/33/default.png"),
        ("progressive.jpg", "full/200,/0/default.jpg"),
        ("plain.png", "full/max/90/default.jpg"),
        ("plain.png", "full/max/0/default.gif"),
    ],
)
def test_a_derivative_takes_less_than_estimated_and_not_much_less(
    folder: Path, name: str, request_: str
) -> None:
    plan = plan_request(folder / name, request_, target=folder / "made")
    check(cost_of_render(plan), measure_growth(render, plan))


@pytest.mark.parametrize("lossless", [pytest.param(True, marks=pytest.mark.needs_lossless), False])
@pytest.mark.parametrize("part", list(Part))
@pytest.mark.parametrize("name", ["plain.jpg", "progressive.jpg"])
def test_a_build_takes_less_than_estimated_and_not_much_less(
    folder: Path, name: str, part: Part, *, lossless: bool
) -> None:
    path = folder / name
    header = probe(path, 10**9)
    plan = BuildPlan(
        original=LocalFile.at(path),
        header=header,
        part=part,
        grid=Grid(header.dimensions, square(512)),
        profile=tile_profile(header),
        lossless=lossless,
        reduced_quality=80,
        full_quality=85,
        target=folder / "part",
    )
    plan.target.touch()
    check(cost_of_build(plan), measure_growth(build_part, plan))


@pytest.mark.parametrize(
    ("write", "requests"),
    [
        (lambda: gray({}, np.int16), (WHOLE, TILE)),
        (lambda: gray(SIGMOID), (WHOLE, TILE)),
        (
            lambda: dicom(np.asarray(enlarged())[:, :, :1], "PALETTE COLOR", more=PALETTE),
            (WHOLE, TILE),
        ),
        (lambda: dicom(np.asarray(enlarged()), "RGB", planar=True), (WHOLE, TILE)),
        (lambda: frame(JPEG, "YBR_FULL_422", coded("JPEG", quality=90)), (WHOLE, TILE)),
        (
            lambda: frame(
                JPEG, "YBR_FULL_422", coded("JPEG", quality=90, progressive=True, subsampling=0)
            ),
            (WHOLE, TILE),
        ),
        (lambda: frame(JPEG_2000, "YBR_RCT", coded("JPEG2000", no_jp2=True)), (TILE,)),
        (lambda: psds.psd(np.asarray(enlarged()), psds.LAB), (WHOLE, TILE)),
        (luv, (WHOLE, TILE)),
        (lambda: page(coded("JPEG2000")), ("full/max/0/default.png",)),
    ],
    ids=[
        "signed", "sigmoid", "palette", "planar", "JPEG", "progressive", "JPEG 2000",
        "PSD", "LogLuv", "PDF",
    ],
)  # fmt: skip
def test_a_rare_original_takes_less_than_estimated_and_not_much_less(
    write: Callable[[], bytes], requests: tuple[str, ...], tmp_path: Path
) -> None:
    path = tmp_path / "original"
    path.write_bytes(write())
    for request in requests:
        plan = plan_request(path, request, target=tmp_path / "made", bounds=EVERYTHING)
        check(cost_of_render(plan), measure_growth(render, plan))
