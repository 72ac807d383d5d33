"""Renderer: plans the job of a derivative, and runs it in a worker."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

from iiif_server.cache.lru import Lru
from iiif_server.cache.pending_files import PendingFile
from iiif_server.cache.single_flight import SingleFlight
from iiif_server.errors import (
    IiifServerError,
    PartsMissingError,
    RenderFailedError,
    too_much_memory,
)
from iiif_server.iiif.geometry import Box, Dimensions
from iiif_server.images.originals import raise_if_changed
from iiif_server.images.pyramids import Pyramids
from iiif_server.images.quarantine import Quarantine
from iiif_server.images.resolved import Resolved
from iiif_server.images.tiled import NoSuchTileError, TiledOriginals
from iiif_server.plan.build_plan import cuts_losslessly
from iiif_server.plan.cost import cost_of_render
from iiif_server.plan.description import describe, is_part
from iiif_server.plan.encoding import EncodingOptions
from iiif_server.plan.engine_choice import (
    choose_engine,
    levels_for,
    prefers_level,
    required_oversampling,
)
from iiif_server.plan.jobs import RENDER, Rendered
from iiif_server.plan.local_file import FileVersion
from iiif_server.plan.render_plan import (
    Description,
    Engine,
    Level,
    RenderPlan,
    TileToCrop,
    operations_on_level,
    plan_operations,
)
from iiif_server.plan.stored_grid import StoredTile
from iiif_server.telemetry.events import Observer, RenderFailed
from iiif_server.telemetry.stages import Stages
from iiif_server.workers.admission import Demand, lane_of
from iiif_server.workers.pool import WorkerPool

_SMALLER = 8
"""Factor by which an original is reduced in the test whether it can be decoded."""
_DECODABLE = 100_000
"""Maximum originals in the cache of decodable ones."""


class Renderer:
    """Renders resolved requests in workers; stores nothing."""

    def __init__(
        self,
        pyramids: Pyramids,
        pool: WorkerPool,
        *,
        tiled: TiledOriginals,
        quarantine: Quarantine,
        observer: Observer,
        encoding: EncodingOptions,
        render_timeout: float,
        lossless: bool,
    ) -> None:
        """`render_timeout` is in seconds; `lossless`: whether the lossless engine is available."""
        self._pyramids = pyramids
        self._tiled = tiled
        self._pool = pool
        self._quarantine = quarantine
        self._observe = observer
        self._encoding = encoding
        self._render_timeout = render_timeout
        self.lossless = lossless
        self._decodable: Lru[tuple[str, FileVersion], None] = Lru(_DECODABLE)
        """Originals that were decoded once, so that their bytes may be sent."""
        self._checks: SingleFlight[tuple[str, FileVersion], None] = SingleFlight()

    def __repr__(self) -> str:
        return f"<Renderer {self._pool}>"

    async def close(self) -> None:
        """Cancel the running tests of originals."""
        await self._checks.close()

    async def plan(self, resolved: Resolved, target: PendingFile | None) -> RenderPlan:
        """Cheapest plan for a request; the worker writes to `target`, or returns the bytes.

        Raises the errors of `raise_if_damaged` if bytes of the original are passed on.
        """
        engine, tile, level = resolved.engine, None, None
        if engine is Engine.REWRITTEN:
            await self.raise_if_damaged(resolved)
        if engine is Engine.TILE:  # the tile is unavailable: take the next best engine
            engine = choose_engine(resolved.header, resolved.work, lossless=self.lossless)
        if engine is Engine.JPEGTRAN:
            tile = await self._tile_to_cut(resolved)
            if tile is None and resolved.stored is not None:
                engine = Engine.RASTER
        if tile is None:
            level = await self.level(resolved)
        plan = RenderPlan(
            original=resolved.original.file,
            header=resolved.header,
            engine=engine,
            level=level,
            operations=resolved.work,
            encoding=self._encoding,
            target=None if target is None else target.path,
            tile=tile,
            description=self._description(resolved),
        )
        if engine is Engine.JPEGTRAN and cost_of_render(plan).bytes > self._pool.memory:
            return replace(plan, engine=Engine.RASTER)  # it does not need the whole image in memory
        return plan

    def _description(self, resolved: Resolved) -> Description:
        header, grid = resolved.header, self._pyramids.grid(resolved.header)
        part = is_part(grid, grid.tile_of(resolved.rendition))
        return describe(header, resolved.work, tile=part)

    async def run(
        self, resolved: Resolved, plan: RenderPlan, on_begin: Callable[[], object] | None = None
    ) -> Rendered:
        """Run a plan in a worker; `on_begin` is called when the worker starts.

        Raises RenderFailedError, NotNowError, ImageTooLargeError or OriginalRefusedError, and the
        errors of the source if the original is fetched in parts.
        """
        if resolved.original.parts is None:
            return await self._run(resolved, plan, on_begin)
        if plan.level is None and plan.tile is None:
            await self._tiled.fetch_pixels(resolved.original, plan.header, plan.operations)
            return await self._run(resolved, plan, on_begin)
        try:
            return await self._run(resolved, plan, on_begin)
        except PartsMissingError:  # the level or tile was evicted or is damaged: fetch the original
            plain = replace(plan, engine=Engine.RASTER, level=None, tile=None)
            return await self.run(resolved, plain, on_begin)

    async def _run(
        self, resolved: Resolved, plan: RenderPlan, on_begin: Callable[[], object] | None
    ) -> Rendered:
        cost = cost_of_render(plan)
        lane = lane_of(resolved.rendition.size.area, cost.bytes, cost.effort)
        try:
            with self._quarantine.guarding(resolved.original, lane):
                async with resolved.original.for_worker() as descriptors:
                    return await self._pool.run(
                        RENDER,
                        plan,
                        timeout=self._render_timeout,
                        subject=str(resolved.original.file.path),
                        demand=Demand(lane, cost.bytes),
                        on_begin=on_begin,
                        descriptors=descriptors,
                    )
        except IiifServerError:
            # A worker that died because the file became shorter cannot report the reason.
            await raise_if_changed(resolved.original)
            raise
        except MemoryError as error:
            raise too_much_memory() from error
        except Exception as error:
            # The message of another library's exception may contain a path, so it is only logged.
            self._observe(RenderFailed(str(resolved.original.identifier), repr(error)))
            await raise_if_changed(resolved.original)
            raise RenderFailedError("The image could not be rendered.") from error

    async def level(self, resolved: Resolved) -> Level | None:
        """Available pyramid level from which the rendition is cheapest; None: the original."""
        header, pyramid = resolved.header, resolved.pyramid
        if pyramid is None or not prefers_level(
            header, resolved.rendition, resolved.engine, resolved.work.depth
        ):
            return None
        rendition = resolved.placed
        levels = levels_for(
            pyramid.grid, rendition, oversampling=required_oversampling(header, rendition)
        )
        ready = await self._pyramids.ready_level(pyramid, levels)
        if ready is None:
            return None
        factor, path = ready
        return Level(path, pyramid.grid, operations_on_level(header, rendition, factor))

    async def _tile_to_cut(self, resolved: Resolved) -> TileToCrop | None:
        """Tile from which jpegtran can crop the rendition, instead of the whole file."""
        work, pyramid = resolved.work, resolved.pyramid
        if resolved.stored is not None:
            with suppress(NoSuchTileError):
                data = await self.stored_tile(resolved, resolved.stored)
                box = Box(0, 0, work.size.width, work.size.height)
                return TileToCrop(data, replace(work, box=box))
        elif pyramid is not None and cuts_losslessly(
            resolved.header, pyramid.grid, pyramid.profile
        ):
            tile_and_box = pyramid.grid.full_tile_around(work.box)
            ready = (
                await self._pyramids.ready_tile(pyramid, tile_and_box[0])
                if tile_and_box is not None
                else None
            )
            if tile_and_box is not None and ready is not None:
                return TileToCrop(ready, replace(work, box=tile_and_box[1]))
        return None

    async def stored_tile(self, resolved: Resolved, tile: StoredTile) -> bytes:
        """JPEG of a tile in a tiled original; raises NoSuchTileError."""
        return await self._tiled.tile(resolved.original, resolved.header, tile)

    async def raise_if_damaged(self, resolved: Resolved) -> None:
        """Raise DamagedOriginalError if an original cannot be decoded.

        Before the bytes of an original are passed on for the first time, a worker decodes it once,
        at a small size.
        """
        key = resolved.original.fingerprint, resolved.original.file.version
        if key not in self._decodable:
            await self._checks.run(key, lambda: self._decode(resolved))
        self._decodable.put(key, None)

    async def _decode(self, resolved: Resolved) -> None:
        full = resolved.rendition.size
        size = Dimensions(-(-full.width // _SMALLER), -(-full.height // _SMALLER))
        rendition = replace(resolved.rendition, size=size)
        small = replace(resolved, rendition=rendition, stages=Stages())
        plan = RenderPlan(
            original=resolved.original.file,
            header=resolved.header,
            engine=Engine.RASTER,
            operations=plan_operations(resolved.header, rendition),
            encoding=self._encoding,
            target=None,
        )
        await self.run(small, plan)
