"""From a request to the bytes of its answer: cached, passed through, or made once for all."""

import asyncio
import time
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from iiif_server.cache.single_flight import SingleFlight
from iiif_server.cache.store import EntryKey, Store
from iiif_server.errors import (
    IiifServerError,
    ImageTooLargeError,
    NotNowError,
    OriginalChangedError,
    QuarantinedError,
    RenderFailedError,
)
from iiif_server.image_api.formats import Format, unsupported_format
from iiif_server.image_api.geometry import Limits
from iiif_server.image_api.identifier import Identifier
from iiif_server.image_api.request import ImageFacts, ImageRequest, Rendition
from iiif_server.imaging.cost import cost_of_render
from iiif_server.imaging.header import Colour, ImageHeader
from iiif_server.imaging.options import EncodingOptions
from iiif_server.imaging.plan import (
    Engine,
    Level,
    RenderPlan,
    Work,
    choose_engine,
    is_plain_jpeg,
    level_answers,
    levels_for,
    plan_work,
    work_on_level,
)
from iiif_server.imaging.pyramid import Tile
from iiif_server.imaging.render import Rendered, render
from iiif_server.pipeline.body import IN_MEMORY, Body, in_thread, open_body
from iiif_server.pipeline.headers import Headers
from iiif_server.pipeline.keys import derivative_key
from iiif_server.pipeline.originals import Original, Originals
from iiif_server.pipeline.pyramids import Pyramid, Pyramids
from iiif_server.pipeline.quarantine import Quarantine
from iiif_server.telemetry.events import Observer, RenderFailed
from iiif_server.telemetry.events import Rendered as RenderedEvent
from iiif_server.telemetry.stages import Stages
from iiif_server.workers.admission import Demand, lane_of
from iiif_server.workers.pool import WorkerPool

_READ_TRIES = 3
"""How often an entry is looked for that may be evicted between being found and being opened."""


@dataclass(frozen=True, slots=True)
class Resolved:
    """A request that can be answered: for this original, with these pixels, under this key."""

    original: Original
    header: ImageHeader
    rendition: Rendition
    engine: Engine
    work: Work
    key: EntryKey
    pyramid: Pyramid | None
    """The one that the original has or will have."""
    tile: Tile | None
    """The tile of it that is asked for, for the engine TILE."""
    stages: Stages
    """How long everything took so far."""

    @property
    def facts(self) -> ImageFacts:
        """The image as the Image API sees it."""
        return image_facts(self.header)


def image_facts(header: ImageHeader) -> ImageFacts:
    """What the Image API needs to know of an original."""
    return ImageFacts(header.dimensions, gray=header.colour is Colour.GRAY)


@dataclass(frozen=True, slots=True)
class _Made:
    """What one worker has made for all who waited for it."""

    content: bytes | Path
    """The bytes, or where the store keeps them."""
    engine: Engine
    stages: Mapping[str, float]


