"""Readiness of the server, for load balancers and orchestrators."""

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

RESULT_TTL = 1.0
"""Seconds for which the result of a check is cached."""
CHECK_SECONDS = 2.0
"""Timeout of the check of a disk, which may be on a network that is down."""


@dataclass(frozen=True, slots=True)
class Objection:
    """Reason why the server is not ready."""

    text: str
    """Public message, without paths and names of types."""
    detail: str
    """Details for operators, for the log."""


LEAVING = Objection("The server is stopping.", "asked to stop")


@dataclass(slots=True)
class Draining:
    """Whether this process drains after SIGTERM: it still responds, but is not ready."""

    begun: bool = False


def objections(
    sources: Mapping[str, Sequence[str]],
    store: Sequence[str],
    workers: Mapping[str, int],
    silent: Collection[str] = (),
) -> tuple[Objection, ...]:
    """Reasons why a server is not ready: problems by type and of the store, workers by pool.

    `silent` are types whose storage does not respond. They count only if they are all types:
    otherwise a load balancer would take the other types out of service, too. Pure.
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
        detail = f"no answer within {CHECK_SECONDS:g} seconds: {', '.join(silent)}"
        found.append(Objection(text, detail))
    if store:
        text = "The cache cannot store images: the log has the reason."
        found.append(Objection(text, "; ".join(store)))
    missing = [name for name, number in workers.items() if not number]
    if missing:
        text = "There are no processes that make images or read their headers."
        found.append(Objection(text, f"no worker in the pool {' and '.join(missing)}"))
    return tuple(found)


class Readiness:
    """Checks sources, cache and workers on request, at most once per second."""

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
        """Drain state of the process; replaced by the shared one at startup."""
        self._looks: SingleFlight[None, tuple[Objection, ...]] = SingleFlight()
        self._found: tuple[Objection, ...] = ()
        self._until = 0.0
        self._told: tuple[str, ...] = ()
        self._since = 0.0

    def __repr__(self) -> str:
        return f"<Readiness {'; '.join(item.detail for item in self._found) or 'ready'}>"

    async def objections(self) -> tuple[Objection, ...]:
        """Reasons why the server is not ready, at most one second old; empty if it is ready.

        Takes at most two seconds, even if a disk does not respond.
        """
        if self.draining.begun:
            return (LEAVING,)
        if self._clock() >= self._until:
            self._found = await self._check_once()
            self._until = self._clock() + RESULT_TTL
            self._report()
        return self._found

    async def _check_once(self) -> tuple[Objection, ...]:
        # Single flight, so that the threads that wait for a disk do not accumulate.
        return await self._looks.run(None, self._check_all)

    async def _check_all(self) -> tuple[Objection, ...]:
        problems, troubles = await asyncio.gather(
            self._originals.problems(CHECK_SECONDS), self._storage_problems()
        )
        return objections(
            problems,
            troubles,
            {name: pool.stats.workers for name, pool in self._pools.items()},
            self._originals.not_answering,
        )

    async def _storage_problems(self) -> list[str]:
        threads = self._store.threads
        try:
            return await threads.run(self._store.troubles, timeout=CHECK_SECONDS)
        except StorageTimedOutError:
            return [f"cache_path does not answer within {CHECK_SECONDS:g} seconds"]
        except Exception as error:  # noqa: BLE001 - any error means not ready
            return [repr(error)]

    def _report(self) -> None:
        """Report a change since the last check to the observer."""
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
