"""Pyramids of large originals: built on the first request, and kept open."""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from iiif_server.background import BackgroundTasks
from iiif_server.cache.entries import EntryKey
from iiif_server.cache.failures import RecentFailures, Repetitions
from iiif_server.cache.pending_files import discard
from iiif_server.cache.single_flight import SingleFlight
from iiif_server.cache.store import Store
from iiif_server.cache.threads import LONG
from iiif_server.errors import (
    IiifServerError,
    NotKeptError,
    NotNowError,
    OriginalChangedError,
    OutOfRoomError,
    RenderFailedError,
    SourceUnavailableError,
)
from iiif_server.formats.pyramid_file import LAYOUT
from iiif_server.iiif.geometry import square
from iiif_server.iiif.request import Rendition
from iiif_server.images.keys import digest
from iiif_server.images.open_parts import OpenedPart, OpenParts
from iiif_server.images.originals import Original, raise_if_changed
from iiif_server.images.pyramid_options import PyramidOptions
from iiif_server.images.quarantine import Quarantine
from iiif_server.plan.build_plan import BuildPlan, expected_length, part_of
from iiif_server.plan.cost import cost_of_build
from iiif_server.plan.grid import Grid, Part, Tile
from iiif_server.plan.header import ImageHeader
from iiif_server.plan.jobs import BUILD_PART
from iiif_server.plan.render_plan import ProfileAction, tile_profile
from iiif_server.plan.stored_grid import has_all_levels, stored_grid
from iiif_server.telemetry.events import Observer, PyramidFailed, PyramidMade
from iiif_server.workers.admission import Demand, Lane
from iiif_server.workers.pool import WorkerPool

if TYPE_CHECKING:
    from iiif_server.sharing.shared_cache import SharedCache


_FORMAT_VERSION = 4
"""Version of the pyramids; must be raised when the same original gives another pyramid."""
_READ_TRIES = 2
"""Maximum attempts to read a tile; a part that is damaged is removed and built again."""
_FAILURE_SECONDS = 600.0
"""Seconds for which a build that failed is not repeated."""
_DISK_FAILURE_SECONDS = 30.0
"""Seconds for which a build is not repeated after an error of the cache's disk."""
_MAX_BUILDS = 3
"""Maximum builds of a part within `_FAILURE_SECONDS`. If it is evicted each time, the store is too
small for the requests, and tiles are then rendered one by one."""


@dataclass(frozen=True, slots=True)
class Pyramid:
    """Pyramid of one original, built or not."""

    original: Original
    header: ImageHeader
    grid: Grid
    profile: ProfileAction
    parts: tuple[Part, ...]
    """Parts of the pyramid; the original itself has the tiles of a part that is missing here."""
    keys: Mapping[Part, EntryKey]
    """Cache keys of the parts."""

    def tile_of(self, rendition: Rendition) -> Tile | None:
        """Tile in one of the parts that is the same as a rendition, ignoring its format."""
        tile = self.grid.tile_of(rendition)
        if tile is None or part_of(self.header, tile.scale_factor) not in self.parts:
            return None
        return tile


