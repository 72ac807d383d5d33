"""Image registry: original, header and pyramid of each identifier, cached and revalidated.

Only the registry opens an original, reads its header in a worker and derives its pyramid. It does
so once for all requests that wait.
"""

import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeVar

from iiif_server.cache.lru import Lru
from iiif_server.cache.single_flight import SingleFlight
from iiif_server.errors import (
    IiifServerError,
    ImageTooLargeError,
    RenderFailedError,
    RenderTimedOutError,
)
from iiif_server.iiif.identifier import Identifier
from iiif_server.iiif.request import ImageFacts
from iiif_server.images.extents import from_parts
from iiif_server.images.originals import Original, Originals, raise_if_changed
from iiif_server.images.pyramids import Pyramid, Pyramids
from iiif_server.images.quarantine import Quarantine
from iiif_server.images.shared_images import SharedImages
from iiif_server.plan.cost import cost_of_scan
from iiif_server.plan.extents import PartialResult
from iiif_server.plan.header import Colour, ImageHeader, PageList
from iiif_server.plan.jobs import (
    LIST_PAGES,
    MEASURE_RANGE,
    READ_HEADER,
    READ_METADATA,
    READ_PARTIAL_HEADER,
)
from iiif_server.plan.local_file import FileVersion
from iiif_server.plan.original_format import Bounds
from iiif_server.plan.sample_ranges import needs_measuring, with_treatment
from iiif_server.telemetry.stages import Stages
from iiif_server.workers.admission import Demand, lane_of
from iiif_server.workers.pool import WorkerPool

Result = TypeVar("Result")

REVALIDATE_SECONDS = 1.0
"""Seconds for which an original counts as unchanged after it was opened."""
_HEADER_TIMEOUT = 20.0
"""Timeout for reading a header in seconds; it takes milliseconds, except from hostile files."""
_SCAN_TIMEOUT = 120.0
"""Timeout for reading all samples of an original, in seconds."""
_TOO_LARGE_TO_SCAN = (
    'Images of the type "{type}" are shown with the range of their samples (range = "data"). For '
    "this one, reading all samples takes about {needed:,} bytes of memory, and limits.memory is "
    'less; range = "type" or two numbers take none.'
)


@dataclass(frozen=True, slots=True)
class Image:
    """One version of an original with its header and its pyramid."""

    original: Original
    """Original, which is open only while the image is held."""
    header: ImageHeader
    facts: ImageFacts
    """Properties of the image that requests are resolved with."""
    pyramid: Pyramid | None
    """Pyramid that the image has or will have; None: it needs none."""

    def closed(self) -> "Image":
        """This image without the open file, for the cache."""
        return self.with_original(self.original.without_file())

    def with_original(self, original: Original) -> "Image":
        """This image with its original open."""
        pyramid = None if self.pyramid is None else replace(self.pyramid, original=original)
        return replace(self, original=original, pyramid=pyramid)


@dataclass(slots=True)
class _Entry:
    image: Image
    checked: float
    """Time at which the original was last found unchanged, by the registry's clock."""
    revalidates: bool
    """Whether the source has to be asked before each response."""


