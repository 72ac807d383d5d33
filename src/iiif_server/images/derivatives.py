"""From a request to the bytes of its answer: cached, passed through, or made once for all."""

import time
from collections import OrderedDict
from collections.abc import Mapping
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

from iiif_server.background import BackgroundTasks
from iiif_server.cache.entries import Entry, EntryKey
from iiif_server.cache.pending_files import PendingFile
from iiif_server.cache.single_flight import SingleFlight
from iiif_server.cache.store import Store
from iiif_server.cache.threads import LONG
from iiif_server.errors import (
    IiifServerError,
    ImageTooLargeError,
    NotKeptError,
    NotNowError,
    QuarantinedError,
    RenderFailedError,
    too_much_memory,
)
from iiif_server.iiif.geometry import Box, Dimensions, OutputLimits
from iiif_server.iiif.request import ImageRequest, Rendition
from iiif_server.images.body import IN_MEMORY, Body, body_of
from iiif_server.images.keys import derivative_key, encoding_text
from iiif_server.images.originals import Original, raise_if_changed
from iiif_server.images.pyramids import Pyramid, Pyramids
from iiif_server.images.quarantine import Quarantine
from iiif_server.images.registry import Image
from iiif_server.images.tiled import NoSuchTileError, TiledOriginals
from iiif_server.plan.build_plan import cuts_losslessly
from iiif_server.plan.cost import cost_of_render
from iiif_server.plan.encoding import EncodingOptions
from iiif_server.plan.engine_choice import (
    choose_engine,
    is_plain_jpeg,
    level_answers,
    levels_for,
    spare_pixels,
)
from iiif_server.plan.grid import Tile
from iiif_server.plan.header import ImageHeader
from iiif_server.plan.jobs import RENDER, Rendered
from iiif_server.plan.local_file import FileVersion, removed, replaced
from iiif_server.plan.own_tiles import StoredTile, own_grid, stored_tile
from iiif_server.plan.render_plan import (
    Engine,
    Level,
    PixelOperations,
    RenderPlan,
    TileToCut,
    operations_on_level,
    plan_operations,
)
from iiif_server.sources.opening import OpenedFile
from iiif_server.telemetry.events import Observer, RenderFailed
from iiif_server.telemetry.events import Rendered as RenderedEvent
from iiif_server.telemetry.stages import Stages
from iiif_server.workers.admission import Demand, lane_of
from iiif_server.workers.pool import WorkerPool

_SMALL_PIXELS = 1_000_000
_WORTH_A_LOCK = 25_000_000
"""The effort (pixels of a JPEG to be decoded) from which on two processes do not make the same."""
_SMALLER = 8
"""By how much an original is reduced that is decoded to see whether it can be."""
_DECODABLE = 100_000
_READ_TRIES = 3
"""How often an entry is looked for that others may evict between its being found and opened; the
last time it is not kept at all."""


@dataclass(frozen=True, slots=True)
class Resolved:
    """A request that can be answered: for this original, with these pixels, under this key."""

    image: Image
    rendition: Rendition
    engine: Engine
    work: PixelOperations
    key: EntryKey
    tile: Tile | None
    """The tile of it that is asked for, for the engine TILE."""
    stored: StoredTile | None
    """The tile of the original itself that is asked for, or that holds what is."""
    stages: Stages
    """How long everything took so far."""

    @property
    def repeatable(self) -> bool:
        """Whether the answer has the same bytes whenever it is made.

        What is made of a pyramid once that is there differs by what compressing did to it. Once it
        is there, it is known whether a tile was one.
        """
        if self.engine is Engine.TILE:
            return self.stages.engine in {"", Engine.TILE}
        return self.pyramid is None or self.engine is Engine.ORIGINAL

    @property
    def original(self) -> Original:
        """The original; `body` needs it open."""
        return self.image.original

    @property
    def header(self) -> ImageHeader:
        """The header of the original."""
        return self.image.header

    @property
    def pyramid(self) -> Pyramid | None:
        """The pyramid that the original has or will have."""
        return self.image.pyramid


