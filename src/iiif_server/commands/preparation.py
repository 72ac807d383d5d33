"""Making pyramids ahead of time."""

from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing
from dataclasses import dataclass
from enum import StrEnum

from iiif_server.cache.window import completed
from iiif_server.errors import IiifServerError
from iiif_server.iiif.identifier import Identifier
from iiif_server.images.headers import Headers
from iiif_server.images.originals import Originals
from iiif_server.images.pyramids import Pyramids


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

    async def prepare(self, identifiers: Iterable[Identifier]) -> AsyncGenerator[Prepared, None]:
        """What was done for each original, as it is done.

        What is there is left as it is, so that a preparation that was interrupted goes on where it
        stopped. One that fails does not stop the others.
        """
        jobs = (self._one(identifier) for identifier in identifiers)
        async with aclosing(completed(jobs, self._at_once)) as results:
            async for prepared in results:
                yield prepared

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
