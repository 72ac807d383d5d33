"""The image registry: freshness of originals, and headers over which worker processes are lost."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from iiif_server.errors import (
    DamagedOriginalError,
    IiifServerError,
    QuarantinedError,
    RenderFailedError,
    RenderTimedOutError,
    WorkerDiedError,
)
from iiif_server.iiif.geometry import Dimensions
from iiif_server.iiif.identifier import Identifier
from iiif_server.images.originals import Originals
from iiif_server.images.pyramids import Pyramids
from iiif_server.images.quarantine import Quarantine
from iiif_server.images.registry import REVALIDATE_SECONDS, ImageRegistry
from iiif_server.plan.header import Colour, ImageHeader, Profile
from iiif_server.plan.orientation import UPRIGHT
from iiif_server.plan.original_format import Bounds, OriginalFormat
from iiif_server.sources.base import Source, SourceContext, TypeOptions
from iiif_server.sources.fetching import Fetcher
from iiif_server.sources.opening import OpenedFile, open_file
from iiif_server.workers.pool import WorkerPool

NAME = Identifier("t", "a")
HEADER = ImageHeader(
    OriginalFormat.JPEG, Dimensions(30, 20), UPRIGHT, Colour.RGB, False, Profile.NONE, 0, 8
)


class Clock:
    """A time that goes on when it is told to."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


class Pool:
    """A pool whose jobs have a result, as a header, or fail; it counts them."""

    def __init__(self, error: Exception | None = None, result: object = HEADER) -> None:
        self.jobs = 0
        self._error, self._result = error, result

    async def run(self, *_: Any, **__: Any) -> Any:
        self.jobs += 1
        if self._error is not None:
            raise self._error
        return self._result


class NoPyramids:
    """Images that do without pyramids."""

    def of(self, *_: Any) -> None:
        return None


class OneFile(Source[TypeOptions]):
    """A source with one file; `asked_each_time`: its names may lead elsewhere at any time."""

    def __init__(
        self, path: Path, *, asked_each_time: bool = False, measured: bool = False
    ) -> None:
        context = SourceContext("t", Path("t"), cast("Fetcher", None), lambda _: None)
        options = TypeOptions(source="one", range="data" if measured else "type")
        super().__init__(context, options)
        self._path = path
        self._asked_each_time = asked_each_time

    @property
    def revalidates(self) -> bool:
        return self._asked_each_time

    @asynccontextmanager
    async def hold(self, name: str) -> AsyncIterator[OpenedFile]:
        assert name
        opened = open_file(self._path)
        try:
            yield opened
        finally:
            opened.close()


def registry(
    path: Path,
    pool: Pool,
    clock: Clock | None = None,
    *,
    capacity: int = 8,
    scan_pool: Any = None,
    **named: bool,
) -> ImageRegistry:
    """A registry of one type whose headers a fake pool reads."""
    return ImageRegistry(
        Originals({"t": OneFile(path, **named)}),
        cast("Pyramids", NoPyramids()),
        cast("WorkerPool", pool),
        Quarantine(300, lambda _: None),
        capacity=capacity,
        max_pixels=1000,
        bounds=Bounds(),
        scan_pool=scan_pool,
        clock=clock or Clock(),
    )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "a"
    file.write_bytes(b"abc")
    return file


async def test_an_original_is_trusted_for_a_second_and_then_revalidated(path: Path) -> None:
    clock, pool = Clock(), Pool()
    images = registry(path, pool, clock)
    assert images.known(NAME) is None
    image = await images.get(NAME)
    assert images.known(NAME) is image
    assert images.outdated(NAME) is None
    clock.now += REVALIDATE_SECONDS
    assert images.known(NAME) is None
    assert images.outdated(NAME) is image
    assert await images.revalidate(image)
    assert images.known(NAME) is image
    path.with_name("b").write_bytes(b"xyz")
    path.with_name("b").replace(path)
    assert not await images.revalidate(image)
    assert not images.is_fresh(image), "another version is there"
    assert images.known(NAME) is not image
    assert pool.jobs == 2, "one header for each version"


async def test_a_missing_original_is_not_current(path: Path) -> None:
    images = registry(path, Pool())
    image = await images.get(NAME)
    await asyncio.to_thread(path.unlink)
    assert not await images.revalidate(image)


async def test_a_source_that_is_asked_each_time_is_never_known(path: Path) -> None:
    pool = Pool()
    images = registry(path, pool, asked_each_time=True)
    for _ in range(3):
        await images.get(NAME)
        assert images.known(NAME) is None
    assert pool.jobs == 1, "the header is that of the version"


async def test_the_original_is_open_while_the_image_is_held_and_no_longer(path: Path) -> None:
    images = registry(path, Pool())
    async with images.hold(NAME) as image:
        assert image.original.opened is not None
    known = images.known(NAME)
    assert known is not None
    assert known.original.opened is None


async def test_images_used_least_recently_are_forgotten(path: Path) -> None:
    pool = Pool()
    images = registry(path, pool, capacity=2)
    for name in ("a", "b", "a", "c", "a", "b"):
        await images.get(Identifier("t", name))
    assert len(images) == 2
    assert pool.jobs == 4, "a, b, c, and b again"


@pytest.mark.parametrize("error", [WorkerDiedError("It died."), RenderTimedOutError("Late.")])
async def test_a_header_that_costs_a_process_is_not_read_again_soon(
    error: IiifServerError, path: Path
) -> None:
    pool = Pool(error)
    images = registry(path, pool)
    with pytest.raises(type(error)):
        await images.get(NAME)
    for _ in range(3):
        with pytest.raises(QuarantinedError):
            await images.get(NAME)
    assert pool.jobs == 1


async def test_a_header_that_takes_too_long_is_named_as_such(path: Path) -> None:
    images = registry(path, Pool(RenderTimedOutError("Ask for a smaller image.")))
    with pytest.raises(RenderTimedOutError, match="header of the original takes longer than 20"):
        await images.get(NAME)


DEEP = replace(HEADER, format=OriginalFormat.TIFF, bits=16)


@pytest.mark.parametrize(
    ("header", "measured", "found", "sample_range", "jobs"),
    [
        (DEEP, True, (3.0, 9.0), (3.0, 9.0), 1),
        (DEEP, True, (), None, 1),
        (DEEP, False, (3.0, 9.0), None, 0),
        (HEADER, True, (3.0, 9.0), None, 0),
    ],
)
async def test_samples_are_looked_through_once_where_a_type_says_so(
    path: Path,
    header: ImageHeader,
    *,
    measured: bool,
    found: tuple[float, ...],
    sample_range: tuple[float, float] | None,
    jobs: int,
) -> None:
    scan = Pool(result=found)
    images = registry(path, Pool(result=header), scan_pool=scan, measured=measured)
    assert (await images.get(NAME)).header.sample_range == sample_range
    assert (await images.get(NAME)).header.sample_range == sample_range
    assert scan.jobs == jobs


@pytest.mark.parametrize(
    ("error", "told", "words"),
    [
        (
            RenderTimedOutError("Late."),
            RenderTimedOutError,
            "the range of the original takes longer",
        ),
        (ValueError("/secret"), RenderFailedError, "^The range of this image could not be read"),
        (DamagedOriginalError("It is damaged."), DamagedOriginalError, "^It is damaged"),
    ],
)
async def test_an_image_whose_samples_cannot_be_looked_through_is_refused(
    path: Path, error: Exception, told: type[Exception], words: str
) -> None:
    images = registry(path, Pool(result=DEEP), scan_pool=Pool(error), measured=True)
    with pytest.raises(told, match=words):
        await images.get(NAME)
