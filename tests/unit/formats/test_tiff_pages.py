"""Pages of a TIFF: directory chain, page list, and view of a single directory."""

import io
import os
import struct
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from iiif_server.errors import OriginalTooLargeError, PageNotFoundError
from iiif_server.formats.bounded_file import BoundedFile
from iiif_server.formats.present_file import PresentFile
from iiif_server.formats.tiff import Directory, Layout, Tag
from iiif_server.formats.tiff_pages import SingleDirectory, directories, list_pages
from iiif_server.iiif.geometry import Dimensions
from iiif_server.plan.original_format import Bounds, OriginalFormat
from support.hostile import TiffTag, tiff_chain, tiff_directory, tiff_tags
from support.tiffs import built


class Counting(io.FileIO):
    """File that counts the bytes that are read."""

    reads = 0

    def read(self, size: int | None = -1, /) -> bytes:
        self.reads += 1
        return super().read(-1 if size is None else size)


class Measured(io.BytesIO):
    """File that records its longest read."""

    most = 0

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(size)
        self.most = max(self.most, len(data))
        return data


def bounded(file: Any, frames: int = 10_000) -> BoundedFile:
    return BoundedFile(file, OriginalFormat.TIFF, bounds=Bounds(frames=frames))


def chain_of(*tags: dict[int, TiffTag], after: bytes = b"") -> bytes:
    """Write a TIFF of pages with these tags."""
    data, at = b"", 72
    for number, one in enumerate(tags):
        size = len(tiff_directory([*one.values()]))
        at += size
        data += tiff_directory([*one.values()], at if number < len(tags) - 1 else 0)
    return b"II*\0" + struct.pack("<I", 72) + bytes(64) + data + after


def test_a_long_chain_is_walked_once(tmp_path: Path) -> None:
    path = tmp_path / "book.tif"
    path.write_bytes(tiff_chain(5_000))
    with Counting(path) as first, Counting(path) as second:
        assert directories(bounded(first)).pages == 5_000
        main = directories(bounded(second), 4_000).main
        assert main.dimensions == Dimensions(8, 8)
    assert first.reads > 5_000
    assert second.reads < 20


def test_a_remembered_chain_has_the_bounds_of_whoever_asks(tmp_path: Path) -> None:
    path = tmp_path / "book.tif"
    path.write_bytes(tiff_chain(100))
    with path.open("rb") as file:
        assert directories(bounded(file), 100).pages == 100
        with pytest.raises(OriginalTooLargeError, match="100 pages"):
            directories(bounded(file, frames=99), 1)
        with pytest.raises(PageNotFoundError):
            directories(bounded(file), 101)


def test_a_replaced_file_is_walked_again(tmp_path: Path) -> None:
    path = tmp_path / "book.tif"
    for count in (100, 99):
        path.write_bytes(tiff_chain(count))
        with path.open("rb") as file:
            assert directories(bounded(file)).pages == count


def test_a_file_that_is_there_in_part_is_read_as_far_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "book.tif"
    path.write_bytes(tiff_chain(100))
    size = path.stat().st_size
    with PresentFile(os.open(path, os.O_RDONLY), [(0, size)]) as file:
        found = BoundedFile(file, OriginalFormat.TIFF)
        assert found.version is None
        assert directories(found, 100).pages == 100


def test_pages_are_listed_with_their_upright_dimensions_and_names() -> None:
    named, turned, nothing = tiff_tags(8, 6), tiff_tags(5, 3), tiff_tags(7, 7)
    named[285] = (285, 2, 4, int.from_bytes(b"ix\0\0", "little"))
    turned[274] = (274, 3, 1, 6)
    del nothing[256]
    thumbnail = {254: (254, 4, 1, 1), **tiff_tags(2, 2)}
    turned[285] = (285, 2, 9, 0)
    turned[285] = (285, 2, 9, len(chain_of(named, thumbnail, turned, nothing)))
    data = chain_of(named, thumbnail, turned, nothing, after="Tafel Ä\0".encode())
    found = list_pages(bounded(io.BytesIO(data)))
    assert found.dimensions == (Dimensions(8, 6), Dimensions(3, 5), Dimensions(0, 7))
    assert found.names == ("ix", "Tafel Ä", "")


def test_tags_behind_the_usual_ones_cost_no_time_in_a_list() -> None:
    many = {number: (number, 3, 1, 7) for number in range(40_000, 44_000)}
    data = chain_of(*[tiff_tags(8, 8) | many] * 3)
    file = Measured(data)
    assert list_pages(bounded(file)).dimensions == (Dimensions(8, 8),) * 3
    assert file.most < 4_000 * 12


@pytest.mark.parametrize("order", ["II", "MM"])
@pytest.mark.parametrize("big", [False, True])
def test_a_directory_of_several_stands_alone(order: str, tmp_path: Path, *, big: bool) -> None:
    path = tmp_path / "levels.tif"
    path.write_bytes(built(order, big=big, chained=2))
    with path.open("rb") as file:
        page = directories(bounded(file))
        for ifd in (page.main, *page.reduced):
            single = SingleDirectory(file.fileno(), ifd.offset)
            assert not single.is_whole_file
            alone = directories(bounded(single))
            assert alone.pages == 1
            assert not alone.reduced
            assert alone.main.dimensions == ifd.dimensions
            assert alone.main.values(Tag.TILES) == ifd.values(Tag.TILES)


def test_reads_of_any_length_show_the_same_file(tmp_path: Path) -> None:
    path = tmp_path / "pages.tif"
    path.write_bytes(tiff_chain(3))
    with path.open("rb") as file:
        layout = Layout.of(bounded(file))
        second = Directory(bounded(file), layout, 72).next
        single = SingleDirectory(file.fileno(), second)
        whole = single.read()
        assert len(whole) == path.stat().st_size
        assert struct.unpack_from("<I", whole, 4) == (second,)
        assert single.read() == b""
        for length in (1, 3, 7):
            single.seek(0)
            parts = list(iter(partial(single.read, length), b""))
            assert b"".join(parts) == whole
        single.seek(-5, io.SEEK_END)
        assert single.read(20) == whole[-5:]


def test_a_file_of_one_directory_is_used_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "one.tif"
    path.write_bytes(tiff_chain(1))
    with path.open("rb") as file:
        assert SingleDirectory(file.fileno(), 72).is_whole_file
