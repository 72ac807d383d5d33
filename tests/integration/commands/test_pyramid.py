"""`iiif-server pyramid`: a pyramidal TIFF of any image."""

from pathlib import Path

import numpy as np
import pytest
import pyvips
from click.testing import CliRunner, Result
from PIL import Image

from iiif_server.cli import main
from iiif_server.codecs.probe import probe
from support import pictures
from support.pictures import BY_NAME, PICTURES, Picture, photograph
from support.rendering import psnr


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, ["pyramid", *map(str, arguments)], catch_exceptions=False)


def pages(path: Path) -> list[tuple[int, int]]:
    count = pyvips.Image.new_from_file(str(path)).get("n-pages")
    found = [pyvips.Image.tiffload(str(path), page=page) for page in range(count)]
    return [(page.width, page.height) for page in found]


@pytest.mark.parametrize("picture", PICTURES, ids=lambda picture: picture.name)
def test_every_kind_of_original_becomes_a_pyramid(picture: Picture, tmp_path: Path) -> None:
    source, target = picture.write(tmp_path), tmp_path / "out" / "pyramid.tif"
    target.parent.mkdir()
    result = run(source, target, "--tile-size", "64")
    assert result.exit_code == 0, result.output
    assert "203x149 pixels" in result.output
    assert pages(target) == [(203, 149), (101, 74), (50, 37)]
    tiles = probe(target, 10**6).tiles
    assert tiles is not None
    assert tiles.factors == (1, 2, 4)
    assert tiles.components in {1, 3}
    assert list(target.parent.iterdir()) == [target], "nothing is left beside it"
    if picture.accurate and not picture.transparent:
        shown = pyvips.Image.new_from_file(str(target))
        wanted = photograph() if shown.bands == 3 else pictures.luma(photograph())[..., None]
        assert (
            psnr(
                np.ndarray(buffer=shown.write_to_memory(), dtype=np.uint8, shape=wanted.shape),
                wanted,
            )
            > 28
        )


def test_a_turned_original_becomes_upright(tmp_path: Path) -> None:
    source = tmp_path / "turned.jpg"
    source.write_bytes(pictures.jpeg(photograph(), exif=pictures.exif(6)))
    assert run(source, tmp_path / "out.tif", "--tile-size", "64").exit_code == 0
    assert pages(tmp_path / "out.tif")[0] == (149, 203)
    assert probe(tmp_path / "out.tif", 10**6).dimensions.width == 149


def test_lossless_keeps_every_pixel_and_transparency(tmp_path: Path) -> None:
    source = BY_NAME["alpha.png"].write(tmp_path)
    assert run(source, tmp_path / "out.tif", "--lossless", "--tile-size", "64").exit_code == 0
    written = pyvips.Image.new_from_file(str(tmp_path / "out.tif"))
    assert written.bands == 4
    assert written.write_to_memory() == pictures.with_alpha(photograph()).tobytes()


def test_what_is_there_is_not_written_over(tmp_path: Path) -> None:
    source, target = BY_NAME["8.png"].write(tmp_path), tmp_path / "out.tif"
    target.write_bytes(b"dear to somebody")
    result = run(source, target)
    assert result.exit_code == 1
    assert "--force" in result.output
    assert target.read_bytes() == b"dear to somebody"
    assert run(source, target, "--force").exit_code == 0
    assert pages(target)


def test_a_damaged_original_is_said_and_leaves_nothing(tmp_path: Path) -> None:
    source, target = tmp_path / "cut.jpg", tmp_path / "out.tif"
    source.write_bytes(pictures.jpeg(photograph())[:5000])
    result = run(source, target)
    assert result.exit_code == 1
    assert "cut.jpg: The original is damaged" in result.output
    assert list(tmp_path.iterdir()) == [source]


def test_missing_input_and_output_folders_are_said(tmp_path: Path) -> None:
    source = BY_NAME["8.png"].write(tmp_path)
    assert "does not exist" in run(tmp_path / "none.jpg", tmp_path / "out.tif").output
    result = run(source, tmp_path / "none" / "out.tif")
    assert result.exit_code == 1
    assert "No such file or directory" in result.output


@pytest.mark.parametrize("size", ["100", "8"])
def test_tile_sizes_are_multiples_of_sixteen(size: str, tmp_path: Path) -> None:
    source = BY_NAME["8.png"].write(tmp_path)
    assert run(source, tmp_path / "out.tif", "--tile-size", size).exit_code == 2


def test_several_images_become_files_in_a_folder(tmp_path: Path) -> None:
    names = ("a.jpg", "b.png", "c.jpg")
    for name in names:
        Image.new("RGB", (300, 200)).save(tmp_path / name)
    (tmp_path / "c.jpg").write_bytes(b"no image")
    (tmp_path / "out").mkdir()
    result = run(*(tmp_path / name for name in names), tmp_path / "out")
    assert result.exit_code == 1
    assert f"{tmp_path}/c.jpg: " in result.output
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.tif", "b.tif"]
    again = run(tmp_path / "a.jpg", tmp_path / "out")
    assert again.exit_code == 1
    assert "a.tif exists already: remove it, or use --force." in again.output
    assert run("--force", tmp_path / "a.jpg", tmp_path / "out").exit_code == 0


def test_several_images_need_a_folder_and_names_of_their_own(tmp_path: Path) -> None:
    for name in ("a.jpg", "a.png", "b.jpg"):
        Image.new("RGB", (30, 20)).save(tmp_path / name)
    result = run(tmp_path / "a.jpg", tmp_path / "b.jpg", tmp_path / "out.tif")
    assert result.exit_code == 1
    assert "must be an existing folder" in result.output
    (tmp_path / "out").mkdir()
    result = run(tmp_path / "a.jpg", tmp_path / "a.png", tmp_path / "out")
    assert result.exit_code == 1
    assert "Two images have the same name" in result.output
    assert not list((tmp_path / "out").iterdir())


def test_an_image_is_never_replaced_by_its_own_pyramid(tmp_path: Path) -> None:
    Image.new("RGB", (30, 20)).save(tmp_path / "a.tif")
    before = (tmp_path / "a.tif").read_bytes()
    result = run("--force", tmp_path / "a.tif", tmp_path)
    assert result.exit_code == 1
    assert "is the image itself" in result.output
    assert (tmp_path / "a.tif").read_bytes() == before
