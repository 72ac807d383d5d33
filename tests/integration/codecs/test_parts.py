"""Damaged pyramid parts: never another tile, never an unexpected exception."""

import struct
import zlib
from pathlib import Path

import pytest

from iiif_server.formats.pyramid_file import OpenPart, write_part
from iiif_server.iiif.geometry import Dimensions, square
from iiif_server.plan.grid import Grid, Tile

GRID = Grid(Dimensions(300, 200), square(128))
TILES = {
    tile: f"{tile} ".encode() * 20
    for factor in GRID.scale_factors
    for tile, _ in GRID.tiles(factor)
}
FIRST, SECOND = Tile(1, 0, 0), Tile(1, 1, 0)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "part.szi"
    path.touch()
    write_part(path, TILES.items(), GRID)
    return path


def test_every_tile_is_read_as_it_was_written(path: Path) -> None:
    with OpenPart(path) as part:
        assert {tile: part.read(tile, GRID) for tile in TILES} == TILES
        with pytest.raises(KeyError):
            part.read(Tile(1, 99, 0), GRID)


def test_a_name_in_the_table_that_has_become_anothers_is_not_believed(path: Path) -> None:
    """One flipped bit turns the name 0_0 into 1_0; the checksum of the tile stays valid."""
    data = path.read_bytes()
    name = b"image_files/9/1_0.jpg"
    at = data.rindex(name)
    path.write_bytes(data[:at] + b"image_files/9/7_0.jpg" + data[at + len(name) :])
    with pytest.raises(OSError, match="pyramid file is damaged"):
        OpenPart(path)


def test_two_entries_of_one_name_are_none_of_ours(path: Path) -> None:
    data = path.read_bytes()
    at = data.rindex(b"image_files/9/1_0.jpg")
    path.write_bytes(data[: at + 14] + b"0" + data[at + 15 :])
    with pytest.raises(OSError, match="pyramid file is damaged"):
        OpenPart(path)


def test_a_tile_is_checked_when_it_is_read(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[data.index(TILES[SECOND])] ^= 1
    path.write_bytes(data)
    with OpenPart(path) as part:
        assert part.read(FIRST, GRID) == TILES[FIRST]
        with pytest.raises(OSError, match="pyramid file is damaged"):
            part.read(SECOND, GRID)


@pytest.mark.parametrize("length", [0, 10, 0x7FFFFFFF, 0xFFFFFFFE])
def test_lengths_beyond_the_file_are_not_read(path: Path, length: int) -> None:
    data = bytearray(path.read_bytes())
    entry = data.rindex(b"image_files/9/1_0.jpg") - 46
    assert data[entry : entry + 4] == b"PK\1\2"
    struct.pack_into("<I", data, entry + 16, zlib.crc32(TILES[SECOND][:length]))
    struct.pack_into("<II", data, entry + 20, length, length)
    path.write_bytes(data)
    with pytest.raises(OSError, match="pyramid file is damaged"):
        OpenPart(path)


def test_a_part_that_is_cut_short_anywhere_is_none(path: Path) -> None:
    data = path.read_bytes()
    for length in range(0, len(data), 13):
        path.write_bytes(data[:length])
        with pytest.raises(OSError):  # noqa: PT011 - that it is one is all that is promised
            OpenPart(path)