class Pyramids:
    """Builds, opens and reads parts of pyramids; each part is built once, in one worker."""

    def __init__(
        self,
        store: Store,
        pool: WorkerPool,
        quarantine: Quarantine,
        options: PyramidOptions,
        *,
        full_quality: int,
        lossless: bool,
        observer: Observer,
        shared: "SharedCache | None" = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._pool = pool
        self._quarantine = quarantine
        self._options = options
        self._full_quality = full_quality
        self._lossless = lossless
        self._observe = observer
        self._shared = shared
        self._clock = clock
        self._open = OpenParts(store, clock)
        self._flights: SingleFlight[EntryKey, None] = SingleFlight()
        self._failures: RecentFailures[EntryKey] = RecentFailures(_FAILURE_SECONDS, clock)
        self._builds: Repetitions[EntryKey] = Repetitions(_FAILURE_SECONDS, clock)
        self._background = BackgroundTasks()
        self._ahead: set[EntryKey] = set()
        """Parts of background builds: no request waits for them yet."""
        self.misses = 0
        """Number of requests for a part that had to be built or waited for."""

    def __repr__(self) -> str:
        return f"<Pyramids {len(self._open)} parts open, {len(self._flights)} being made>"

    def __len__(self) -> int:
        return len(self._open)

    @property
    def open_bytes(self) -> int:
        """Total size of the open parts in bytes."""
        return self._open.size

    @property
    def building(self) -> int:
        """Number of parts that are being built."""
        return len(self._flights)

    @property
    def form(self) -> str:
        """Settings that decide the bytes of tiles, as a text for cache keys."""
        return f"{self._options.quality},{self._full_quality},{self._lossless}"

    def of(self, original: Original, header: ImageHeader) -> Pyramid | None:
        """Pyramid that an original has or will have; None if it needs none."""
        if not self._options.enabled or header.stored.area < self._options.min_pixels:
            return None
        parts: tuple[Part, ...] = (Part.REDUCED, Part.DETAIL)
        own = stored_grid(header)
        if own is not None:
            if header.tiles is None or has_all_levels(header.tiles, own):
                return None
            parts = (Part.REDUCED,)
        grid = self.grid(header)
        profile = tile_profile(header)
        form = f"{profile},{grid.tile.width},{self.form},{header.sample_range}"
        keys = {part: _key_of(original, part, form) for part in parts}
        return Pyramid(original, header, grid, profile, parts, keys)

    def grid(self, header: ImageHeader) -> Grid:
        """Tile grid in info.json: that of the original if its own tiles are served."""
        return stored_grid(header) or Grid(header.dimensions, square(self._options.tile_size))

    async def tile(self, pyramid: Pyramid, tile: Tile) -> bytes:
        """JPEG of a tile; builds its part first if it is missing.

        Raises DamagedOriginalError, NotNowError, RenderFailedError if the part cannot be built or
        stored, or ImageTooLargeError if building it would take too much memory.
        """
        data = await self._shared_tile(pyramid, tile)
        if data is not None:
            return data
        part = part_of(pyramid.header, tile.scale_factor)
        for _ in range(_READ_TRIES):
            opened = await self._open_part(pyramid, part)
            if part is Part.REDUCED and Part.DETAIL in pyramid.parts:
                self._build_ahead(pyramid, Part.DETAIL)
            try:
                return await opened.read(tile, pyramid.grid)
            except (KeyError, OSError):
                self._open.close(pyramid.keys[part])
                await self._open.check(opened.entry)
        raise RenderFailedError("The pyramid of this image is damaged.")

    def read_nowait(self, pyramid: Pyramid, tile: Tile) -> bytes | None:
        """JPEG of a tile, if its part is open and the tile in the page cache; never waits."""
        key = pyramid.keys[part_of(pyramid.header, tile.scale_factor)]
        return self._open.read_nowait(key, tile, pyramid.grid)

    async def ready_tile(self, pyramid: Pyramid, tile: Tile) -> bytes | None:
        """JPEG of a tile, if its part is in the store or in the shared cache."""
        part = part_of(pyramid.header, tile.scale_factor)
        with suppress(IiifServerError, KeyError, OSError):
            opened = await self._open.find(pyramid.keys[part])
            if opened is not None:
                return await opened.read(tile, pyramid.grid)
        return await self._shared_tile(pyramid, tile)

    async def ready_level(
        self, pyramid: Pyramid, scale_factors: Sequence[int]
    ) -> tuple[int, Path] | None:
        """First of these levels that is available, with the path of its part.

        If the part of a preferred level is missing, starts a background build of it.
        """
        missing: set[Part] = set()
        for scale_factor in scale_factors:
            part = part_of(pyramid.header, scale_factor)
            if part not in pyramid.parts:
                return None  # the original's own levels serve from here on
            with suppress(IiifServerError):
                opened = await self._find(pyramid, part)
                if opened is not None:
                    for other in missing:
                        self._build_ahead(pyramid, other)
                    return scale_factor, opened.entry.path
            missing.add(part)
        return None

    def verify_later(self, path: Path) -> None:
        """Have the store check a part that a worker could not read, if it is still open."""
        found = self._open.opened_at(path)
        if found is not None:
            self._open.close(found[0])
            self._background.start(self._open.check(found[1]))

    async def build(self, pyramid: Pyramid) -> bool:
        """Build the missing parts; whether there were any. Raises the errors of `tile`."""
        missing = [
            part for part in pyramid.parts if await self._open.find(pyramid.keys[part]) is None
        ]
        for part in missing:
            await self._open_part(pyramid, part)
        return bool(missing)

    async def close(self) -> None:
        """Cancel all builds, and close all files."""
        await self._background.cancel()
        await self._flights.close()
        self.close_files()

    def close_files(self) -> None:
        """Close all files; the next request for a part opens it again."""
        self._open.close_all()

    async def _shared_tile(self, pyramid: Pyramid, tile: Tile) -> bytes | None:
        """JPEG of a tile whose part is in the shared cache, but not on this machine."""
        key = pyramid.keys[part_of(pyramid.header, tile.scale_factor)]
        if self._shared is None or key in self._open or await self._open.find(key) is not None:
            return None
        return await self._shared.parts.tile(key, tile, pyramid.grid)

    async def _find(self, pyramid: Pyramid, part: Part) -> OpenedPart | None:
        """Open part, if it is available; small levels are fetched from the shared cache."""
        key = pyramid.keys[part]
        opened = await self._open.find(key)
        if opened is None and part is Part.REDUCED and self._shared is not None:
            await self._shared.parts.fetch(key)
            opened = await self._open.find(key)
        return opened

    async def _open_part(self, pyramid: Pyramid, part: Part) -> OpenedPart:
        """Open part; its build is foreground work, as the caller waits for it."""
        key = pyramid.keys[part]
        if key in self._ahead:
            self._ahead.discard(key)
            self._pool.promote(str(pyramid.original.file.path))
        return await self._open_or_build(pyramid, part)

    async def _open_or_build(self, pyramid: Pyramid, part: Part) -> OpenedPart:
        key = pyramid.keys[part]
        with self._store.pin(key):
            opened = await self._open.find(key)
            if opened is None:
                self.misses += 1
                self._failures.raise_recent(key)
                try:
                    await self._flights.run(key, lambda: self._run_build(pyramid, part, key))
                finally:
                    self._background.start(self._store.make_room())
                opened = await self._open.find(key)
        if opened is None:
            raise RenderFailedError("The cache evicted the pyramid of this image after its build.")
        return opened

    async def _run_build(self, pyramid: Pyramid, part: Part, key: EntryKey) -> None:
        try:
            async with self._store.lock(key):
                # Another process may have built it while this one waited for the lock.
                if await self._store.threads.run(self._store.find, key) is not None:
                    return
                if self._shared is None or not await self._shared.parts.fetch(key):
                    started = time.perf_counter()
                    length = await self._build_part(pyramid, part, key)
                    seconds = time.perf_counter() - started
                    identifier = str(pyramid.original.identifier)
                    self._observe(PyramidMade(identifier, part, length, seconds))
        except NotKeptError as error:
            if error.disk_error is not None:  # the write failed after the build
                self._store.refused(error.disk_error)
                self._failures.remember(key, error, _DISK_FAILURE_SECONDS)
            raise
        except NotNowError:
            raise
        except (OriginalChangedError, OutOfRoomError, SourceUnavailableError):
            raise  # the next attempt may succeed
        except Exception as error:
            await raise_if_changed(pyramid.original)
            known = isinstance(error, IiifServerError)
            self._observe(
                PyramidFailed(
                    str(pyramid.original.identifier), part, str(error) if known else repr(error)
                )
            )
            # The message of another library's exception may contain a path.
            text = "The pyramid of this image could not be built."
            failure = error if isinstance(error, IiifServerError) else RenderFailedError(text)
            self._failures.remember(key, failure)
            raise failure from error

    async def _build_part(self, pyramid: Pyramid, part: Part, key: EntryKey) -> int:
        """Build and store a part; its size in bytes."""
        expected = expected_length(pyramid.header, part, pyramid.original.file.size)
        if not self._store.holds(expected):
            raise RenderFailedError("The pyramid of this image is larger than the whole store.")
        if self._builds.count(key) >= _MAX_BUILDS:
            raise RenderFailedError("The cache evicted the pyramid of this image after each build.")
        await pyramid.original.fetch_whole()
        await self._store.make_room()  # evict first, so that there is room for the part
        target = await self._store.threads.run(self._store.reserve, expected, undo=discard)
        if target is None:
            raise NotKeptError("The cache cannot store anything at the moment.")
        self._builds.add(key)
        try:
            plan = self._plan(pyramid, part, target.path)
            with self._quarantine.guarding(pyramid.original, Lane.BUILD):
                async with pyramid.original.for_worker() as descriptors:
                    length = await self._pool.run(
                        BUILD_PART,
                        plan,
                        timeout=self._options.build_timeout,
                        subject=str(pyramid.original.file.path),
                        demand=Demand(
                            Lane.BACKGROUND if key in self._ahead else Lane.BUILD,
                            cost_of_build(plan).bytes,
                        ),
                        # A build that has begun is finished, even if the client disconnects.
                        on_begin=lambda: self._flights.keep(key),
                        descriptors=descriptors,
                    )
            whole = target.status.st_size == length
            commit = partial(self._store.commit, key, target, "szi")
            entry = await self._store.threads.run(commit, timeout=LONG) if whole else None
            if entry is None:
                raise RenderFailedError("The pyramid of this image could not be stored.")
        finally:
            await self._store.threads.settle(target.close)
        if self._shared is not None:
            self._shared.offer(key, entry)
        return length

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
            # Tiles that are encoded again are better than none.
            return replace(plan, lossless=False)
        return plan

    def _build_ahead(self, pyramid: Pyramid, part: Part) -> None:
        """Start the background build of a part, unless it is open or being built."""
        key = pyramid.keys[part]
        if key in self._open or key in self._ahead:
            return
        if not self._flights.is_under_way(key):
            self._ahead.add(key)

        async def build() -> None:
            try:
                with suppress(IiifServerError):
                    await self._open_or_build(pyramid, part)
            finally:
                self._ahead.discard(key)

        self._background.start(build())


def _key_of(original: Original, part: Part, form: str) -> EntryKey:
    made_as = str(_FORMAT_VERSION), str(LAYOUT), original.fingerprint, part, form
    return EntryKey(original.group, digest("pyramid", *made_as))
