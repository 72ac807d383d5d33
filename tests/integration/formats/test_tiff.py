"""Tile tables of tiled TIFFs, read from files."""

import struct
from pathlib import Path

import pytest

from iiif_server.formats.tiff_tables import read_tile_tables
from iiif_server.plan.local_file import LocalFile
from support.tiffs import IFD8, LONG, LONG8, SHORT, built


@pytest.mark.parametrize("places", [SHORT, LONG, LONG8])
@pytest.mark.parametrize("order", ["II", "MM"])
def test_tiles_are_found_in_every_form(order: str, places: int, tmp_path: Path) -> None:
    path = tmp_path / "tiled.tif"
    path.write_bytes(data := built(order, big=True, sub=IFD8, places=places))
    tables = read_tile_tables(LocalFile.at(path), keep_profile=False)
    assert sorted(tables) == [1, 2, 4]
    for number, (factor, tiles) in enumerate(((1, 12), (2, 4), (4, 1))):
        for tile in range(tiles):
            offset, length = tables[factor].entry(tile)
            assert data[offset : offset + length] == bytes([number]) * (tile + 1)


@pytest.mark.parametrize("order", ["II", "MM"])
def test_tables_that_leave_the_file_are_left_out(order: str, tmp_path: Path) -> None:
    path = tmp_path / "tiled.tif"
    data = built(order, big=False, levels=2, chained=1)
    mark = "<" if order == "II" else ">"
    place = data.index(struct.pack(f"{mark}IIII", 1, 2, 3, 4))  # the lengths of the second level
    path.write_bytes(data[:place] + struct.pack(f"{mark}I", len(data)) + data[place + 4 :])
    assert sorted(read_tile_tables(LocalFile.at(path), keep_profile=False)) == [1]


def test_a_file_that_is_damaged_has_no_tables(tmp_path: Path) -> None:
    path = tmp_path / "tiled.tif"
    path.write_bytes(built("II", big=False)[:-20])
    assert not read_tile_tables(LocalFile.at(path), keep_profile=False)
