"""Parts of pyramids that are read while they are given up: none is closed under its reader."""

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from iiif_server.cache.entries import Entry
from iiif_server.cache.threads import StorageThreads
from iiif_server.formats.pyramid_file import OpenPart, write_part
from iiif_server.iiif.geometry import Dimensions, square
from iiif_server.images.open_parts import OpenedPart
from iiif_server.plan.grid import Grid, Tile
from support.waiting import async_wait_until

GRID = Grid(Dimensions(128, 128), square(128))
TILE = Tile(1, 0, 0)
DATA = b"a tile" * 20


class SlowPart(OpenPart):
    """A part on a disk that answers when the test lets it."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.gate = threading.Event()
        self.reading = 0
        self.closed = 0

    def read_nowait(self, tile: Tile, grid: Grid) -> bytes | None:  # noqa: ARG002 - none is
        return None

    def read(self, tile: Tile, grid: Grid) -> bytes:
        self.wait()
        return super().read(tile, grid)

    @property
    def deleted(self) -> bool:
        self.wait()
        return super().deleted

    def wait(self) -> None:
        self.reading += 1
        assert self.gate.wait(30)

    def close(self) -> None:
        self.closed += 1
        if self.closed == 1:  # the number may be another file's by the second time
            super().close()


@pytest.fixture
def part(tmp_path: Path) -> SlowPart:
    path = tmp_path / "part.szi"
    path.touch()
    write_part(path, [(TILE, DATA)], GRID)
    return SlowPart(path)


def kept(part: SlowPart, threads: StorageThreads) -> OpenedPart:
    return OpenedPart(part, Entry(Path("part.szi"), 0, 0), 0.0, 0.0, threads)


async def settled(threads: StorageThreads) -> None:
    """Return when what was begun before has ended: the only thread does one after the other."""
    await threads.run(lambda: None)


async def reading(kept: OpenedPart) -> object:
    return await kept.read(TILE, GRID)


async def looking(kept: OpenedPart) -> object:
    return DATA if not await kept.is_gone() else None


READERS = pytest.mark.parametrize("use", [reading, looking])


@READERS
async def test_a_part_that_is_given_up_is_closed_when_its_last_reader_has_ended(
    part: SlowPart, use: Callable[[OpenedPart], "asyncio.Future[object]"]
) -> None:
    threads = StorageThreads("a test", 3)
    one = kept(part, threads)
    readers = [asyncio.ensure_future(use(one)) for _ in range(2)]
    await async_wait_until(lambda: part.reading == 2)
    one.release()
    await settled(threads)
    assert part.closed == 0
    part.gate.set()
    assert await asyncio.gather(*readers) == [DATA, DATA]
    await async_wait_until(lambda: part.closed > 0)
    one.release()
    await settled(threads)
    assert part.closed == 1


@READERS
async def test_a_reader_whose_caller_has_left_keeps_the_part_open(
    part: SlowPart, use: Callable[[OpenedPart], "asyncio.Future[object]"]
) -> None:
    threads = StorageThreads("a test", 2)
    one = kept(part, threads)
    reader = asyncio.ensure_future(use(one))
    await async_wait_until(lambda: part.reading == 1)
    reader.cancel()
    await asyncio.wait([reader])
    one.release()
    await settled(threads)
    assert part.closed == 0, "its thread still reads"
    part.gate.set()
    await async_wait_until(lambda: part.closed == 1)


async def test_a_part_without_readers_is_closed_at_once_and_is_gone(part: SlowPart) -> None:
    threads = StorageThreads("a test", 1)
    one = kept(part, threads)
    part.gate.set()
    assert await reading(one) == DATA
    one.release()
    await settled(threads)
    assert part.closed == 1
    assert await one.is_gone()
    assert part.reading == 1, "a descriptor that is closed is not asked"
