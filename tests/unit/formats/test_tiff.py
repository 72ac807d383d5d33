"""TIFF directories: offsets of every type, damaged files, and failing disks."""

import errno
import io
import struct

import pytest

from iiif_server.errors import OriginalRefusedError
from iiif_server.formats.bounded_file import BoundedFile
from iiif_server.formats.tiff import Directory, Layout
from iiif_server.formats.tiff_inspection import inspect
from iiif_server.iiif.geometry import Dimensions, square
from iiif_server.plan.original_format import OriginalFormat
from iiif_server.plan.stored_tiles import StoredTiles
from support.tiffs import IFD, IFD8, LONG, LONG8, SHORT, built


def tiles_in(file: io.BytesIO) -> StoredTiles | None:
    header = inspect(BoundedFile(file, OriginalFormat.TIFF)).header
    return None if header is None else header.tiles


def assert_directories_of_levels(data: io.BytesIO, tiles: StoredTiles) -> None:
    """Offsets of levels lead to directories with the dimensions of the levels."""
    file = BoundedFile(data, OriginalFormat.TIFF)
    for level in tiles.levels:
        ifd = Directory(file, Layout.of(file), level.directory)
        assert ifd.dimensions == level.dimensions


FORMS = [
    *((order, False, kind) for order in ("II", "MM") for kind in (LONG, IFD)),
    *((order, True, kind) for order in ("II", "MM") for kind in (LONG, LONG8, IFD, IFD8)),
]


@pytest.mark.parametrize("levels", [2, 3])
@pytest.mark.parametrize(("order", "big", "sub"), FORMS)
def test_levels_below_the_first_directory_are_found_in_every_form(
    order: str, sub: int, levels: int, *, big: bool
) -> None:
    file = io.BytesIO(built(order, big=big, sub=sub, levels=levels))
    tiles = tiles_in(file)
    assert tiles is not None
    assert (tiles.tile, tiles.components) == (square(64), 1)
    assert [(level.scale_factor, level.dimensions) for level in tiles.levels] == [
        (1, Dimensions(256, 192)),
        (2, Dimensions(128, 96)),
        (4, Dimensions(64, 48)),
    ][:levels]
    assert_directories_of_levels(file, tiles)


@pytest.mark.parametrize("order", ["II", "MM"])
@pytest.mark.parametrize("big", [False, True])
def test_levels_in_the_main_chain_are_found(order: str, *, big: bool) -> None:
    file = io.BytesIO(built(order, big=big, chained=2))
    tiles = tiles_in(file)
    assert tiles is not None
    assert tiles.factors == (1, 2, 4)
    assert_directories_of_levels(file, tiles)


def test_levels_in_both_places_are_joined() -> None:
    file = io.BytesIO(built("II", big=False, chained=1))
    tiles = tiles_in(file)
    assert tiles is not None
    assert tiles.factors == (1, 2, 4)
    assert_directories_of_levels(file, tiles)


def test_subdirectories_of_a_type_that_holds_no_offset_are_no_levels() -> None:
    data = bytearray(built("II", big=False, sub=LONG, levels=2))
    place = data.index(struct.pack("<HH", 330, LONG))
    data[place + 2 : place + 4] = struct.pack("<H", 2)  # ASCII
    tiles = tiles_in(io.BytesIO(bytes(data)))
    assert tiles is not None
    assert tiles.factors == (1,)


def test_the_first_of_repeated_tags_counts() -> None:
    data = built("II", big=False, levels=1)
    width, height = (
        struct.pack("<HHII", 256, SHORT, 1, 256),
        struct.pack("<HHII", 257, LONG, 1, 192),
    )
    twice = data.replace(width + height, width + struct.pack("<HHII", 256, LONG, 1, 192))
    assert twice != data
    with pytest.raises(OriginalRefusedError):  # the height is missing, the width is not replaced
        tiles_in(io.BytesIO(twice))


def test_a_subifd_that_is_the_image_itself_is_left_out() -> None:
    data = bytearray(built("II", big=False, levels=1))
    data[-4:] = data[4:8]
    tiles = tiles_in(io.BytesIO(bytes(data)))
    assert tiles is not None
    assert tiles.factors == (1,)


class FailingFile(io.BytesIO):
    """File whose reads fail after the header."""

    def __init__(self, error: Exception) -> None:
        super().__init__(b"II*\0" + struct.pack("<I", 8) + bytes(100))
        self.error = error

    def read(self, size: int | None = -1, /) -> bytes:
        if self.tell() >= 8:
            raise self.error
        return super().read(size)


@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE, errno.ETIMEDOUT])
def test_a_disk_that_fails_is_not_taken_for_an_untiled_file(number: int) -> None:
    with pytest.raises(OSError) as raised:  # noqa: PT011 - the number tells
        tiles_in(FailingFile(OSError(number, "of a test")))
    assert raised.value.errno == number


def test_a_want_of_memory_is_not_taken_for_an_untiled_file() -> None:
    with pytest.raises(MemoryError):
        tiles_in(FailingFile(MemoryError()))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"II*\0",
        b"II*\0\xff\xff\xff\xff",
        b"II*\0" + struct.pack("<IH", 8, 9) + b"\x42\x01" * 20,
        b"II+\0" + bytes(3),
        b"II+\0\x08\0\0\0" + b"\xff" * 8,
        b"MM\0*" + struct.pack(">IH", 8, 65535) + bytes(30),
    ],
)
def test_damaged_directories_hold_no_level(data: bytes) -> None:
    with pytest.raises(OriginalRefusedError):
        tiles_in(io.BytesIO(data))
