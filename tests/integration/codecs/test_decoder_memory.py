"""What decoders take beside the pixels is estimated from headers: what is refused or queued is what
would take it, and no small file takes more than it is said to."""

import struct
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from iiif_server.codecs.jobs import render
from iiif_server.codecs.probe import probe
from iiif_server.errors import DamagedOriginalError, OriginalTooLargeError
from iiif_server.plan.cost import cost_of_render
from iiif_server.plan.header import ImageHeader
from iiif_server.workers.admission import Lane, lane_of
from support import hostile
from support.growth import measure_growth
from support.hostile import jp2_of_blocks, jp2_segment, jp2_style
from support.rendering import derive, plan_request

SIDE = 1024
ALWAYS = 48_000_000
"""What an estimate may be too high by, whatever it is about."""
LARGE = (6, 6)
SMALL = (2, 2)


def animation(format_: str) -> bytes:
    """Animation whose file is much larger than its first frame."""
    noise = np.random.default_rng(0)
    frames = [Image.fromarray(noise.integers(0, 255, (400, 400), np.uint8)) for _ in range(100)]
    data = BytesIO()
    frames[0].save(data, format_, save_all=True, append_images=frames[1:])
    return data.getvalue()


def tiff_of_tiles(side: int, tile: int) -> bytes:
    """Gray TIFF of small tiles that all share the same bytes."""
    count = (side // tile) ** 2
    tags = hostile.tiff_tags(side, side)
    for number in (273, 278, 279):
        del tags[number]
    data = bytes(tile * tile)
    tables = 8 + len(data)
    data += struct.pack("<I", 8) * count + struct.pack("<I", tile * tile) * count
    tags[322], tags[323] = (322, 4, 1, tile), (323, 4, 1, tile)
    tags[324], tags[325] = (324, 4, count, tables), (325, 4, count, tables + 4 * count)
    return hostile.tiff_of(tags, data)


FILES = {
    "plain": lambda: jp2_of_blocks(SIDE, jp2_style(LARGE)),
    "code blocks of 4 x 4": lambda: jp2_of_blocks(SIDE, jp2_style(SMALL)),
    "code blocks of 8 x 8": lambda: jp2_of_blocks(SIDE, jp2_style((3, 3))),
    "code blocks of 4 x 4, gray": lambda: jp2_of_blocks(SIDE, jp2_style(SMALL), components=1),
    "code blocks of 4 x 4, alpha": lambda: jp2_of_blocks(SIDE, jp2_style(SMALL), components=4),
    "code blocks of 4 x 4, not halved": lambda: jp2_of_blocks(SIDE, jp2_style(SMALL, levels=0)),
    "code blocks of 4 x 4, halved ten times": lambda: jp2_of_blocks(SIDE, jp2_style(SMALL, 10)),
    "small blocks in the header of the tile": lambda: jp2_of_blocks(
        SIDE, jp2_style(LARGE), of_tiles=jp2_segment(0xFF52, jp2_style(SMALL))
    ),
    "small blocks of one component": lambda: jp2_of_blocks(
        SIDE,
        jp2_style(LARGE),
        of_tiles=jp2_segment(0xFF53, bytes([0, 0]) + jp2_style(SMALL)[5:]),
    ),
    "precincts of 16 x 16": lambda: jp2_of_blocks(SIDE, jp2_style(LARGE, precinct=4)),
    "precincts of 32 x 32": lambda: jp2_of_blocks(SIDE, jp2_style(LARGE, precinct=5)),
    "small precincts, many layers": lambda: jp2_of_blocks(SIDE, jp2_style(LARGE, 5, 200, 5)),
    "many layers": lambda: jp2_of_blocks(SIDE, jp2_style(LARGE, layers=60_000)),
    "tiles of 16 x 16": lambda: jp2_of_blocks(SIDE, jp2_style(LARGE), tile=16),
    "small tiles, small blocks": lambda: jp2_of_blocks(SIDE, jp2_style(SMALL), tile=64),
    "tiff of tiny tiles": lambda: tiff_of_tiles(8192, 16),
    "gif of many frames": lambda: animation("GIF"),
    "webp of many frames": lambda: animation("WEBP"),
}


@pytest.mark.parametrize("request_", ["0,0,200,200/200,/0/default.jpg", "full/100,/0/default.jpg"])
@pytest.mark.parametrize("name", FILES)
def test_no_structure_takes_more_than_estimated(name: str, request_: str, tmp_path: Path) -> None:
    path = tmp_path / "original"
    path.write_bytes(FILES[name]())
    plan = plan_request(path, request_, target=tmp_path / "made")
    taken = measure_growth(render, plan)
    assert taken < cost_of_render(plan).bytes < 3 * taken + ALWAYS


def header_of(tmp_path: Path, data: bytes) -> ImageHeader:
    path = tmp_path / "original"
    path.write_bytes(data)
    return probe(path, 10**9)


def test_a_small_file_of_many_code_blocks_keeps_no_tile_waiting(tmp_path: Path) -> None:
    """A file of 102 bytes for which the decoder needed 1.5 GB."""
    path = tmp_path / "original"
    lanes = {}
    for name, block in (("large", LARGE), ("small", SMALL)):
        path.write_bytes(jp2_of_blocks(4096, jp2_style(block)))
        cost = cost_of_render(
            plan_request(path, "full/100,/0/default.jpg", target=tmp_path / "made")
        )
        lanes[name] = lane_of(100 * 100, cost.bytes, cost.effort)
    assert lanes == {"large": Lane.TILE, "small": Lane.FULL}


def test_a_large_image_of_small_code_blocks_is_more_than_any_worker_is_given(
    tmp_path: Path,
) -> None:
    needs = header_of(tmp_path, jp2_of_blocks(20_000, jp2_style(SMALL))).needs
    assert needs.bytes > 30_000_000_000


def test_scans_count_as_often_as_they_are_decoded(tmp_path: Path) -> None:
    data = hostile.jpeg_of_many_scans(10, side=64)
    assert header_of(tmp_path, data).needs.effort >= 9 * 64 * 64
    assert header_of(tmp_path, hostile.progressive()).needs.effort > 0


def test_a_jpeg2000_is_halved_as_often_as_its_least_halved_tile(tmp_path: Path) -> None:
    least = jp2_segment(0xFF52, jp2_style(LARGE, levels=2))
    data = jp2_of_blocks(256, jp2_style(LARGE, levels=5), tile=128, of_tiles=least)
    assert header_of(tmp_path, data).max_shrink == 4
    assert header_of(tmp_path, jp2_of_blocks(256, jp2_style(LARGE, levels=5))).max_shrink == 32


def test_absurd_styles_in_the_header_of_a_tile_are_refused(tmp_path: Path) -> None:
    for style, error in (
        (jp2_style(LARGE, levels=5, precinct=1), OriginalTooLargeError),
        (jp2_style(LARGE, levels=33), DamagedOriginalError),
    ):
        data = jp2_of_blocks(2048, jp2_style(LARGE), of_tiles=jp2_segment(0xFF52, style))
        with pytest.raises(error):
            header_of(tmp_path, data)


# --- later directories of a TIFF ------------------------------------------------------------


def tiff_of_pages(later: dict[int, hostile.TiffTag], filler: int, *, below: bool) -> bytes:
    """TIFF whose second directory, in the chain or a SubIFD, has these tags.

    In the chain, it is that of a reduced version of the first, unless it says something else.
    """
    later = {254: (254, 4, 1, 1)} | later
    first = hostile.tiff_tags(8, 8)
    if below:
        first[330] = (330, 4, 1, 0)
    size = len(hostile.tiff_directory([*first.values()]))
    second = 8 + 64 + size
    if below:
        first[330] = (330, 4, 1, second)
    data = b"II*\0" + struct.pack("<I", 72) + bytes(64)
    data += hostile.tiff_directory([*first.values()], 0 if below else second)
    return data + hostile.tiff_directory([*later.values()]) + bytes(filler)


@pytest.mark.parametrize("below", [False, True], ids=["reduced", "below the first"])
@pytest.mark.parametrize(
    ("tag", "filler", "words"),
    [
        ((34675, 7, 17 << 20, 0), 18 << 20, "ICC profile"),
        ((700, 7, 17 << 20, 0), 18 << 20, "XMP"),
        ((324, 3, 3 << 20, 0), 7 << 20, "strips or tiles"),
    ],
)
def test_later_directories_are_inspected_too(
    tag: hostile.TiffTag, filler: int, words: str, *, below: bool, tmp_path: Path
) -> None:
    later = hostile.tiff_tags(4, 4) | {tag[0]: tag}
    with pytest.raises(OriginalTooLargeError, match=words):
        header_of(tmp_path, tiff_of_pages(later, filler, below=below))


def test_the_metadata_of_all_directories_together_are_bounded(tmp_path: Path) -> None:
    """Each of 60 reduced versions refers to the same 9 MB of notes."""
    tags = {254: (254, 4, 1, 1), **hostile.tiff_tags(8, 8), 50_000: (50_000, 7, 9 << 20, 8)}
    size = len(hostile.tiff_directory([*tags.values()]))
    pages = [
        hostile.tiff_directory([*tags.values()], 72 + (n + 1) * size if n < 59 else 0)
        for n in range(60)
    ]
    data = b"II*\0" + struct.pack("<I", 72) + bytes(64) + b"".join(pages) + bytes(10 << 20)
    with pytest.raises(OriginalTooLargeError, match="bytes of metadata"):
        header_of(tmp_path, data)


def test_pages_that_are_read_by_nobody_may_be_what_they_like(tmp_path: Path) -> None:
    later = hostile.tiff_tags(60_000, 60_000, compression=34_712, samples=300)
    later |= {254: (254, 4, 1, 0), 34_675: (34_675, 7, 17 << 20, 0)}
    assert header_of(tmp_path, tiff_of_pages(later, 18 << 20, below=False)).stored.width == 8
    made = derive(tmp_path / "original", "full/max/0/default.png", max_pixels=1_000)
    assert made.image.size == (8, 8), "no decoder has seen the other page"
