"""Pages of every format with several: found, rendered correctly, and listed."""

from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from iiif_server.codecs.page_list import list_pages
from iiif_server.codecs.probe import probe_file
from iiif_server.errors import DamagedOriginalError, OriginalTooLargeError, PageNotFoundError
from iiif_server.iiif.geometry import Dimensions
from iiif_server.plan.header import ImageHeader
from iiif_server.plan.local_file import LocalFile
from iiif_server.plan.original_format import Bounds
from support import avif, heic, pdfs
from support.animations import BACKGROUND, PREVIOUS, Frame, gif, webp
from support.hostile import tiff_chain
from support.rendering import derive

Pixel = tuple[int, int, int, int]
RED, GREEN, BLUE, NONE = (255, 0, 0, 255), (0, 255, 0, 255), (0, 0, 255, 255), (0, 0, 0, 0)


def header_of(path: Path, page: int = 1, bounds: Bounds | None = None) -> ImageHeader:
    return probe_file(
        LocalFile.at(path), max_pixels=10_000_000, page=page, bounds=bounds or Bounds()
    )


def shown(path: Path, page: int) -> Image.Image:
    return derive(path, "full/max/0/default.png", page=page).image.convert("RGBA")


FRAMES = (
    Frame(0, (0, 0, 8, 6)),
    Frame(1, (2, 2, 4, 2), PREVIOUS, hole=True),
    Frame(2, (0, 0, 2, 2), BACKGROUND, hole=True),
    Frame(1, (6, 4, 2, 2)),
)


@pytest.mark.parametrize(
    ("page", "pixels"),
    [
        (1, {(0, 0): RED, (7, 5): RED}),
        (2, {(0, 0): RED, (2, 2): RED, (3, 2): GREEN, (5, 3): GREEN, (6, 4): RED}),
        (3, {(0, 0): RED, (1, 1): BLUE, (3, 2): RED, (5, 3): RED}),
        (4, {(0, 0): NONE, (1, 1): NONE, (2, 2): RED, (6, 4): GREEN}),
    ],
)
def test_a_frame_of_a_gif_is_what_a_browser_shows(
    page: int, pixels: dict[tuple[int, int], Pixel], tmp_path: Path
) -> None:
    path = tmp_path / "a.gif"
    path.write_bytes(gif((8, 6), FRAMES))
    header = header_of(path, page)
    assert (header.stored, header.pages) == (Dimensions(8, 6), 4)
    image = shown(path, page)
    assert {at: image.getpixel(at) for at in pixels} == pixels


def test_what_a_gif_leaves_to_the_background_is_transparent(tmp_path: Path) -> None:
    """Frames may lack a transparent colour, and may exceed the screen."""
    frames = (
        Frame(0, (0, 0, 8, 6)),
        Frame(1, (2, 2, 4, 2), BACKGROUND),
        Frame(2, (0, 0, 2, 2)),
    )
    path = tmp_path / "a.gif"
    path.write_bytes(gif((8, 6), frames))
    image = shown(path, 3)
    places = {(0, 0): BLUE, (2, 2): NONE, (5, 3): NONE, (6, 3): RED, (2, 4): RED}
    assert {at: image.getpixel(at) for at in places} == places


def test_what_the_first_frame_of_a_gif_does_not_cover_is_transparent(tmp_path: Path) -> None:
    path = tmp_path / "a.gif"
    path.write_bytes(gif((8, 6), (Frame(0, (2, 2, 4, 2)), Frame(1, (0, 0, 2, 2)))))
    assert header_of(path).transparent
    assert [shown(path, 1).getpixel(at) for at in ((0, 0), (2, 2), (7, 5))] == [NONE, RED, NONE]
    assert [shown(path, 2).getpixel(at) for at in ((0, 0), (2, 2), (7, 5))] == [GREEN, RED, NONE]


