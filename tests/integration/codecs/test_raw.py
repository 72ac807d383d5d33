"""Raw photographs: developed with the extra `raw`; refused without it."""

import json
import struct
import subprocess
import sys
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from iiif_server.codecs.jobs import render
from iiif_server.codecs.metadata import read_metadata
from iiif_server.codecs.probe import probe
from iiif_server.errors import (
    DamagedOriginalError,
    NotAnImageError,
    OriginalRefusedError,
    OriginalTooLargeError,
    PageNotFoundError,
    UnsupportedOriginalError,
)
from iiif_server.formats.bounded_file import BoundedFile
from iiif_server.formats.raw import is_raw
from iiif_server.iiif.geometry import Dimensions
from iiif_server.plan.cost import cost_of_render
from iiif_server.plan.encoding import EncodingOptions
from iiif_server.plan.local_file import LocalFile
from iiif_server.plan.original_format import OriginalFormat
from support.deep import samples_of
from support.growth import measure_growth
from support.matrix.chart import FRACTIONS, HEIGHT, RGB, WIDTH, painted
from support.matrix.colours import linear
from support.matrix.raw_kinds import dng
from support.rendering import EVERYTHING, derive, plan_request, write_file
from support.tiff_samples import TiffFile

DNG = dng(linear(FRACTIONS))
PNG = "full/max/0/default.png"
RAF = b"FUJIFILMCCD-RAW 0201".ljust(200, b"\0")


def replaced(data: bytes, tag: int, value: int) -> bytes:
    """Change a value in the first directory, keeping its type."""
    (at,) = struct.unpack_from("<I", data, 4)
    (count,) = struct.unpack_from("<H", data, at)
    for entry in range(at + 2, at + 2 + 12 * count, 12):
        if struct.unpack_from("<H", data, entry) == (tag,):
            return data[: entry + 8] + struct.pack("<I", value) + data[entry + 12 :]
    raise KeyError(tag)


def with_preview() -> bytes:
    """DNG whose first directory is a preview, and whose raw image is a SubIFD."""
    tags = {254: (4, [1]), 330: (4, [1]), 50_706: (1, [1, 4, 0, 0])}
    data = dng(linear(FRACTIONS), before=TiffFile(painted(RGB)[:40, :60], 2, tags=tags).write())
    (first,) = struct.unpack_from("<I", data, 4)
    (count,) = struct.unpack_from("<H", data, first)
    behind = first + 2 + 12 * count
    (below,) = struct.unpack_from("<I", data, behind)
    return replaced(data[:behind] + bytes(4) + data[behind + 4 :], 330, below)


def test_without_the_setting_a_dng_is_its_preview(tmp_path: Path) -> None:
    path = write_file(tmp_path, with_preview())
    header = probe(path, 10**9)
    assert (header.format, header.stored) == (OriginalFormat.TIFF, Dimensions(60, 40))
    header = probe(path, 10**9, EVERYTHING)
    assert (header.format, header.stored) == (OriginalFormat.RAW, Dimensions(WIDTH, HEIGHT))
    with pytest.raises(NotAnImageError):
        probe(write_file(tmp_path, RAF), 10**9)


def test_without_the_extra_it_is_named(tmp_path: Path) -> None:
    """Without rawpy, a raw file that is also a TIFF is read as TIFF."""
    write_file(tmp_path, RAF).rename(tmp_path / "raf")
    write_file(tmp_path, with_preview()).rename(tmp_path / "dng")
    code = f"""
import sys
sys.modules["rawpy"] = None
from pathlib import Path
from iiif_server.codecs.probe import probe
from iiif_server.plan.original_format import Bounds, OriginalFormat
bounds = Bounds(formats=frozenset(OriginalFormat), rare=True)
print(probe(Path({str(tmp_path / "dng")!r}), 10**9, bounds).format)
try:
    probe(Path({str(tmp_path / "raf")!r}), 10**9, bounds)
except Exception as error:
    print(type(error).__name__, error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    first, second = done.stdout.splitlines()
    assert first == "TIFF"
    assert second.startswith("UnsupportedOriginalError")
    assert "iiif-server[raw]" in second


def test_it_is_developed_in_16_bits_and_keeps_its_author(tmp_path: Path) -> None:
    path = write_file(tmp_path, DNG)
    assert ("dc:creator", ("A. Photographer",)) in probe(path, 10**9, EVERYTHING).credits
    made = derive(path, PNG, bounds=EVERYTHING, encoding=EncodingOptions(depth=16))
    words = samples_of(made.data)
    assert words.dtype == np.uint16
    plain = np.asarray(Image.open(BytesIO(derive(path, PNG, bounds=EVERYTHING).data)))
    assert np.abs(plain - words / 257).max() < 1


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (DNG, True),
        (TiffFile(painted(RGB)[:, :, :1], 32_803).write(), True),
        (with_preview().replace(struct.pack("<H", 50_706), struct.pack("<H", 50_705)), True),
        (b"II*\0\x10\0\0\0CR\2\0" + bytes(40), True),
        (TiffFile(painted(RGB), 2).write(), False),
        (b"II*\0\xff\xff\xff\xff", False),
    ],
    ids=["DNG", "of a sensor", "below a preview", "CR2", "TIFF", "no directory"],
)
def test_raw_photographs_are_told_by_their_directories(data: bytes, expected: bool) -> None:  # noqa: FBT001
    assert is_raw(BoundedFile(BytesIO(data), OriginalFormat.TIFF)) is expected


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (DNG[: len(DNG) // 2], DamagedOriginalError),
        (DNG[:8] + DNG[20_000:], OriginalRefusedError),
        (replaced(DNG, 256, 60_000), OriginalTooLargeError),
        (replaced(DNG, 257, 20_000), OriginalRefusedError),
        (replaced(DNG, 259, 50_002), UnsupportedOriginalError),
        (RAF, UnsupportedOriginalError),
        (b"\0\0\0\x18ftypcrx \0\0\0\1crx isom" + bytes(99), UnsupportedOriginalError),
        (b"IIRO\x08\0\0\0" + bytes(99), UnsupportedOriginalError),
    ],
    ids=["truncated", "without", "wide", "tall", "compression", "RAF", "CR3", "ORF"],
)
def test_what_libraw_does_not_read_is_refused(
    data: bytes, error: type[OriginalRefusedError], tmp_path: Path
) -> None:
    with pytest.raises(error):
        derive(write_file(tmp_path, data), PNG, bounds=EVERYTHING, max_pixels=5_000_000)


def test_its_metadata_are_those_of_its_first_directory(tmp_path: Path) -> None:
    file = LocalFile.at(write_file(tmp_path, DNG))
    found = json.loads(read_metadata(file, location=True, max_pixels=10**9, bounds=EVERYTHING))
    assert found["exif"]["Artist"] == "A. Photographer"
    assert found["exif"]["Make"] == "By hand"


def test_there_is_one_page(tmp_path: Path) -> None:
    with pytest.raises(PageNotFoundError):
        probe(write_file(tmp_path, DNG), 10**9, EVERYTHING, page=2)


def test_it_takes_what_is_estimated(tmp_path: Path) -> None:
    side = 2_000
    values = np.random.default_rng(1).integers(1_000, 61_000, (side, side, 1), np.uint16)
    plan = plan_request(
        write_file(tmp_path, dng(linear(FRACTIONS), values=values)), PNG, bounds=EVERYTHING
    )
    assert plan.header.stored == Dimensions(side, side)
    assert measure_growth(render, plan) < cost_of_render(plan).bytes
