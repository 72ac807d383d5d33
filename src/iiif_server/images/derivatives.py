"""Derivatives: resolves image requests, and reads or renders their bytes."""

import time
from collections.abc import Mapping
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Literal

from iiif_server.background import BackgroundTasks
from iiif_server.cache.entries import Entry, EntryKey
from iiif_server.cache.pending_files import PendingFile, discard
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
)
from iiif_server.iiif.formats import Format
from iiif_server.iiif.geometry import Box, OutputLimits, offered_tile
from iiif_server.iiif.quality import Quality
from iiif_server.iiif.request import ImageRequest, Rendition
from iiif_server.iiif.rotation import parse_rotation
from iiif_server.images.body import IN_MEMORY, Body, close, original_body
from iiif_server.images.keys import derivative_key, encoding_text
from iiif_server.images.pyramids import Pyramids
from iiif_server.images.registry import Image
from iiif_server.images.renderer import Renderer
from iiif_server.images.resolved import Resolved
from iiif_server.images.tiled import NoSuchTileError
from iiif_server.plan.cost import cost_of_render
from iiif_server.plan.encoding import EncodingOptions
from iiif_server.plan.engine_choice import (
    choose_engine,
    is_plain_jpeg,
)
from iiif_server.plan.grid import Grid
from iiif_server.plan.header import ImageHeader
from iiif_server.plan.jobs import Rendered
from iiif_server.plan.render_plan import (
    Engine,
    PixelOperations,
    plan_operations,
)
from iiif_server.plan.stored_grid import StoredTile, stored_grid, stored_tile
from iiif_server.telemetry.events import Observer, RenderFailed
from iiif_server.telemetry.events import Rendered as RenderedEvent
from iiif_server.telemetry.stages import Stages

if TYPE_CHECKING:
    from iiif_server.sharing.shared_cache import SharedCache

