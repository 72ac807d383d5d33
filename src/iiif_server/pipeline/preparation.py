"""Making pyramids ahead of time."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from enum import StrEnum

from iiif_server.errors import IiifServerError
from iiif_server.image_api.identifier import Identifier
from iiif_server.pipeline.headers import Headers
from iiif_server.pipeline.originals import Originals
from iiif_server.pipeline.pyramids import Pyramids


class Outcome(StrEnum):
    """What was done for one original."""

    MADE = "made"
    PRESENT = "present"
    """Nothing: its pyramid was there."""
    SMALL = "small"
    """Nothing: it does without a pyramid."""
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Prepared:
    """What was done for one original, and why not more."""

    identifier: Identifier
    outcome: Outcome
    reason: str = ""


class Preparation:
    """Pyramids for many originals, some at a time."""

    def __init__(
        self, originals: Originals, headers: Headers, pyramids: Pyramids, at_once: int
    ) -> None:
        self._originals = originals
        self._headers = headers
        self._pyramids = pyramids
        self._at_once = at_once

    async def prepare(self, identifiers: Iterable[Identifier]) -> AsyncIterator[Prepared]:
        """What was done for each original, as it is done.

        What is there is left as it is, so that a preparation that was interrupted goes on where it
        stopped. One that fails does not stop the others.
        """
        waiting: set[asyncio.Task[Prepared]] = set()
        try:
            for identifier in identifiers:
                waiting.add(asyncio.create_task(self._one(identifier)))
                if len(waiting) >= self._at_once:
                    done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                    for task in done:
                        yield task.result()
            for finished in asyncio.as_completed(waiting):
                yield await finished
        finally:
            for task in waiting:
                task.cancel()

    async def _one(self, identifier: Identifier) -> Prepared:
        try:
            async with self._originals.hold(identifier) as original:
                header = await self._headers.of(original)
                pyramid = self._pyramids.of(original, header)
                if pyramid is None:
                    return Prepared(identifier, Outcome.SMALL)
                made = await self._pyramids.make(pyramid)
        except IiifServerError as error:
            return Prepared(identifier, Outcome.FAILED, str(error))
        return Prepared(identifier, Outcome.MADE if made else Outcome.PRESENT)
