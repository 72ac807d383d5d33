"""The headers of originals, read in processes of their own and remembered."""

from collections import OrderedDict
from functools import partial

from iiif_server.cache.single_flight import SingleFlight
from iiif_server.errors import IiifServerError, RenderFailedError, RenderTimedOutError
from iiif_server.images.originals import Original, raise_if_changed
from iiif_server.images.quarantine import Quarantine
from iiif_server.plan.bounds import Bounds
from iiif_server.plan.header import ImageHeader
from iiif_server.plan.jobs import READ_HEADER
from iiif_server.plan.local_file import FileVersion
from iiif_server.workers.pool import WorkerPool

_TIMEOUT = 20.0
"""Seconds for reading a header: it takes milliseconds, unless the file means harm."""


_Key = tuple[str, FileVersion]


class Headers:
    """The `capacity` headers used last, by the original's identifier and state."""

    def __init__(
        self,
        pool: WorkerPool,
        quarantine: Quarantine,
        capacity: int,
        max_pixels: int,
        bounds: Bounds,
    ) -> None:
        self._pool = pool
        self._quarantine = quarantine
        self._capacity = capacity
        self._probe = partial(READ_HEADER, max_pixels=max_pixels, bounds=bounds)
        self._known: OrderedDict[_Key, ImageHeader] = OrderedDict()
        self._flights: SingleFlight[_Key, ImageHeader] = SingleFlight()

    def __repr__(self) -> str:
        return f"<Headers {len(self._known)} of {self._capacity}>"

    def __len__(self) -> int:
        return len(self._known)

    async def of(self, original: Original) -> ImageHeader:
        """The header of an original.

        Raises OriginalRefusedError, OriginalChangedError, NotNowError or RenderFailedError.
        """
        key = original.fingerprint, original.file.version
        header = self._known.get(key)
        if header is None:
            header = await self._flights.run(key, lambda: self._read(original))
        self._remember(key, header)
        return header

    async def _read(self, original: Original) -> ImageHeader:
        try:
            with self._quarantine.guarding(original, None):
                async with original.for_worker() as descriptors:
                    header = await self._pool.run(
                        self._probe, original.file, timeout=_TIMEOUT, descriptors=descriptors
                    )
        except RenderTimedOutError as error:
            raise RenderTimedOutError(
                f"Reading the header of the original takes longer than {_TIMEOUT:g} seconds."
            ) from error
        except IiifServerError:
            await raise_if_changed(original)  # it was not this one that could not be read
            raise
        except Exception as error:  # whatever else a worker stumbles on may hold a path
            await raise_if_changed(original)
            raise RenderFailedError("The header of this image could not be read.") from error
        await raise_if_changed(original)
        return header

    def _remember(self, key: _Key, header: ImageHeader) -> None:
        self._known[key] = header
        self._known.move_to_end(key)
        while len(self._known) > self._capacity:
            self._known.popitem(last=False)