@pytest.mark.parametrize("empty", [(0, 0, 0, 0), (2, 2, 0, 3), (2, 2, 3, 0)])
@pytest.mark.parametrize("place", [0, 1])
def test_a_frame_of_a_gif_without_pixels_draws_nothing(
    empty: tuple[int, int, int, int], place: int, tmp_path: Path
) -> None:
    frames = [Frame(0, (0, 0, 8, 6)), Frame(1, (0, 0, 2, 2))]
    frames.insert(place, Frame(1, empty))
    path = tmp_path / "a.gif"
    path.write_bytes(gif((8, 6), frames))
    corners = [shown(path, page).getpixel((0, 0)) for page in (1, 2, 3)]
    assert corners == [[NONE, RED, GREEN], [RED, RED, GREEN]][place]


def test_a_damaged_frame_of_a_gif_is_refused(tmp_path: Path) -> None:
    data = gif((8, 6), FRAMES)
    second = data.index(b",", data.index(b",") + 1)
    path = tmp_path / "a.gif"
    path.write_bytes(data[: second + 12] + b"\xff" * 3 + data[second + 15 :])
    with pytest.raises(DamagedOriginalError):
        shown(path, 2)


@pytest.mark.parametrize(
    ("page", "pixels"),
    [
        (1, {(0, 0): RED, (7, 5): RED}),
        (2, {(2, 2): RED, (3, 2): GREEN, (5, 3): GREEN, (6, 4): RED}),
        (3, {(0, 0): BLUE, (2, 2): NONE, (5, 3): NONE, (6, 4): RED}),
        (4, {(0, 0): BLUE, (6, 4): NONE, (7, 4): GREEN}),
    ],
)
def test_a_frame_of_a_webp_is_what_a_browser_shows(
    page: int, pixels: dict[tuple[int, int], Pixel], tmp_path: Path
) -> None:
    frames = (
        Frame(0, (0, 0, 8, 6)),
        Frame(1, (2, 2, 4, 2), BACKGROUND, hole=True),
        Frame(2, (0, 0, 2, 2)),
        Frame(1, (6, 4, 2, 2), hole=True, blend=False),
    )
    path = tmp_path / "a.webp"
    path.write_bytes(webp((8, 6), frames))
    header = header_of(path, page)
    assert (header.stored, header.pages) == (Dimensions(8, 6), 4)
    image = shown(path, page)
    assert {at: image.getpixel(at) for at in pixels} == pixels


@pytest.mark.parametrize(("primary", "sizes"), [(1, (64, 48)), (2, (48, 64))])
def test_the_images_of_a_heic_are_pages_the_primary_one_first(
    primary: int, sizes: tuple[int, int], tmp_path: Path
) -> None:
    path = tmp_path / "a.heic"
    path.write_bytes(heic.of_two(primary=primary))
    for page, width in enumerate(sizes, 1):
        header = header_of(path, page)
        assert (header.stored.width, header.pages) == (width, 2)
        image = shown(path, page)
        assert image.size == (header.stored.width, header.stored.height)
        red, _, blue, _ = image.getpixel((4, 4))  # type: ignore[misc]
        assert red > blue, "the left half of both"


@pytest.mark.parametrize(("primary", "order"), [(1, (0, 1, 2)), (3, (2, 0, 1))])
def test_the_images_of_an_avif_are_pages_the_primary_one_first(
    primary: int, order: tuple[int, ...], tmp_path: Path
) -> None:
    images = [Image.new("RGB", (64 + 16 * n, 64), c) for n, c in enumerate(("red", "lime", "blue"))]
    path = tmp_path / "a.avif"
    path.write_bytes(avif.collection(images, primary=primary))
    for page, index in enumerate(order, 1):
        header = header_of(path, page)
        assert (header.stored.width, header.pages) == (64 + 16 * index, 3)
        pixel = shown(path, page).getpixel((9, 9))
        assert isinstance(pixel, tuple)
        assert max(range(3), key=pixel.__getitem__) == index