@dataclass(frozen=True, slots=True)
class Outlook:
    """How a request would be answered now."""

    kept: bool
    """Whether the answer, or the pyramid's part that has it, is in the store."""
    level: int | None
    """The scale factor of the pyramid's level that it would be made of; None: of the original."""


@dataclass(frozen=True, slots=True)
class _Made:
    """What one worker has made for all who waited for it."""

    content: bytes | Entry
    """The bytes, or the entry that has them."""
    engine: Engine | Literal["cache"]
    stages: Mapping[str, float]


class Derivatives:
    """Answers to image requests."""

    def __init__(
        self,
        store: Store,
        pyramids: Pyramids,
        pool: WorkerPool,
        *,
        tiled: TiledOriginals,
        quarantine: Quarantine,
        observer: Observer,
        limits: OutputLimits,
        encoding: EncodingOptions,
        render_timeout: float,
        lossless: bool,
    ) -> None:
        self._store = store
        self._pyramids = pyramids
        self._tiled = tiled
        self._pool = pool
        self._quarantine = quarantine
        self._observe = observer
        self._limits = limits
        self._encoding = encoding
        self._encoding_text = f"{encoding_text(encoding)} {pyramids.form}"
        self._render_timeout = render_timeout
        self._lossless = lossless
        self._flights: SingleFlight[EntryKey, _Made] = SingleFlight()
        self._decodable: OrderedDict[tuple[str, FileVersion], None] = OrderedDict()
        """Originals that were decoded once, and so may be passed on as they are."""
        self._checks: SingleFlight[tuple[str, FileVersion], None] = SingleFlight()
        self._made_by: dict[Engine, int] = {}
        self._housekeeping = BackgroundTasks()

    def __repr__(self) -> str:
        return f"<Derivatives {len(self._flights)} being made>"

    @property
    def made_by(self) -> Mapping[Engine, int]:
        """How many answers each engine has made; those from the cache do not count."""
        return self._made_by

    def resolve(self, image: Image, request: ImageRequest, stages: Stages) -> Resolved:
        """The request resolved against an image, which need not be held. Never waits.

        Raises what `ImageRequest.resolve` refuses. No pixel is touched.
        """
        original, header, pyramid = image.original, image.header, image.pyramid
        rendition = request.resolve(image.facts, self._limits.of(header.dimensions))
        work = plan_operations(header, rendition)
        tile = stored = None
        if is_plain_jpeg(rendition):
            tile = pyramid.tile_of(rendition) if pyramid is not None else None
            stored = self._stored_tile(header, rendition)
        engine = choose_engine(
            header,
            work,
            lossless=self._lossless,
            tile=tile is not None or (stored is not None and stored.whole),
            cut=stored is not None,
        )
        key = self.key(original, rendition, engine)
        return Resolved(image, rendition, engine, work, key, tile, stored, stages)

    async def ready(self, resolved: Resolved) -> bytes | None:
        """The bytes of the answer if they are in the store, and in memory."""
        if resolved.engine in {Engine.ORIGINAL, Engine.TILE}:
            return None
        data = await self._store.threads.run(self._store.read_nowait, resolved.key, IN_MEMORY)
        if data is not None:
            resolved.stages.engine = "cache"
        return data

    def key(self, original: Original, rendition: Rendition, engine: Engine) -> EntryKey:
        """What the answer is kept under, and clients know it by."""
        return derivative_key(
            original.group, original.fingerprint, rendition, engine, self._encoding_text
        )

    def count(self, engine: Engine) -> None:
        """Take note of an answer that an engine has made."""
        self._made_by[engine] = self._made_by.get(engine, 0) + 1

    async def body(self, resolved: Resolved, *, by_path: bool = False) -> Body:
        """The bytes of the answer, complete; `by_path`: where they are, if that is in the store.

        Raises OriginalRefusedError, RenderFailedError, NotNowError, or ImageTooLargeError.
        """
        if resolved.engine is Engine.ORIGINAL:
            self._count(resolved, Engine.ORIGINAL)
            return await self._original_body(resolved)
        if resolved.stored is not None and resolved.stored.whole:
            with suppress(NoSuchTileError):  # not what the directory says: it can yet be decoded
                with resolved.stages.measure("tile"):
                    data = await self._tiled.tile(
                        resolved.original, resolved.header, resolved.stored
                    )
                self._count(resolved, Engine.TILE)
                return Body(len(data), data)
        if resolved.pyramid is not None and resolved.tile is not None:
            # Where there can be no pyramid, the tile may be had without.
            with suppress(RenderFailedError, ImageTooLargeError, QuarantinedError):
                with resolved.stages.measure("tile"):
                    data = await self._pyramids.tile(resolved.pyramid, resolved.tile)
                self._count(resolved, Engine.TILE)
                return Body(len(data), data)
        with self._store.hold(resolved.key):
            return await self._stored_or_made(resolved, by_path=by_path)

    async def _original_body(self, resolved: Resolved) -> Body:
        original = resolved.original
        if original.opened is None or original.threads is None:
            raise removed()
        await self._raise_if_damaged(resolved)
        return await original.threads.run(_body_of_original, original, original.opened, undo=_close)

    async def _raise_if_damaged(self, resolved: Resolved) -> None:
        """Raise DamagedOriginalError for an original that no decoder can read.

        Before its bytes are passed on for the first time, it is decoded once, at a small size.
        """
        key = resolved.original.fingerprint, resolved.original.file.version
        if key not in self._decodable:
            await self._checks.run(key, lambda: self._decode(resolved))
        self._decodable[key] = None
        self._decodable.move_to_end(key)
        while len(self._decodable) > _DECODABLE:
            self._decodable.popitem(last=False)

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
        await self._run(small, plan)

    async def outlook(self, resolved: Resolved) -> Outlook:
        """How the request would be answered now; nothing is made."""
        if resolved.engine is Engine.ORIGINAL:
            return Outlook(kept=True, level=None)
        if resolved.engine is Engine.TILE and resolved.stored is not None:
            return Outlook(kept=True, level=resolved.stored.scale_factor)
        if resolved.pyramid is not None and resolved.tile is not None:
            factor = resolved.tile.scale_factor
            ready = await self._pyramids.ready_level(resolved.pyramid, [factor])
            return Outlook(kept=ready is not None, level=factor)
        kept = await self._store.threads.run(self._store.find, resolved.key) is not None
        level = None if kept else await self._level(resolved)
        return Outlook(kept, level.operations.shrink if level else None)

    async def close(self) -> None:
        """Make nothing more, and wait for the housekeeping that is under way."""
        await self._flights.close()
        await self._checks.close()
        await self._housekeeping.wait()

    async def _stored_or_made(self, resolved: Resolved, *, by_path: bool) -> Body:
        find = self._find_path if by_path else self._find
        for tries_left in reversed(range(_READ_TRIES)):
            landed = self._flights.landed
            with resolved.stages.measure("cache"):
                stored = await self._store.threads.run(find, resolved.key, undo=_close)
            if stored is not None:
                resolved.stages.engine = "cache"
                return stored
            keep = tries_left > 0
            # A flight that ended during this look may have stored it after this looked.
            look_again = keep and self._flights.landed != landed
            make = self._find_or_make if look_again else partial(self._make, keep=keep)
            made = await self._flights.run(resolved.key, partial(make, resolved))
            self._tidy_up()
            resolved.stages.add(made.stages)
            resolved.stages.engine = made.engine
            if isinstance(made.content, bytes):
                return Body(len(made.content), made.content)
            body = await self._store.threads.run(self._read, made.content, undo=_close)
            if body is not None:
                return body
        raise RenderFailedError("The image was removed as fast as it was made; please ask again.")

    def _find(self, key: EntryKey) -> Body | None:
        entry = self._store.find(key)
        return None if entry is None else self._read(entry)

    def _find_path(self, key: EntryKey) -> Body | None:
        entry = self._store.find(key)
        if entry is None or not self._store.is_sound(entry):
            return None
        return Body(entry.length, path=entry.path)

    def _read(self, entry: Entry) -> Body | None:
        content = self._store.read(entry, IN_MEMORY)
        if content is None or isinstance(content, bytes):
            return None if content is None else Body(entry.length, content)
        return Body(entry.length, file=content, threads=self._store.threads)

    async def _find_or_make(self, resolved: Resolved) -> _Made:
        """Make the answer unless it is in the store by now; no other flight of its key is there."""
        entry = await self._store.threads.run(self._store.find, resolved.key)
        if entry is not None:
            return _Made(entry, "cache", {})
        return await self._make(resolved, keep=True)

    async def _make(self, resolved: Resolved, *, keep: bool) -> _Made:
        started = time.perf_counter()
        # What is surely small comes through the pipe, and is kept in one go.
        small = resolved.rendition.size.area <= _SMALL_PIXELS
        target = None
        if keep and not small:
            target = await self._store.threads.run(self._store.reserve, undo=_give_up)
        try:
            plan = await self._plan(resolved, target)
            async with AsyncExitStack() as stack:
                if keep and cost_of_render(plan).effort >= _WORTH_A_LOCK:
                    entry = await self._made_elsewhere(resolved.key, stack)
                    if entry is not None:
                        return _Made(entry, "cache", {})
                rendered = await self._run(resolved, plan)
                content: bytes | Entry = rendered.data or b""
                if target is not None:
                    content = await self._store.threads.run(
                        self._keep, resolved, rendered, target, timeout=LONG
                    )
                if keep and small and isinstance(content, bytes):
                    suffix = resolved.rendition.format
                    await self._store.threads.run(self._store.keep, resolved.key, content, suffix)
        except NotNowError:  # whoever refused has told
            raise
        except IiifServerError as error:
            self._observe(RenderFailed(str(resolved.original.identifier), str(error)))
            raise
        finally:
            if target is not None:
                await self._store.threads.settle(target.close)
        if plan.level is not None and rendered.engine is not Engine.LEVEL:
            self._pyramids.doubt(plan.level.path)
        seconds = time.perf_counter() - started
        queued = max(0.0, seconds - sum(rendered.stages.values()))
        self._count(resolved, rendered.engine)
        self._observe(
            RenderedEvent(
                str(resolved.original.identifier), rendered.engine, rendered.length, seconds
            )
        )
        return _Made(content, rendered.engine, {"queue": queued, **rendered.stages})

    async def _made_elsewhere(self, key: EntryKey, stack: AsyncExitStack) -> Entry | None:
        """What another process has just made; else none makes it while the stack is open."""
        with suppress(NotKeptError):
            await stack.enter_async_context(self._store.lock(key))
            return await self._store.threads.run(self._store.find, key)
        return None

    async def _plan(self, resolved: Resolved, target: PendingFile | None) -> RenderPlan:
        engine, tile, level = resolved.engine, None, None
        if engine is Engine.TILE:  # one that cannot be had: the next best
            engine = choose_engine(resolved.header, resolved.work, lossless=self._lossless)
        if engine is Engine.JPEGTRAN:
            tile = await self._tile_to_cut(resolved)
            if tile is None and resolved.stored is not None:
                engine = Engine.RASTER
        if tile is None:
            level = await self._level(resolved)
        plan = RenderPlan(
            original=resolved.original.file,
            header=resolved.header,
            engine=engine,
            level=level,
            operations=resolved.work,
            encoding=self._encoding,
            target=None if target is None else target.path,
            tile=tile,
        )
        if engine is Engine.JPEGTRAN and cost_of_render(plan).bytes > self._pool.memory:
            return replace(plan, engine=Engine.RASTER)  # which need not hold the whole image
        return plan

    async def _run(self, resolved: Resolved, plan: RenderPlan) -> Rendered:
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
                        # What has begun is finished and kept, though the client may have left.
                        begun=lambda: self._flights.keep(resolved.key),
                        descriptors=descriptors,
                    )
        except IiifServerError:
            # A worker that dies of a file that was cut short under it cannot say so.
            await raise_if_changed(resolved.original)
            raise
        except MemoryError as error:
            raise too_much_memory() from error
        except Exception as error:
            # Whatever else a worker stumbles on: its words may hold a path, so they go to the log.
            self._observe(RenderFailed(str(resolved.original.identifier), repr(error)))
            await raise_if_changed(resolved.original)
            raise RenderFailedError("The image could not be made.") from error

    async def _tile_to_cut(self, resolved: Resolved) -> TileToCut | None:
        """The tile that holds what jpegtran is to cut, if there is one; and not all of the file."""
        work, pyramid = resolved.work, resolved.pyramid
        if resolved.stored is not None:
            with suppress(NoSuchTileError):
                data = await self._tiled.tile(resolved.original, resolved.header, resolved.stored)
                box = Box(0, 0, work.size.width, work.size.height)
                return TileToCut(data, replace(work, box=box))
        elif pyramid is not None and cuts_losslessly(
            resolved.header, pyramid.grid, pyramid.profile
        ):
            held = pyramid.grid.full_tile_around(work.box)
            ready = await self._pyramids.ready_tile(pyramid, held[0]) if held is not None else None
            if held is not None and ready is not None:
                return TileToCut(ready, replace(work, box=held[1]))
        return None

    async def _level(self, resolved: Resolved) -> Level | None:
        """The level of a pyramid that is ready, and the cheapest way to the rendition."""
        header, rendition, pyramid = resolved.header, resolved.rendition, resolved.pyramid
        if pyramid is None or not level_answers(header, rendition, resolved.engine):
            return None
        levels = levels_for(pyramid.grid, rendition, spare=spare_pixels(header, rendition))
        ready = await self._pyramids.ready_level(pyramid, levels)
        if ready is None:
            return None
        factor, path = ready
        return Level(path, pyramid.grid, operations_on_level(header, rendition, factor))

    def _stored_tile(self, header: ImageHeader, rendition: Rendition) -> StoredTile | None:
        own = own_grid(header)
        tile = own.tile_of(rendition) if own is not None else None
        return stored_tile(header, tile) if tile is not None else None

    def _keep(self, resolved: Resolved, rendered: Rendered, target: PendingFile) -> bytes | Entry:
        if rendered.refusal is not None:
            self._store.refused(rendered.refusal)
        if rendered.data is not None:
            return rendered.data
        if target.status.st_size != rendered.length:  # somebody else was at it
            raise RenderFailedError("The image was not kept as it was made; please ask again.")
        # What is small is read before it can be evicted; what is large may have to be made again.
        data = target.read() if rendered.length <= IN_MEMORY else None
        entry = self._store.commit(resolved.key, target, resolved.rendition.format)
        if data is not None:
            return data
        return target.read() if entry is None else entry

    def _count(self, resolved: Resolved, engine: Engine) -> None:
        resolved.stages.engine = engine
        self.count(engine)

    def _tidy_up(self) -> None:
        self._housekeeping.start(self._store.make_room())


def _close(body: Body | None) -> None:
    """Close the file of a body that nobody takes."""
    if body is not None and body.file is not None:
        body.file.close()


def _give_up(draft: PendingFile | None) -> None:
    """Close a draft that nobody takes."""
    if draft is not None:
        draft.close()


def _body_of_original(original: Original, opened: OpenedFile) -> Body:
    """The original's own bytes, if it is still the version whose header was read."""
    try:
        with opened.kept_open() as descriptor:
            body = body_of(descriptor, original.file.path, original.threads)
            if original.file.version.is_of(descriptor):
                return body
    except OSError as error:
        raise removed() from error
    _close(body)
    raise replaced()
