"""Tiled TIFFs read in parts: the same result as of the whole file, and no missing byte is read."""

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iiif_server.codecs.jobs import render
from iiif_server.codecs.probe import probe_file, probe_partial
from iiif_server.errors import IiifServerError, PartsMissingError
from iiif_server.formats.tiff_tables import read_partial_tile_tables, read_tile_tables
from iiif_server.plan.extents import merge_extents, missing_extents, total_length
from iiif_server.plan.header import NO_NEEDS, ImageHeader, Reader
from iiif_server.plan.local_file import LocalFile
from iiif_server.plan.original_format import SIGNATURE_BYTES
from iiif_server.plan.render_plan import Engine, RenderPlan, TileToCrop
from iiif_server.plan.stored_grid import tiles_to_decode
from support import pictures, tiffs
from support.partial import PartialFile
from support.rendering import plan_request

MAX = 10**9
TRUNCATED = "truncated"
SHAPES: dict[str, dict[str, Any]] = {
    "pyramid in the chain": {},
    "pyramid below": {"subifd": True},
    "big": {"bigtiff": True},
    "no pyramid": {"pyramid": False},
    "deflate": {"compression": "deflate"},
    "one level": {"compression": "none", "pyramid": False},
}
SMALL = st.integers(0, 60)
EXTENTS = st.lists(st.tuples(SMALL, SMALL).map(lambda pair: (min(pair), max(pair))), max_size=8)


class Originals(list[bytes]):
    """Originals by name; Hypothesis prints arguments, and their bytes would be megabytes."""

    def __repr__(self) -> str:
        return f"<{len(self)} files>"


@pytest.fixture(scope="module")
def files() -> Originals:
    pixels = pictures.photograph(300, 200)
    made = [tiffs.tiled(pixels, 64, **options) for options in SHAPES.values()]
    return Originals(
        [
            *made,
            pictures.tiff(pictures.vips(pixels, "srgb")),  # strips
            pictures.jpeg(pixels),
            tiffs.built("MM", big=True),
        ]
    )


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


def bytes_in(extents: list[tuple[int, int]] | tuple[tuple[int, int], ...]) -> set[int]:
    return {byte for start, stop in extents for byte in range(start, stop)}


@given(EXTENTS, EXTENTS)
def test_missing_bytes_are_the_difference(
    present: list[tuple[int, int]], requested: list[tuple[int, int]]
) -> None:
    found = missing_extents(merge_extents(present), requested)
    assert bytes_in(found) == bytes_in(requested) - bytes_in(present)
    assert total_length(found) == len(bytes_in(found))
    assert list(found) == sorted(found)


@given(EXTENTS, st.integers(0, 20))
def test_merged_extents_have_the_same_bytes_and_small_gaps(
    extents: list[tuple[int, int]], gap: int
) -> None:
    found = merge_extents(extents, gap)
    assert bytes_in(extents) <= bytes_in(found)
    assert all(after[0] - before[1] > gap for before, after in pairwise(found))
    # Nothing is added at either end, and nothing but gaps between.
    ends = {start for start, stop in extents if start < stop}
    assert all(start in ends for start, _ in found)


def outcome(work: Callable[[], Any]) -> Any:
    """Return the result of a function, or one word for an error: a file may have several faults."""
    try:
        return work()
    except IiifServerError as error:
        return TRUNCATED if "is truncated" in str(error) else "refused"


def without_tables(found: Any) -> Any:
    """Return a header without what depends on the tile tables, which may be damaged."""
    if not isinstance(found, ImageHeader):
        return found
    return replace(found, reader=Reader.LIBVIPS, needs=NO_NEEDS, bands=())


def assert_same_in_parts(data: bytes, present: list[tuple[int, int]], ahead: int) -> PartialFile:
    """Assert that header and tables are the same in parts and as a whole."""
    with tempfile.TemporaryDirectory() as folder:
        (whole := Path(folder, "whole")).write_bytes(data)
        parts = PartialFile(Path(folder, "parts"), data, tuple(present))
        read = partial(probe_partial, max_pixels=MAX)
        expected = outcome(lambda: probe_file(LocalFile.at(whole), max_pixels=MAX))
        found = outcome(lambda: parts.run(read, ahead))
        if expected == TRUNCATED:  # the tables that tell it are not worth their bytes
            return parts
        assert without_tables(found) == without_tables(expected)
        tiles = getattr(expected, "tiles", None)
        if tiles is None:
            return parts
        tables = read_tile_tables(LocalFile.at(whole), keep_profile=True)
        for factor in (*tiles.factors, 3):
            for decoder in (False, True):
                read_tables = partial(
                    read_partial_tile_tables,
                    scale_factor=factor,
                    keep_profile=True,
                    decoder=decoder,
                )
                found = parts.run(read_tables, ahead)
                assert found == {key: value for key, value in tables.items() if key == factor}
        return parts


PRESENT = st.lists(
    st.tuples(st.integers(0, 30_000), st.integers(1, 5_000)).map(lambda at: (at[0], sum(at))),
    max_size=4,
)