class ImageRegistry:
    """Cache of the most recently requested images."""

    def __init__(
        self,
        originals: Originals,
        pyramids: Pyramids,
        pool: WorkerPool,
        quarantine: Quarantine,
        *,
        capacity: int,
        max_pixels: int,
        bounds: Bounds,
        shared: SharedImages | None = None,
        scan_pool: WorkerPool | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`capacity` is the maximum number of images; `max_pixels` and `bounds` limit originals.

        Workers of `pool` read headers, and those of `scan_pool` all samples of an original.
        """
        self._originals = originals
        self._pyramids = pyramids
        self._pool = pool
        self._scan_pool = scan_pool or pool
        self._quarantine = quarantine
        self._read_header = partial(READ_HEADER, max_pixels=max_pixels, bounds=bounds)
        self._read_metadata = partial(READ_METADATA, max_pixels=max_pixels, bounds=bounds)
        self._read_from_parts = partial(READ_PARTIAL_HEADER, max_pixels=max_pixels, bounds=bounds)
        self._list_pages = partial(LIST_PAGES, bounds=bounds)
        self._shared = shared
        self._clock = clock
        self._images: Lru[Identifier, _Entry] = Lru(capacity)
        self._reads: SingleFlight[tuple[str, FileVersion], Image] = SingleFlight()
        self._checks: SingleFlight[Identifier, bool] = SingleFlight()

    def __repr__(self) -> str:
        return f"<ImageRegistry {len(self._images)}>"

    def __len__(self) -> int:
        return len(self._images)

    def known(self, identifier: Identifier) -> Image | None:
        """Image, if its original was found unchanged within the last second. Never waits.

        None also for sources that have to be asked before each response.
        """
        entry = self._images.get(identifier)
        if entry is None or not self._is_fresh(entry):
            return None
        return entry.image

    def remembered(self, identifier: Identifier) -> Image | None:
        """Image as it was found last, which may be outdated. Never waits."""
        entry = self._images.get(identifier)
        return None if entry is None else entry.image

    def is_fresh(self, image: Image) -> bool:
        """Whether `known` would return this very image. Never waits."""
        entry = self._images.get(image.original.identifier)
        return entry is not None and entry.image is image and self._is_fresh(entry)

    def outdated(self, identifier: Identifier) -> Image | None:
        """Cached image that has to be revalidated; None if there is none."""
        entry = self._images.get(identifier)
        return None if entry is None or self._is_fresh(entry) else entry.image

    async def revalidate(self, image: Image) -> bool:
        """Open the original to check it; whether the image is current, and so `known` again."""
        identifier = image.original.identifier
        return await self._checks.run(identifier, lambda: self._is_current(image))

    async def get(self, identifier: Identifier) -> Image:
        """Image with its original closed; raises the errors of `hold`."""
        known = self.known(identifier) or await self.absent(identifier)
        if known is not None:
            return known
        async with self.hold(identifier) as image:
            entry = self._images.get(identifier)
            return image.closed() if entry is None else entry.image

    async def absent(self, identifier: Identifier) -> Image | None:
        """Image from the record of another replica, if its original was not fetched here."""
        if self._shared is None:
            return None
        began = self._clock()
        found = await self._shared.find(identifier)
        if found is None:
            return None
        remembered = self.remembered(identifier)
        if remembered is None or remembered.original != found[0]:
            remembered = self._image(*found)
        self._remember(remembered, began)
        return remembered

    @asynccontextmanager
    async def hold(
        self, identifier: Identifier, stages: Stages | None = None, *, report: bool = True
    ) -> AsyncIterator[Image]:
        """Context with the image, whose original is open in it.

        With `report`, the observer gets the reason if the original cannot be opened.

        Raises the errors of its source, OriginalRefusedError, OriginalChangedError, NotNowError or
        RenderFailedError.
        """
        stages = stages or Stages()
        began = self._clock()
        async with AsyncExitStack() as stack:
            with stages.measure("fetch"):
                original = await stack.enter_async_context(
                    self._originals.hold(identifier, report=report)
                )
            with stages.measure("header"):
                image = await self._image_of(original)
            self._remember(image, began)
            yield image.with_original(original)

    async def _image_of(self, original: Original) -> Image:
        entry = self._images.get(original.identifier)
        if entry is not None and entry.image.original == original:
            return entry.image
        key = original.fingerprint, original.file.version
        return await self._reads.run(key, lambda: self._read(original))

    async def _read(self, original: Original) -> Image:
        header = await self._with_data_range(original, await self._header_of(original))
        if self._shared is not None:
            self._shared.offer(original, header)
        return self._image(original.without_file(), header)

    def _image(self, closed: Original, header: ImageHeader) -> Image:
        treatment = self._originals.source(closed.identifier.type).treatment
        header = with_treatment(header, treatment)
        facts = ImageFacts(header.dimensions, gray=header.colour is Colour.GRAY)
        return Image(closed, header, facts, self._pyramids.of(closed, header))

    async def _with_data_range(self, original: Original, header: ImageHeader) -> ImageHeader:
        """Header with the measured range of the samples, if the type needs the range."""
        if not needs_measuring(header, self._originals.source(original.identifier.type).treatment):
            return header
        if original.parts is not None:
            await original.fetch_whole()
        cost = cost_of_scan(header)
        demand = Demand(lane_of(header.stored.area, cost.bytes, cost.effort), cost.bytes)
        async with (
            self._errors_of_reading(original, "range", _SCAN_TIMEOUT),
            original.for_worker() as descriptors,
        ):
            measured = await self._scan_pool.run(
                partial(MEASURE_RANGE, header=header),
                original.file,
                timeout=_SCAN_TIMEOUT,
                demand=demand,
                descriptors=descriptors,
            )
        await raise_if_changed(original)
        return replace(header, sample_range=(measured[0], measured[1])) if measured else header

    async def _header_of(self, original: Original) -> ImageHeader:
        page = original.page or 1
        if original.parts is not None:
            of_parts = partial(self._read_from_parts, page=page)
            header = await self._read_parts(original, of_parts, "header", ahead=True)
        else:
            header = await self._read_file(
                original, partial(self._read_header, page=page), "header"
            )
        await raise_if_changed(original)
        return header

    async def metadata(self, image: Image, *, location: bool) -> dict[str, Any]:
        """Metadata in the file of a held image, see `codecs.metadata`.

        Empty for an original that is fetched in parts. Raises the errors of `hold`.
        """
        original = image.original
        if original.parts is not None:
            return {}
        read = partial(self._read_metadata, page=original.page or 1, location=location)
        document: dict[str, Any] = json.loads(await self._read_file(original, read, "metadata"))
        return document

    async def pages(self, image: Image) -> PageList:
        """Pages of the file of a held image; raises the errors of `hold`."""
        original, read = image.original, partial(self._list_pages, header=image.header)
        if original.parts is not None:
            return await self._read_parts(original, read, "pages")
        found = await self._read_file(original, read, "pages")
        if found.result is None:
            raise RenderFailedError("The pages of this image could not be read.")
        return found.result

    async def _read_parts(
        self,
        original: Original,
        read: Callable[..., PartialResult[Result]],
        what: str,
        *,
        ahead: bool = False,
    ) -> Result:
        """Result of a worker's function on a partial original; fetches the bytes it needs."""
        async with self._errors_of_reading(original, what):
            return await from_parts(
                self._pool, read, original, timeout=_HEADER_TIMEOUT, ahead=ahead
            )

    async def _read_file(
        self, original: Original, read: Callable[..., Result], what: str
    ) -> Result:
        """Result of a worker's function on a complete original."""
        async with self._errors_of_reading(original, what), original.for_worker() as descriptors:
            return await self._pool.run(
                read, original.file, timeout=_HEADER_TIMEOUT, descriptors=descriptors
            )

    @asynccontextmanager
    async def _errors_of_reading(
        self,
        original: Original,
        what: str,
        timeout: float = _HEADER_TIMEOUT,  # noqa: ASYNC109
    ) -> AsyncIterator[None]:
        """Context for reading in a worker; converts exceptions, and applies the quarantine.

        If the file has changed meanwhile, raises OriginalChangedError instead of another error.
        """
        try:
            with self._quarantine.guarding(original, None):
                yield
        except ImageTooLargeError as error:
            type_ = original.identifier.type
            text = _TOO_LARGE_TO_SCAN.format(type=type_, needed=error.needed)
            raise ImageTooLargeError(text, error.needed) from error
        except RenderTimedOutError as error:
            raise RenderTimedOutError(
                f"Reading the {what} of the original takes longer than {timeout:g} seconds."
            ) from error
        except IiifServerError:
            await raise_if_changed(original)  # the error may be that of another version
            raise
        except Exception as error:  # its message may contain a path
            await raise_if_changed(original)
            raise RenderFailedError(f"The {what} of this image could not be read.") from error

    async def _is_current(self, image: Image) -> bool:
        if image.original.absent:
            return await self.absent(image.original.identifier) is image
        try:
            # If this fails, the request opens the original again, which reports the error.
            async with self.hold(image.original.identifier, report=False):
                return self.is_fresh(image)
        except IiifServerError:
            return False

    def _is_fresh(self, entry: _Entry) -> bool:
        return not entry.revalidates and self._clock() - entry.checked < REVALIDATE_SECONDS

    def _remember(self, image: Image, checked: float) -> None:
        identifier = image.original.identifier
        entry = self._images.get(identifier)
        if entry is not None and entry.image is image:
            entry.checked = checked
        else:
            revalidates = self._originals.source(identifier.type).revalidates
            self._images.put(identifier, _Entry(image, checked, revalidates))
