"""The pyramids of large originals: made on first touch, once for all who ask, and kept open."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, PositiveInt, field_validator

from iiif_server.cache.failures import RecentFailures
from iiif_server.cache.single_flight import SingleFlight
from iiif_server.cache.store import EntryKey, Store
from iiif_server.errors import IiifServerError, NotNowError, RenderFailedError
from iiif_server.imaging.build import BuildPlan, part_of
from iiif_server.imaging.cost import cost_of_build
from iiif_server.imaging.header import ImageHeader
from iiif_server.imaging.plan import ProfileAction, tile_profile
from iiif_server.imaging.pyramid import Grid, OpenPart, Part, Tile
from iiif_server.imaging.render import build_part
from iiif_server.pipeline.keys import digest
from iiif_server.pipeline.originals import Original
from iiif_server.pipeline.quarantine import Quarantine
from iiif_server.workers.admission import Demand, Lane
from iiif_server.workers.pool import WorkerPool


class PyramidOptions(BaseModel):
    """Pyramids: tiled copies of large originals, made on the first request for a tile."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    enabled: bool = True
    """Whether pyramids are made."""
    min_pixels: PositiveInt = 4_000_000
    """Pixels from which on an original gets a pyramid; smaller ones are quick without."""
    build_timeout: float = Field(default=300, gt=0)
    """Seconds that making one part of a pyramid may take before its process is killed."""
    tile_size: int = Field(default=512, ge=128, le=4096)
    """Side of the tiles, a power of two; also what info.json announces."""
    quality: int = Field(default=80, ge=1, le=100)
    """JPEG quality of the reduced levels; full-resolution tiles of JPEGs are the original's."""

    @field_validator("tile_size")
    @classmethod
    def _check_tile_size(cls, size: int) -> int:
        if size & (size - 1):
            raise ValueError("must be a power of two")
        return size


_FORMAT_VERSION = 1
"""To be raised when the same original gives another pyramid than before."""
_KEPT_OPEN = 128
"""Parts whose table of tiles and file stay open; 20 kB and a descriptor each."""
_CHECK_AFTER = 60.0
"""Seconds after which an open part is looked for in the store again: that tells the store that it
is used, and us that it was purged."""
_READ_TRIES = 2
"""How often a tile is read: a part that was damaged while it was open is dropped and made again."""
_FAILURE_SECONDS = 600.0
"""Seconds for which a part that could not be made is not tried again."""


@dataclass(frozen=True, slots=True)
class Pyramid:
    """The pyramid of one original, made or not."""

    original: Original
    header: ImageHeader
    grid: Grid
    profile: ProfileAction


@dataclass(slots=True)
class _Kept:
    part: OpenPart
    path: Path
    checked: float


