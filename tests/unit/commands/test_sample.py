"""The sample image: content, reproducibility, and no leftover files."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import pyvips

from iiif_server.commands.sample import write_sample

_START_OF_FRAME_BASELINE = b"\xff\xc0"


@pytest.fixture(scope="module")
def sheet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small sheet in a folder that did not exist before."""
    target = tmp_path_factory.mktemp("sample") / "made" / "atlas.jpg"
    write_sample(target, width=640, height=480)
    return target


def test_sheet_is_a_baseline_jpeg_of_the_size_asked_for(sheet: Path) -> None:
    image = pyvips.Image.new_from_file(str(sheet))
    assert (image.width, image.height, image.bands) == (640, 480, 3)
    assert image.get("vips-loader").startswith("jpegload")
    assert image.crop(20, 100, 8, 200).min() < 110, "the ink of the frame"
    assert _START_OF_FRAME_BASELINE in sheet.read_bytes()[:1024]


def test_nothing_but_the_sheet_is_left_in_the_folder(sheet: Path) -> None:
    assert [entry.name for entry in sheet.parent.iterdir()] == ["atlas.jpg"]


def test_sheet_is_the_same_every_time_and_replaces_what_was_there(
    sheet: Path, tmp_path: Path
) -> None:
    target = tmp_path / "again.jpg"
    target.write_bytes(b"old")
    write_sample(target, width=640, height=480)
    assert target.read_bytes() == sheet.read_bytes()


def test_sheet_is_drawn_without_any_font(tmp_path: Path) -> None:
    config, target = tmp_path / "fonts.conf", tmp_path / "mute.jpg"
    config.write_text("<fontconfig></fontconfig>", encoding="utf-8")
    program = (
        "import pathlib, sys; from iiif_server.commands.sample import write_sample; "
        "write_sample(pathlib.Path(sys.argv[1]), width=640, height=480)"
    )
    subprocess.run(
        [sys.executable, "-c", program, str(target)],
        check=True,
        env={**os.environ, "FONTCONFIG_FILE": str(config), "PYTHONPATH": os.pathsep.join(sys.path)},
        timeout=120,
    )
    assert pyvips.Image.new_from_file(str(target)).width == 640