def test_each_page_of_a_pdf_has_its_own_size(tmp_path: Path) -> None:
    path = tmp_path / "a.pdf"
    path.write_bytes(pdfs.pdf(pages=3))
    bounds = Bounds(pdf_dpi=72)
    assert [header_of(path, page, bounds).stored.width for page in (1, 2, 3)] == [144, 2, 3]
    assert header_of(path, 2, bounds).pages == 3
    assert derive(path, "full/max/0/default.png", page=2).image.getpixel((0, 9)) == pdfs.LEFT


def test_an_apng_is_its_default_image(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    images = [Image.new("RGB", (8, 6), colour) for colour in ("red", "lime")]
    images[0].save(path, save_all=True, append_images=images[1:], default_image=True)
    assert header_of(path).pages == 1
    assert shown(path, 1).getpixel((0, 0)) == RED
    with pytest.raises(PageNotFoundError, match="has one page; there is no page 2"):
        header_of(path, 2)


FILES: dict[str, tuple[Callable[[], bytes], list[tuple[int, int]]]] = {
    "gif": (lambda: gif((8, 6), FRAMES), [(8, 6)] * 4),
    "webp": (lambda: webp((8, 6), FRAMES), [(8, 6)] * 4),
    "heic": (lambda: heic.of_two(primary=2), [(48, 24), (64, 64)]),
    "avif": (
        lambda: avif.collection(
            [Image.new("RGB", (64, 64)), Image.new("RGB", (80, 64))], primary=2
        ),
        [(80, 64), (64, 64)],
    ),
    "pdf": (lambda: pdfs.pdf(pages=3), [(300, 150), (5, 150), (7, 150)]),
    "tif": (lambda: tiff_chain(70), [(8, 8)] * 70),
}


@pytest.mark.parametrize("kind", FILES)
def test_pages_are_listed_as_their_headers_have_them(kind: str, tmp_path: Path) -> None:
    write, sizes = FILES[kind]
    path = tmp_path / f"a.{kind}"
    path.write_bytes(write())
    header = header_of(path)
    listed = list_pages(LocalFile.at(path), header=header).result
    assert listed is not None
    assert [(size.width, size.height) for size in listed.dimensions] == sizes
    assert header.pages == len(sizes)
    last = header_of(path, len(sizes))
    assert (last.stored.width, last.stored.height) == sizes[-1]


def test_pages_of_a_pdf_are_listed_up_to_the_first_that_is_not_there(tmp_path: Path) -> None:
    path = tmp_path / "a.pdf"
    path.write_bytes(pdfs.pdf(pages=3).replace(b"/Count 3", b"/Count 9"))
    listed = list_pages(LocalFile.at(path), header=header_of(path)).result
    assert listed is not None
    assert [size.width for size in listed.dimensions] == [300, 5, 7]


@pytest.mark.parametrize("kind", FILES)
def test_a_page_beyond_the_last_is_told_with_their_number(kind: str, tmp_path: Path) -> None:
    write, sizes = FILES[kind]
    path = tmp_path / f"a.{kind}"
    path.write_bytes(write())
    with pytest.raises(PageNotFoundError, match=f"has {len(sizes)} pages; there is no page 71"):
        header_of(path, 71)


@pytest.mark.parametrize("kind", FILES)
def test_more_pages_than_are_read_are_refused(kind: str, tmp_path: Path) -> None:
    write, sizes = FILES[kind]
    path = tmp_path / f"a.{kind}"
    path.write_bytes(write())
    with pytest.raises(OriginalTooLargeError, match=f"has {len(sizes)} "):
        header_of(path, bounds=Bounds(frames=len(sizes) - 1))


@pytest.mark.parametrize("write", [gif, webp], ids=["gif", "webp"])
def test_a_frame_behind_too_many_pixels_is_refused(
    write: Callable[[tuple[int, int], list[Frame]], bytes], tmp_path: Path
) -> None:
    path = tmp_path / "a"
    path.write_bytes(write((2_000, 2_000), [FRAMES[1]] * 300))
    assert header_of(path, 200).needs.effort > 100 * header_of(path, 2).needs.effort / 2
    with pytest.raises(OriginalTooLargeError, match="in the frames before frame 300"):
        header_of(path, 300)