_SMALL_PIXELS = 1_000_000
_MIN_LOCK_EFFORT = 25_000_000
"""Minimum effort (JPEG pixels to decode) for a lock, so that only one process renders an image."""
_READ_TRIES = 3
"""Maximum attempts to read an entry that others may evict after it was found; the last attempt
does not store the image."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """Explanation of how a request would be answered now."""

    kept: bool
    """Whether the derivative, or the pyramid part with its tile, is available without rendering."""
    level: int | None
    """Scale factor of the pyramid level to render from; None: the original."""


@dataclass(frozen=True, slots=True)
class _Result:
    """Result of a single flight, for all requests that wait for it."""

    content: bytes | Entry
    """Bytes of the derivative, or its entry in the store."""
    engine: Engine | Literal["cache", "shared"]
    stages: Mapping[str, float]


class Derivatives:
    """Resolves image requests, and reads or renders their derivatives."""

    def __init__(  # noqa: PLR0917 - what it is composed of
        self,
        store: Store,
        pyramids: Pyramids,
        renderer: Renderer,
        observer: Observer,
        limits: OutputLimits,
        encoding: EncodingOptions,
        shared: "SharedCache | None" = None,
    ) -> None:
        self._store = store
        self._shared = shared
        self._pyramids = pyramids
        self._renderer = renderer
        self._observe = observer
        self._limits = limits
        self._depth = encoding.depth
        self._encoding_text = f"{encoding_text(encoding)} {pyramids.form}"
        self._flights: SingleFlight[EntryKey, _Result] = SingleFlight()
        self._made_by: dict[Engine, int] = {}
        self._housekeeping = BackgroundTasks()

    def __repr__(self) -> str:
        return f"<Derivatives {len(self._flights)} being made>"

    @property
    def made_by(self) -> Mapping[Engine, int]:
        """Number of derivatives by engine, without those from the cache."""
        return self._made_by

    def resolve(self, image: Image, request: ImageRequest, stages: Stages) -> Resolved:
        """Resolve a request for an image, which need not be held; reads no pixels. Never waits.

        Raises the errors of `ImageRequest.resolve`.
        """
        original, header, pyramid = image.original, image.header, image.pyramid
        limits = self._limits.of(header.dimensions, original.terms.limits)
        rendition = request.resolve(image.facts, limits)
        announced = offered_tile(self._pyramids.grid(header).tile, limits)
        placed = Grid(header.dimensions, announced).aligned(rendition)
        work = plan_operations(header, placed, self._depth)
        tile = stored = None
        if is_plain_jpeg(rendition):
            tile = pyramid.tile_of(rendition) if pyramid is not None else None
            stored = self._stored_tile(header, rendition)
        engine = choose_engine(
            header,
            work,
            lossless=self._renderer.lossless,
            tile=tile is not None or (stored is not None and stored.whole),
            crop=stored is not None,
        )
        key = self.key(image, rendition, engine, work)
        return Resolved(image, rendition, placed, engine, work, key, tile, stored, stages)

    def rewritten(self, image: Image, stages: Stages) -> Resolved:
        """Resolved download of a whole JPEG original, with only the permitted metadata."""
        header, size = image.header, image.header.dimensions
        whole = Box(0, 0, size.width, size.height)
        rendition = Rendition(whole, size, parse_rotation("0"), Quality.DEFAULT, Format.JPG)
        work = plan_operations(header, rendition)
        key = self.key(image, rendition, Engine.REWRITTEN, work)
        return Resolved(
            image, rendition, rendition, Engine.REWRITTEN, work, key, None, None, stages
        )

    async def ready(self, resolved: Resolved) -> bytes | None:
        """Bytes of the derivative, if it is in the store and small enough for memory."""
        if resolved.engine in {Engine.ORIGINAL, Engine.TILE}:
            return None
        data = await self._store.threads.run(self._store.read_nowait, resolved.key, IN_MEMORY)
        if data is not None:
            resolved.stages.engine = "cache"
        return data

    def key(
        self, image: Image, rendition: Rendition, engine: Engine, work: PixelOperations
    ) -> EntryKey:
        """Cache key of a derivative, whose digest is also its entity tag."""
        original, treatment = image.original, image.header.treatment
        text = f"{self._encoding_text} {work.profile} {treatment.strip_location}"
        text += f" {image.header.sample_range} {work.box.width},{work.box.height}"
        return derivative_key(original.group, original.fingerprint, rendition, engine, text)

    def count(self, engine: Engine) -> None:
        """Count a derivative of an engine."""
        self._made_by[engine] = self._made_by.get(engine, 0) + 1

    async def body(self, resolved: Resolved, *, by_path: bool = False) -> Body:
        """Complete body of a derivative; `by_path`: with the path of an entry of the store.

        Raises OriginalRefusedError, RenderFailedError, NotNowError, or ImageTooLargeError.
        """
        if resolved.engine is Engine.ORIGINAL:
            self._count(resolved, Engine.ORIGINAL)
            await self._renderer.raise_if_damaged(resolved)
            return await original_body(resolved.original)
        if resolved.stored is not None and resolved.stored.whole:
            with suppress(NoSuchTileError):  # the tile table is wrong: decode the original
                with resolved.stages.measure("tile"):
                    data = await self._renderer.stored_tile(resolved, resolved.stored)
                self._count(resolved, Engine.TILE)
                return Body(len(data), data)
        if resolved.pyramid is not None and resolved.tile is not None:
            # If the pyramid cannot be built, the tile is rendered from the original.
            with suppress(RenderFailedError, ImageTooLargeError, QuarantinedError):
                with resolved.stages.measure("tile"):
                    data = await self._pyramids.tile(resolved.pyramid, resolved.tile)
                self._count(resolved, Engine.TILE)
                return Body(len(data), data)
        with self._store.pin(resolved.key):
            return await self._read_or_render(resolved, by_path=by_path)

    async def without_original(self, resolved: Resolved) -> Body | None:
        """Body of a derivative in the local store or the shared cache; else None.

        The original need not be open, nor be on this machine.
        """
        if resolved.engine is Engine.ORIGINAL or resolved.stored is not None:
            return None
        if resolved.pyramid is not None and resolved.tile is not None:
            data = await self._pyramids.ready_tile(resolved.pyramid, resolved.tile)
            if data is None:
                return None
            self._count(resolved, Engine.TILE)
            return Body(len(data), data)
        body = await self._store.threads.run(self._find, resolved.key, undo=close)
        if body is None:
            entry = await self._fetch(resolved)
            if entry is not None:
                body = await self._store.threads.run(self._read, entry, undo=close)
        if body is not None:
            resolved.stages.engine = "cache"
        return body

    async def explain(self, resolved: Resolved) -> Explanation:
        """Explain how a request would be answered now; renders and builds nothing."""
        if resolved.engine is Engine.ORIGINAL:
            return Explanation(kept=True, level=None)
        if resolved.engine is Engine.TILE and resolved.stored is not None:
            return Explanation(kept=True, level=resolved.stored.scale_factor)
        if resolved.pyramid is not None and resolved.tile is not None:
            factor = resolved.tile.scale_factor
            ready = await self._pyramids.ready_level(resolved.pyramid, [factor])
            return Explanation(kept=ready is not None, level=factor)
        kept = await self._store.threads.run(self._store.find, resolved.key) is not None
        level = None if kept else await self._renderer.level(resolved)
        return Explanation(kept, level.operations.shrink if level else None)

    async def close(self) -> None:
        """Cancel rendering, and wait for the eviction in progress."""
        await self._flights.close()
        await self._renderer.close()
        await self._housekeeping.wait()

    async def _read_or_render(self, resolved: Resolved, *, by_path: bool) -> Body:
        find = self._find_path if by_path else self._find
        for tries_left in reversed(range(_READ_TRIES)):
            finished = self._flights.finished
            with resolved.stages.measure("cache"):
                stored = await self._store.threads.run(find, resolved.key, undo=close)
            if stored is not None:
                resolved.stages.engine = "cache"
                return stored
            keep = tries_left > 0
            # A flight that has ended meanwhile may have stored the entry after this lookup.
            check_again = keep and self._flights.finished != finished
            render = (
                self._find_or_render if check_again else partial(self._fetch_or_render, keep=keep)
            )
            result = await self._flights.run(resolved.key, partial(render, resolved))
            self._start_eviction()
            resolved.stages.add(result.stages)
            resolved.stages.engine = result.engine
            if isinstance(result.content, bytes):
                return Body(len(result.content), result.content)
            body = await self._store.threads.run(self._read, result.content, undo=close)
            if body is not None:
                return body
        raise RenderFailedError("The cache evicted the image before it was sent; please try again.")

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
        threads, checksum = self._store.threads, entry.checksum
        return Body(entry.length, file=content, threads=threads, checksum=checksum)

    async def _find_or_render(self, resolved: Resolved) -> _Result:
        """Make the derivative, unless another flight has stored it meanwhile."""
        entry = await self._store.threads.run(self._store.find, resolved.key)
        if entry is not None:
            return _Result(entry, "cache", {})
        return await self._fetch_or_render(resolved, keep=True)

    async def _fetch_or_render(self, resolved: Resolved, *, keep: bool) -> _Result:
        """Fetch the derivative from the shared cache; or make it and write it there."""
        if self._shared is None or not keep:
            return await self._render(resolved, keep=keep)
        started = time.perf_counter()
        entry = await self._fetch(resolved)
        if entry is not None:
            return _Result(entry, "shared", {"shared": time.perf_counter() - started})
        result = await self._render(resolved, keep=True)
        if result.engine != "cache":
            self._shared.offer(resolved.key, result.content)
        return result

    async def _render(self, resolved: Resolved, *, keep: bool) -> _Result:
        started = time.perf_counter()
        # A worker sends a small image through its socket; a large one it writes to a file.
        small = resolved.rendition.size.area <= _SMALL_PIXELS
        target = None
        if keep and not small:
            target = await self._store.threads.run(self._store.reserve, undo=discard)
        try:
            plan = await self._renderer.plan(resolved, target)
            async with AsyncExitStack() as stack:
                if keep and cost_of_render(plan).effort >= _MIN_LOCK_EFFORT:
                    entry = await self._find_or_lock(resolved.key, stack)
                    if entry is not None:
                        return _Result(entry, "cache", {})
                rendered = await self._renderer.run(
                    resolved, plan, lambda: self._flights.keep(resolved.key)
                )
                content: bytes | Entry = rendered.data or b""
                if target is not None:
                    content = await self._store.threads.run(
                        self._store_rendered, resolved, rendered, target, timeout=LONG
                    )
                if keep and small and isinstance(content, bytes):
                    suffix = resolved.rendition.format
                    await self._store.threads.run(self._store.keep, resolved.key, content, suffix)
        except NotNowError:  # already reported where it was raised
            raise
        except IiifServerError as error:
            self._observe(RenderFailed(str(resolved.original.identifier), str(error)))
            raise
        finally:
            if target is not None:
                await self._store.threads.settle(target.close)
        if plan.level is not None and rendered.engine is not Engine.LEVEL:
            self._pyramids.verify_later(plan.level.path)
        return self._report(resolved, rendered, content, time.perf_counter() - started)

    def _report(
        self, resolved: Resolved, rendered: Rendered, content: bytes | Entry, seconds: float
    ) -> _Result:
        queued = max(0.0, seconds - sum(rendered.stages.values()))
        self._count(resolved, rendered.engine)
        identifier = str(resolved.original.identifier)
        self._observe(RenderedEvent(identifier, rendered.engine, rendered.length, seconds))
        return _Result(content, rendered.engine, {"queue": queued, **rendered.stages})

    async def _fetch(self, resolved: Resolved) -> Entry | None:
        """Entry of a derivative from the shared cache; None if it is not there."""
        if self._shared is None:
            return None
        seconds = self._shared.bucket.timeout
        return await self._shared.fetch(resolved.key, resolved.rendition.format, seconds=seconds)

    async def _find_or_lock(self, key: EntryKey, stack: AsyncExitStack) -> Entry | None:
        """Entry that another process has just made; else None, with the key locked."""
        with suppress(NotKeptError):
            await stack.enter_async_context(self._store.lock(key))
            return await self._store.threads.run(self._store.find, key)
        return None

    def _stored_tile(self, header: ImageHeader, rendition: Rendition) -> StoredTile | None:
        own = stored_grid(header)
        tile = own.tile_of(rendition) if own is not None else None
        return stored_tile(header, tile) if tile is not None else None

    def _store_rendered(
        self, resolved: Resolved, rendered: Rendered, target: PendingFile
    ) -> bytes | Entry:
        if rendered.write_error is not None:
            self._store.refused(rendered.write_error)
        if rendered.data is not None:
            return rendered.data
        if target.status.st_size != rendered.length:  # another program has changed the file
            raise RenderFailedError(
                "Another program has changed the file of this image; please try again."
            )
        # Small files are read before they can be evicted; a large image is made again in that case.
        data = target.read() if rendered.length <= IN_MEMORY else None
        entry = self._store.commit(resolved.key, target, resolved.rendition.format)
        if data is not None:
            return data
        return target.read() if entry is None else entry

    def _count(self, resolved: Resolved, engine: Engine) -> None:
        resolved.stages.engine = engine
        self.count(engine)

    def _start_eviction(self) -> None:
        self._housekeeping.start(self._store.make_room())