class Derivatives:
    """Answers to image requests."""

    def __init__(
        self,
        originals: Originals,
        headers: Headers,
        store: Store,
        pyramids: Pyramids,
        pool: WorkerPool,
        *,
        quarantine: Quarantine,
        observer: Observer,
        limits: Limits,
        encoding: EncodingOptions,
        formats: Collection[Format],
        render_timeout: float,
        lossless: bool,
    ) -> None:
        self._originals = originals
        self._headers = headers
        self._store = store
        self._pyramids = pyramids
        self._pool = pool
        self._quarantine = quarantine
        self._observe = observer
        self._limits = limits
        self._encoding = encoding
        self._formats = formats
        self._render_timeout = render_timeout
        self._lossless = lossless
        self._flights: SingleFlight[EntryKey, _Made] = SingleFlight()
        self._made_by: dict[Engine, int] = {}
        self._housekeeping: set[asyncio.Task[None]] = set()

    def __repr__(self) -> str:
        return f"<Derivatives {len(self._flights)} being made>"

    @property
    def made_by(self) -> Mapping[Engine, int]:
        """How many answers each engine has made; those from the cache do not count."""
        return self._made_by

    @asynccontextmanager
    async def resolve(
        self, identifier: Identifier, request: ImageRequest
    ) -> AsyncIterator[Resolved]:
        """The request resolved against its original, which is held while the context is open.

        Raises what the source, the header and `ImageRequest.resolve` refuse. No pixel is touched.
        """
        if request.format not in self._formats:
            raise unsupported_format(request.format, self._formats)
        stages = Stages()
        async with AsyncExitStack() as stack:
            with stages.measure("fetch"):
                original = await stack.enter_async_context(self._originals.hold(identifier))
            with stages.measure("header"):
                header = await self._headers.of(original)
            rendition = request.resolve(image_facts(header), self._limits)
            work = plan_work(header, rendition)
            pyramid = self._pyramids.of(original, header)
            tile = pyramid.grid.tile_of(rendition) if pyramid and is_plain_jpeg(rendition) else None
            engine = choose_engine(header, work, lossless=self._lossless, tile=tile is not None)
            key = derivative_key(
                original.group, original.fingerprint, rendition, engine, self._encoding
            )
            yield Resolved(original, header, rendition, engine, work, key, pyramid, tile, stages)

    async def body(self, resolved: Resolved) -> Body:
        """The bytes of the answer, complete.

        Raises OriginalRefusedError, RenderFailedError, NotNowError, or ImageTooLargeError.
        """
        if resolved.engine is Engine.ORIGINAL:
            self._count(resolved, Engine.ORIGINAL)
            return await in_thread(partial(_original_body, resolved.original))
        if resolved.pyramid is not None and resolved.tile is not None:
            # Where there can be no pyramid, the tile may be had without.
            with suppress(RenderFailedError, ImageTooLargeError, QuarantinedError):
                with resolved.stages.measure("tile"):
                    data = await self._pyramids.tile(resolved.pyramid, resolved.tile)
                self._count(resolved, Engine.TILE)
                return Body(len(data), data)
        for _ in range(_READ_TRIES):
            with resolved.stages.measure("cache"):
                stored = await in_thread(partial(self._stored, resolved.key))
            if stored is not None:
                resolved.stages.engine = "cache"
                return stored
            made = await self._flights.run(resolved.key, lambda: self._make(resolved))
            resolved.stages.add(made.stages)
            resolved.stages.engine = made.engine
            if isinstance(made.content, bytes):
                self._tidy_up()
                return Body(len(made.content), made.content)
            try:
                return await in_thread(partial(open_body, made.content))
            except FileNotFoundError:
                continue  # evicted before we came to it
            finally:
                self._tidy_up()  # only now, lest it be evicted at once
        raise RenderFailedError("The image was removed as fast as it was made; please ask again.")

    async def close(self) -> None:
        """Make nothing more, and wait for the housekeeping that is under way."""
        await self._flights.close()
        if self._housekeeping:
            await asyncio.wait(self._housekeeping)

    def _stored(self, key: EntryKey) -> Body | None:
        entry = self._store.find(key)
        if entry is None:
            return None
        try:
            return open_body(entry.path)
        except OSError:
            return None

    async def _make(self, resolved: Resolved) -> _Made:
        started = time.perf_counter()
        target = await asyncio.to_thread(self._reserve)
        try:
            plan = await self._plan(resolved, target)
            rendered = await self._run(resolved, plan)
            content = await asyncio.to_thread(self._keep, resolved, rendered, target)
        except NotNowError:  # whoever refused has told
            raise
        except IiifServerError as error:
            self._observe(RenderFailed(str(resolved.original.identifier), str(error)))
            raise
        finally:
            if target is not None:
                await asyncio.to_thread(target.unlink, missing_ok=True)
        seconds = time.perf_counter() - started
        queued = max(0.0, seconds - sum(rendered.stages.values()))
        self._count(resolved, rendered.engine)
        self._observe(
            RenderedEvent(
                str(resolved.original.identifier), rendered.engine, rendered.length, seconds
            )
        )
        return _Made(content, rendered.engine, {"queue": queued, **rendered.stages})

    async def _plan(self, resolved: Resolved, target: Path | None) -> RenderPlan:
        engine = resolved.engine
        if engine is Engine.TILE:  # of a pyramid that cannot be: the next best
            engine = choose_engine(resolved.header, resolved.work, lossless=self._lossless)
        plan = RenderPlan(
            original=resolved.original.file,
            header=resolved.header,
            engine=engine,
            level=await self._level(resolved),
            work=resolved.work,
            encoding=self._encoding,
            target=target,
        )
        if engine is Engine.JPEGTRAN and cost_of_render(plan).bytes > self._pool.memory:
            return replace(plan, engine=Engine.RASTER)  # which need not hold the whole image
        return plan

    async def _run(self, resolved: Resolved, plan: RenderPlan) -> Rendered:
        cost = cost_of_render(plan)
        lane = lane_of(resolved.rendition.size.area, cost.bytes, cost.effort)
        try:
            with self._quarantine.guarding(resolved.original, lane):
                return await self._pool.run(
                    render,
                    plan,
                    timeout=self._render_timeout,
                    subject=str(resolved.original.file.path),
                    demand=Demand(lane, cost.bytes),
                    # What has begun is finished and kept, though the client may have left.
                    begun=lambda: self._flights.keep(resolved.key),
                )
        except IiifServerError:
            raise
        except Exception as error:
            # Whatever else a worker stumbles on: its words may hold a path, so they go to the log.
            self._observe(RenderFailed(str(resolved.original.identifier), repr(error)))
            raise RenderFailedError("The image could not be made.") from error

    async def _level(self, resolved: Resolved) -> Level | None:
        """The level of a pyramid that is ready, and the cheapest way to the rendition."""
        header, rendition, pyramid = resolved.header, resolved.rendition, resolved.pyramid
        if pyramid is None or not level_answers(header, rendition, resolved.engine):
            return None
        ready = await self._pyramids.ready_level(pyramid, levels_for(pyramid.grid, rendition))
        if ready is None:
            return None
        factor, path = ready
        return Level(path, pyramid.grid, work_on_level(header, rendition, factor))

    def _reserve(self) -> Path | None:
        try:
            return self._store.reserve()
        except OSError as error:
            self._store.report_failure(error)
            return None

    def _keep(self, resolved: Resolved, rendered: Rendered, target: Path | None) -> bytes | Path:
        if rendered.data is not None or target is None:
            return rendered.data or b""
        # What is small is read before it can be evicted; what is large may have to be made again.
        data = target.read_bytes() if rendered.length <= IN_MEMORY else None
        entry = self._store.commit(resolved.key, target, resolved.rendition.format)
        if data is not None:
            return data
        return target.read_bytes() if entry is None else entry.path

    def _count(self, resolved: Resolved, engine: Engine) -> None:
        resolved.stages.engine = engine
        self._made_by[engine] = self._made_by.get(engine, 0) + 1

    def _tidy_up(self) -> None:
        task = asyncio.create_task(self._store.make_room())
        self._housekeeping.add(task)
        task.add_done_callback(self._housekeeping.discard)


def _original_body(original: Original) -> Body:
    """The original's own bytes, if it is still the file whose header was read."""
    try:
        body = open_body(original.file.path)
    except OSError as error:
        raise OriginalChangedError("The original has just been removed.") from error
    if body.length != original.file.size:
        if body.file is not None:
            body.file.close()
        raise OriginalChangedError("The original has just been replaced; please ask again.")
    return body
