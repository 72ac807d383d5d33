"""Reading the directories of a TIFF: damage is no level, but a disk that fails is no damage."""

import errno
import io
import struct

import pytest

from iiif_server.formats.tiff_tiles import stored_tiles


class FailingFile(io.BytesIO):
    """A file whose reads fail after the header."""

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
        stored_tiles(FailingFile(OSError(number, "of a test")))
    assert raised.value.errno == number


def test_a_want_of_memory_is_not_taken_for_an_untiled_file() -> None:
    with pytest.raises(MemoryError):
        stored_tiles(FailingFile(MemoryError()))


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
    assert stored_tiles(io.BytesIO(data)) is None