class Pyramids:
    """Parts of pyramids by original; a part is made by one worker, once for all who wait for it."""

    def __init__(
        self,
        store: Store,
        pool: WorkerPool,
        quarantine: Quarantine,
        options: PyramidOptions,
        *,
        full_quality: int,
        lossless: bool,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._pool = pool
        self._quarantine = quarantine
        self._options = options
        self._full_quality = full_quality
        self._lossless = lossless
        self._clock = clock
        self._kept: OrderedDict[EntryKey, _Kept] = OrderedDict()
        self._flights: SingleFlight[EntryKey, None] = SingleFlight()
        self._failures: RecentFailures[EntryKey] = RecentFailures(_FAILURE_SECONDS, clock)
        self._background: set[asyncio.Task[None]] = set()

    def __repr__(self) -> str:
        return f"<Pyramids {len(self._kept)} parts open, {len(self._flights)} being made>"

    def __len__(self) -> int:
        return len(self._kept)

    @property
    def building(self) -> int:
        """The number of parts being made."""
        return len(self._flights)

    def of(self, original: Original, header: ImageHeader) -> Pyramid | None:
        """The pyramid that an original has or will have; None for those that go without."""
        if not self._options.enabled or header.stored.area < self._options.min_pixels:
            return None
        grid = Grid(header.dimensions, self._options.tile_size)
        return Pyramid(original, header, grid, tile_profile(header))

    async def tile(self, pyramid: Pyramid, tile: Tile) -> bytes:
        """The JPEG of a tile; its part is made first if it has to be.

        Raises DamagedOriginalError, NotNowError, RenderFailedError where a part cannot be made or
        kept, or ImageTooLargeError where that would take too much memory.
        """
        part = part_of(pyramid.header, tile.scale_factor)
        for _ in range(_READ_TRIES):
            opened = await self._opened(pyramid, part)
            if part is Part.REDUCED:
                self._make_ahead(pyramid, Part.DETAIL)
            try:
                return opened.part.read(tile, pyramid.grid)
            except (KeyError, OSError):
                self._forget(self._key(pyramid, part))
        raise RenderFailedError("The pyramid of this image is damaged.")

    async def ready_level(
        self, pyramid: Pyramid, scale_factors: Sequence[int]
    ) -> tuple[int, Path] | None:
        """The first of these levels that is there, with the file that holds it."""
        for scale_factor in scale_factors:
            part = part_of(pyramid.header, scale_factor)
            with suppress(IiifServerError):
                kept = await self._present(self._key(pyramid, part))
                if kept is not None:
                    return scale_factor, kept.path
        return None

    async def make(self, pyramid: Pyramid) -> bool:
        """Make the parts that are not there; whether there were any. Raises what `tile` raises."""
        missing = [part for part in Part if await self._present(self._key(pyramid, part)) is None]
        for part in missing:
            await self._opened(pyramid, part)
        return bool(missing)

    async def close(self) -> None:
        """Make nothing more, and give all files back."""
        for task in self._background:
            task.cancel()
        if self._background:
            await asyncio.wait(self._background)
        await self._flights.close()
        while self._kept:
            self._kept.popitem()[1].part.close()

    async def _opened(self, pyramid: Pyramid, part: Part) -> _Kept:
        key = self._key(pyramid, part)
        kept = await self._present(key)
        if kept is None:
            self._failures.raise_recent(key)
            await self._flights.run(key, lambda: self._build(pyramid, part, key))
            kept = await self._present(key)
            self._start(self._store.make_room())  # only now, lest it be evicted at once
        if kept is None:
            raise RenderFailedError("The pyramid of this image was removed as soon as it was made.")
        return kept

    async def _present(self, key: EntryKey) -> _Kept | None:
        """The part if it is open or can be found; checked again now and then."""
        kept = self._kept.get(key)
        if kept is not None and self._clock() - kept.checked < _CHECK_AFTER:
            self._kept.move_to_end(key)
            return kept
        entry = await asyncio.to_thread(self._store.find, key)
        if entry is None:
            self._forget(key)
            return None
        kept = self._kept.get(key)
        if kept is None:
            try:
                kept = _Kept(await asyncio.to_thread(OpenPart, entry.path), entry.path, 0.0)
            except OSError:
                return None
            if (other := self._kept.pop(key, None)) is not None:
                other.part.close()  # opened by somebody else meanwhile
            self._kept[key] = kept
            while len(self._kept) > _KEPT_OPEN:
                self._kept.popitem(last=False)[1].part.close()
        kept.checked = self._clock()
        return kept

    async def _build(self, pyramid: Pyramid, part: Part, key: EntryKey) -> None:
        try:
            async with self._store.lock(key):
                # Another process may have made it while this one waited for the lock.
                if await asyncio.to_thread(self._store.find, key) is None:
                    await self._make_part(pyramid, part, key)
        except NotNowError:
            raise
        except IiifServerError as error:
            self._failures.remember(key, error)
            raise
        except Exception as error:  # the disk's refusal, or whatever else a worker stumbles on
            failure = RenderFailedError("The pyramid of this image could not be made.")
            self._failures.remember(key, failure)
            raise failure from error

    async def _make_part(self, pyramid: Pyramid, part: Part, key: EntryKey) -> None:
        target = await asyncio.to_thread(self._store.reserve)
        try:
            plan = self._plan(pyramid, part, target)
            with self._quarantine.guarding(pyramid.original, Lane.BUILD):
                await self._pool.run(
                    build_part,
                    plan,
                    timeout=self._options.build_timeout,
                    subject=str(pyramid.original.file.path),
                    demand=Demand(Lane.BUILD, cost_of_build(plan).bytes),
                    # What has begun is finished, though the viewer that asked may look elsewhere.
                    begun=lambda: self._flights.keep(key),
                )
            if await asyncio.to_thread(self._store.commit, key, target, "szi") is None:
                raise RenderFailedError("The pyramid of this image could not be kept.")
        finally:
            await asyncio.to_thread(target.unlink, missing_ok=True)

    def _plan(self, pyramid: Pyramid, part: Part, target: Path) -> BuildPlan:
        plan = BuildPlan(
            original=pyramid.original.file,
            header=pyramid.header,
            part=part,
            grid=pyramid.grid,
            profile=pyramid.profile,
            lossless=self._lossless,
            reduced_quality=self._options.quality,
            full_quality=self._full_quality,
            target=target,
        )
        if cost_of_build(plan).bytes > self._pool.memory:
            # Tiles that are compressed anew are better than none.
            return replace(plan, lossless=False)
        return plan

    def _make_ahead(self, pyramid: Pyramid, part: Part) -> None:
        """Make a part that will be asked for next, unless it is there or under way."""
        if self._key(pyramid, part) in self._kept:
            return

        async def make() -> None:
            with suppress(IiifServerError):
                await self._opened(pyramid, part)

        self._start(make())

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        """Do something that nobody waits for."""
        task = asyncio.create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    def _key(self, pyramid: Pyramid, part: Part) -> EntryKey:
        original, options = pyramid.original, self._options
        return EntryKey(
            original.group,
            digest(
                "pyramid",
                str(_FORMAT_VERSION),
                original.fingerprint,
                part,
                f"{options.tile_size},{options.quality},{self._full_quality},{self._lossless}",
            ),
        )

    def _forget(self, key: EntryKey) -> None:
        kept = self._kept.pop(key, None)
        if kept is not None:
            kept.part.close()
