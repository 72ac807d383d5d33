"""The library: renditions of files without a server."""

import gc
import io
import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import iiif_server
from iiif_server import open_image
from iiif_server.errors import (
    DamagedOriginalError,
    MalformedParameterError,
    OriginalChangedError,
    OriginalTooLargeError,
    OutOfBoundsError,
    SizeRefusedError,
    UnsupportedFormatError,
    UnsupportedOriginalError,
)
from iiif_server.iiif.formats import Format
from iiif_server.iiif.geometry import OutputLimits
from iiif_server.library import ImageInfo
from iiif_server.plan.encoding import EncodingOptions
from support import pictures
from support.pictures import HEIGHT, PICTURES, WIDTH, Picture, photograph
from support.rendering import decoded_size, derive

PAGE = Path(__file__).parents[2] / "docs/library.md"
DAMAGED = b"\xff\xd8\xff\xe0\0\x10JFIF\0"


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "photo.jpg"
    path.write_bytes(pictures.jpeg(photograph(), exif=pictures.exif(6)))
    return path


@pytest.mark.parametrize("picture", PICTURES, ids=lambda picture: picture.name)
def test_every_format_is_read_and_rendered_as_by_workers(picture: Picture, tmp_path: Path) -> None:
    path = tmp_path / "original"
    path.write_bytes(picture.encode(photograph()))
    with open_image(path) as image:
        assert image.info.width > 0
        made = image.render("10,20,100,80", "50,", "90", "gray", "png")
    worker = derive(path, "10,20,100,80/50,/90/gray.png", encoding=EncodingOptions())
    assert made == worker.data
    assert decoded_size(made, Format.PNG) == (40, 50)


@pytest.mark.parametrize("format_", ["jpg", "png", "webp", "tif", "gif", "jp2", "pdf", "avif"])
def test_every_output_format(format_: str, photo: Path) -> None:
    with open_image(photo) as image:
        made = image.render(size="60,", format=format_)
    assert decoded_size(made, Format(format_))[0] == 60


def test_info_is_of_the_upright_image(photo: Path) -> None:
    with open_image(str(photo)) as image:
        assert image.info == ImageInfo("JPEG", HEIGHT, WIDTH, gray=False, transparent=False)
        document = image.info_json("https://example.org/photo")
    assert (document["id"], document["type"]) == ("https://example.org/photo", "ImageService3")
    assert (document["width"], document["height"]) == (HEIGHT, WIDTH)
    assert document["maxArea"] == 25_000_000


def test_a_whole_jpeg_is_the_file_itself(tmp_path: Path) -> None:
    path = tmp_path / "upright.jpg"
    path.write_bytes(pictures.jpeg(photograph()))
    with open_image(path) as image:
        assert image.render() == path.read_bytes()


@pytest.mark.parametrize(
    ("parameters", "error"),
    [
        ({"region": "1,2,3"}, MalformedParameterError),
        ({"region": "9999,0,10,10"}, OutOfBoundsError),
        ({"size": "full"}, MalformedParameterError),  # Image API 2
        ({"size": "9999,"}, SizeRefusedError),
        ({"size": "^9999,"}, SizeRefusedError),
        ({"rotation": "361"}, MalformedParameterError),
        ({"quality": "native"}, MalformedParameterError),
        ({"format": "bmp"}, UnsupportedFormatError),
    ],
)
def test_parameters_are_refused_as_by_the_server(
    parameters: dict[str, str], error: type[Exception], photo: Path
) -> None:
    with open_image(photo) as image, pytest.raises(error):
        image.render(**parameters)


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"", UnsupportedOriginalError),
        (b"<svg/>", UnsupportedOriginalError),
        (DAMAGED, DamagedOriginalError),
        (b"GIF89a\xff\xff\xff\xff\0\0\0", OriginalTooLargeError),
    ],
)
def test_files_are_refused_as_by_the_server(
    data: bytes, error: type[Exception], tmp_path: Path
) -> None:
    path = tmp_path / "original"
    path.write_bytes(data)
    with pytest.raises(error):
        open_image(path)


