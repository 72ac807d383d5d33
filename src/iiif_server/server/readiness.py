"""Whether the server can do its work as it should: what load balancers and orchestrators ask."""

import asyncio
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from iiif_server.cache.single_flight import SingleFlight
from iiif_server.cache.store import Store
from iiif_server.errors import StorageTimedOutError
from iiif_server.images.originals import Originals
from iiif_server.telemetry.events import BecameReady, BecameUnready, Observer
from iiif_server.workers.pool import WorkerPool

SECONDS_KNOWN = 1.0
"""How long what was found is told again without looking."""
SECONDS_TO_LOOK = 2.0
"""After so long a disk does not answer: it may be one of a network that is gone."""


@dataclass(frozen=True, slots=True)
class Objection:
    """Why the server is not ready."""

    text: str
    """What may be told to anyone: no path, and no name of a type."""
    detail: str
    """What an operator needs to know besides; for the log."""


LEAVING = Objection("The server is stopping.", "asked to stop")


@dataclass(slots=True)
class Draining:
    """Whether this process has been told to end: then it answers, but is not ready."""

    begun: bool = False


def objections(
    sources: Mapping[str, Sequence[str]],
    store: Sequence[str],
    workers: Mapping[str, int],
    silent: Collection[str] = (),
) -> tuple[Objection, ...]:
    """Why a server is not ready, by the problems of types and store, and the workers of pools.

    One of several types whose storage is `silent` is no reason: to take the server out of service
    would take all other types with it. Pure.
    """
    found = []
    wrong = {name: problems for name, problems in sources.items() if problems}
    if wrong:
        text = (
            f"The originals of {len(wrong)} of {len(sources)} types cannot be read: the log "
            "and `iiif-server check` say which."
        )
        each = (f"type {name}: {one}" for name, problems in wrong.items() for one in problems)
        found.append(Objection(text, "; ".join(each)))
    if sources and len(silent) == len(sources):
        text = "The disks of the originals do not answer in time."
        detail = f"no answer within {SECONDS_TO_LOOK:g} seconds: {', '.join(silent)}"
        found.append(Objection(text, detail))
    if store:
        text = "The cache cannot keep what is made: the log says why."
        found.append(Objection(text, "; ".join(store)))
    missing = [name for name, number in workers.items() if not number]
    if missing:
        text = "There are no processes that make images or read their headers."
        found.append(Objection(text, f"no worker in the pool {' and '.join(missing)}"))
    return tuple(found)


class Readiness:
    """Looks at sources, cache and workers when somebody asks, at most once a second."""

    def __init__(
        self,
        originals: Originals,
        store: Store,
        pools: Mapping[str, WorkerPool],
        observer: Observer,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._originals = originals
        self._store = store
        self._pools = pools
        self._observe = observer
        self._clock = clock
        self.draining = Draining()
        """That of the process, once it is known."""
        self._looks: SingleFlight[None, tuple[Objection, ...]] = SingleFlight()
        self._found: tuple[Objection, ...] = ()
        self._until = 0.0
        self._told: tuple[str, ...] = ()
        self._since = 0.0

    def __repr__(self) -> str:
        return f"<Readiness {'; '.join(item.detail for item in self._found) or 'ready'}>"

    async def objections(self) -> tuple[Objection, ...]:
        """Why the server is not ready, as found a second ago at most; empty: it is.

        Takes two seconds at most, whatever the disks do.
        """
        if self.draining.begun:
            return (LEAVING,)
        if self._clock() >= self._until:
            self._found = await self._look()
            self._until = self._clock() + SECONDS_KNOWN
            self._tell()
        return self._found

    async def _look(self) -> tuple[Objection, ...]:
        # One look at a time, for everybody who asks: threads that wait for a disk do not pile up.
        return await self._looks.run(None, self._look_at_all)

    async def _look_at_all(self) -> tuple[Objection, ...]:
        problems, troubles = await asyncio.gather(
            self._originals.problems(SECONDS_TO_LOOK), self._troubles()
        )
        return objections(
            problems,
            troubles,
            {name: pool.stats.workers for name, pool in self._pools.items()},
            self._originals.not_answering,
        )

    async def _troubles(self) -> list[str]:
        threads = self._store.threads
        try:
            return await threads.run(self._store.troubles, timeout=SECONDS_TO_LOOK)
        except StorageTimedOutError:
            return [f"cache_path does not answer within {SECONDS_TO_LOOK:g} seconds"]
        except Exception as error:  # noqa: BLE001 - not ready, whatever it is
            return [repr(error)]

    def _tell(self) -> None:
        """Tell what has changed since the last look."""
        details = tuple(item.detail for item in self._found)
        if details == self._told:
            return
        if not self._told:
            self._since = self._clock()
        if details:
            self._observe(BecameUnready(details))
        else:
            self._observe(BecameReady(round(self._clock() - self._since, 1)))
        self._told = details
