"""Damaged parts of pyramids: a tile is as written, or missing."""

import tempfile
from collections.abc import Callable
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from iiif_server.formats.pyramid_file import OpenPart, write_part
from iiif_server.iiif.geometry import Dimensions, square
from iiif_server.plan.grid import Grid, Tile

GRID = Grid(Dimensions(300, 200), square(128))
TILES = {
    tile: f"the JPEG of {tile}".encode() * 3
    for factor in GRID.scale_factors
    for tile, _ in GRID.tiles(factor)
}


def part_bytes() -> bytes:
    with tempfile.NamedTemporaryFile() as file:
        write_part(Path(file.name), TILES.items(), GRID)
        return Path(file.name).read_bytes()


WHOLE = part_bytes()


def read_tiles(data: bytes) -> dict[Tile, bytes]:
    """Return the tiles that can be read of a part with these bytes."""
    found: dict[Tile, bytes] = {}
    with tempfile.NamedTemporaryFile() as file:
        Path(file.name).write_bytes(data)
        try:
            part = OpenPart(Path(file.name))
        except OSError:
            return found
        with part:
            for tile in TILES:
                try:
                    found[tile] = part.read(tile, GRID)
                except (KeyError, OSError):
                    continue
    return found


def flipped(data: bytes, at: int, bits: int) -> bytes:
    at %= len(data)
    return data[:at] + bytes([data[at] ^ bits]) + data[at + 1 :]


def zeroed(data: bytes, at: int, length: int) -> bytes:
    at %= len(data)
    return (data[:at] + bytes(length) + data[at + length :])[: len(data)]


def cut(data: bytes, at: int, _: int) -> bytes:
    return data[: at % len(data)]


def moved(data: bytes, at: int, by: int) -> bytes:
    at %= len(data)
    return data[:at] + data[at + by :]


DAMAGE = st.sampled_from([flipped, zeroed, cut, moved])
# Half of it in the table at the end, where a wrong bit could give one tile for another.
PLACES = st.integers(0, len(WHOLE) - 1) | st.integers(len(WHOLE) - 1500, len(WHOLE) - 1)


def test_undamaged_part_has_all_its_tiles() -> None:
    assert read_tiles(WHOLE) == TILES


@given(st.lists(st.tuples(DAMAGE, PLACES, st.integers(1, 255)), min_size=1, max_size=3))
def test_damaged_part_returns_no_wrong_tile(
    damages: list[tuple[Callable[[bytes, int, int], bytes], int, int]],
) -> None:
    data = WHOLE
    for damage, at, how in damages:
        data = damage(data, at, how) or b"\0"
    found = read_tiles(data)
    assert found.items() <= TILES.items()


@given(st.binary(max_size=300))
def test_any_other_bytes_are_no_part(data: bytes) -> None:
    assert read_tiles(data) == {}
    assert read_tiles(data + WHOLE[-400:]).items() <= TILES.items()