def test_a_truncated_image_opens_and_is_not_rendered(tmp_path: Path) -> None:
    path = tmp_path / "short.jpg"
    data = next(each for each in PICTURES if each.name == "420.jpg").encode(photograph())
    path.write_bytes(data[: len(data) // 2])
    with open_image(path) as image, pytest.raises(DamagedOriginalError):
        image.render()


def test_what_cannot_be_opened_is_an_error_of_the_system(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        open_image(tmp_path / "missing.jpg")
    (tmp_path / "link").symlink_to("link")
    with pytest.raises(OSError, match="symbolic links"):
        open_image(tmp_path / "link")


def test_pipes_and_folders_are_no_images(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe"):
        with pytest.raises(UnsupportedOriginalError, match="not a regular file"):
            open_image(path)


def test_limits_and_encoding_can_be_chosen(photo: Path) -> None:
    with pytest.raises(OriginalTooLargeError):
        open_image(photo, max_source_pixels=WIDTH * HEIGHT - 1)
    with open_image(photo, limits=OutputLimits(max_width=50)) as image:
        assert decoded_size(image.render(), Format.JPG) == (37, 50)
        with pytest.raises(SizeRefusedError):
            image.render(size=",51")
    sizes = []
    for quality in (20, 95):
        with open_image(photo, encoding=EncodingOptions(jpeg_quality=quality)) as image:
            sizes.append(len(image.render(size="100,")))
    assert sizes[0] < sizes[1]


def test_a_file_that_is_written_meanwhile_is_not_rendered(photo: Path) -> None:
    with open_image(photo) as image:
        with photo.open("ab") as file:
            file.write(b"more")
        with pytest.raises(OriginalChangedError):
            image.render(size="50,")


def test_a_file_that_was_replaced_is_still_the_one_that_was_opened(photo: Path) -> None:
    with open_image(photo) as image:
        before = image.render(size="50,")
        other = photo.with_name("other")
        other.write_bytes(pictures.jpeg(photograph(seed=9)))
        other.replace(photo)
        assert image.render(size="50,") == before


def test_a_closed_image_renders_nothing(photo: Path) -> None:
    with open_image(photo) as image:
        pass
    image.close()
    with pytest.raises(ValueError, match="closed"):
        image.render()


def test_no_descriptor_is_left_behind(photo: Path, tmp_path: Path) -> None:
    (tmp_path / "damaged").write_bytes(DAMAGED)

    def use() -> None:
        with open_image(photo) as image:
            image.render(size="50,")
            image.render("0,0,16,16")
        with pytest.raises(DamagedOriginalError):
            open_image(tmp_path / "damaged")

    use()
    gc.collect()  # libvips keeps a duplicate as long as its image
    before = len(os.listdir("/dev/fd"))
    for _ in range(5):
        use()
    gc.collect()
    assert len(os.listdir("/dev/fd")) == before


def test_threads_share_an_image(photo: Path) -> None:
    sizes = range(20, 60)
    made: dict[int, bytes] = {}
    with open_image(photo) as image:

        def render(part: range) -> None:
            for size in part:
                made[size] = image.render(size=f"{size},")

        threads = [threading.Thread(target=render, args=(sizes[n::4],)) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert {size: image.render(size=f"{size},") for size in sizes} == made


def test_importing_the_package_loads_no_imaging_library() -> None:
    code = (
        "import sys, iiif_server; before = set(sys.modules); iiif_server.open_image;"
        "print(sorted({'pyvips', 'PIL', 'fastapi'} & before));"
        "print(sorted({'pyvips', 'PIL', 'fastapi'} & set(sys.modules)))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.splitlines() == ["[]", "['PIL', 'pyvips']"]
    with pytest.raises(AttributeError, match="open_images"):
        iiif_server.open_images  # noqa: B018


def test_the_documented_example_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    photo = tmp_path / "photo.jpg"
    photo.write_bytes(pictures.jpeg(photograph(500, 400)))
    monkeypatch.chdir(tmp_path)
    example = PAGE.read_text().partition("```python\n")[2].partition("```")[0]
    made: dict[str, bytes] = {}
    exec(example, made)  # noqa: S102 - it is ours
    assert capsys.readouterr().out == "500 400 JPEG\n"
    with Image.open(io.BytesIO(made["thumbnail"])) as thumbnail:
        assert max(thumbnail.size) == 200
    with Image.open(io.BytesIO(made["detail"])) as detail:
        assert (detail.format, detail.mode, detail.size) == ("PNG", "L", (200, 300))
        reference = derive(photo, "100,100,300,200/max/90/gray.png")
        assert np.array_equal(np.asarray(detail), np.asarray(reference.image))