@given(st.data(), PRESENT, st.sampled_from([0, 100, 4_096]))
def test_reading_in_parts_equals_reading_the_whole_file(
    files: Originals, data: st.DataObject, present: list[tuple[int, int]], ahead: int
) -> None:
    content = files[data.draw(st.integers(0, len(files) - 1))]
    assert_same_in_parts(
        content, [(a, min(b, len(content))) for a, b in present if a < len(content)], ahead
    )


@given(st.data(), st.sampled_from([0, 4_096]))
def test_damaged_files_are_refused_alike_in_parts_and_whole(
    files: Originals, data: st.DataObject, ahead: int
) -> None:
    content = bytearray(files[data.draw(st.integers(0, len(files) - 1))])
    # Where directories are; most of the rest of a file is pixels.
    places = [at for at in range(len(content)) if at < 16 or content[at] in {0, 1, 3, 4}]
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.sampled_from(places))] = data.draw(st.integers(0, 255))
    parts = assert_same_in_parts(bytes(content), [], ahead)
    assert total_length(parts.present) <= len(content)


def test_header_needs_neither_tiles_nor_their_tables(folder: Path) -> None:
    data = tiffs.tiled(pictures.photograph(1500, 1500), 64, bigtiff=True)
    parts = PartialFile(folder / "parts", data)
    parts.run(partial(probe_partial, max_pixels=MAX))
    found = tiffs.levels(data)
    tables = sum(len(level.tags[tag]) * 8 for level in found for tag in (tiffs.OFFSETS,))
    assert total_length(parts.present) < tables
    assert len(parts.brought) <= 3 * len(found) + 4


def test_sub_ifds_are_fetched_in_one_round(folder: Path) -> None:
    data = tiffs.tiled(pictures.photograph(1500, 1500), 64, subifd=True)
    parts = PartialFile(folder / "parts", data)
    parts.run(partial(probe_partial, max_pixels=MAX), ahead=4_096)
    assert len(parts.brought) <= 5


def test_other_files_than_tiled_tiffs_are_needed_whole(folder: Path) -> None:
    data = pictures.jpeg(pictures.photograph(300, 200))
    parts = PartialFile(folder / "parts", data, ((0, SIGNATURE_BYTES),))
    parts.run(partial(probe_partial, max_pixels=MAX))
    assert parts.brought == [((SIGNATURE_BYTES, len(data)),)]


def fetched_for(parts: PartialFile, plan: RenderPlan) -> RenderPlan:
    """Return the plan with all extents present that the server fetches for it."""
    header = parts.run(partial(probe_partial, max_pixels=MAX))
    factor = plan.operations.shrink
    read = partial(read_partial_tile_tables, scale_factor=factor, keep_profile=False, decoder=True)
    table = parts.run(read)[factor]
    assert header.tiles is not None
    places = map(table.entry, tiles_to_decode(header.tiles, plan.operations))
    parts.fetch((offset, offset + length) for offset, length in places)
    return replace(plan, original=parts.file)


@pytest.mark.parametrize("number", range(len(SHAPES)), ids=SHAPES)
def test_decoders_log_no_warning_about_pages_that_they_count(
    files: Originals, folder: Path, number: int, caplog: pytest.LogCaptureFixture
) -> None:
    (whole := folder / "whole").write_bytes(files[number])
    plan = plan_request(whole, "10,10,200,100/50,25/0/default.png", engine=Engine.RASTER)
    parts = PartialFile(folder / "parts", files[number])
    assert render(fetched_for(parts, plan)).data == render(plan).data
    assert not [record for record in caplog.records if record.name == "pyvips"]


@given(
    number=st.integers(0, len(SHAPES) - 1),
    corner=st.tuples(st.integers(0, 298), st.integers(0, 198)),
    most=st.tuples(st.integers(1, 300), st.integers(1, 200), st.integers(1, 300)),
    last=st.sampled_from(["0/default.png", "90/gray.png", "30/default.png"]),
)
def test_decoders_read_no_missing_byte(
    files: Originals,
    number: int,
    corner: tuple[int, int],
    most: tuple[int, int, int],
    last: str,
) -> None:
    content, (x, y) = files[number], corner
    width, height = min(most[0], 300 - x), min(most[1], 200 - y)
    across = min(most[2], width)
    down = max(1, height * across // width)
    with tempfile.TemporaryDirectory() as folder:
        (whole := Path(folder, "whole")).write_bytes(content)
        plan = plan_request(
            whole,
            f"{x},{y},{width},{height}/{across},{down}/{last}",
            engine=Engine.RASTER,
        )
        expected = render(plan).data
        parts = PartialFile(Path(folder, "parts"), content)
        assert render(fetched_for(parts, plan)).data == expected


def test_worker_does_not_fall_back_to_a_partial_file(files: Originals, folder: Path) -> None:
    (whole := folder / "whole").write_bytes(files[0])
    plan = plan_request(whole, "0,0,64,64/64,64/0/default.jpg", engine=Engine.JPEGTRAN)
    plan = replace(plan, tile=TileToCrop(b"no JPEG", plan.operations))
    parts = PartialFile(folder / "parts", files[0])
    with pytest.raises(PartsMissingError):
        render(replace(plan, original=parts.file))
    assert render(plan).data  # of a whole file it does
