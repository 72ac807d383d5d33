"""Quarantine: originals over which workers died are refused for a time."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import ceil

from iiif_server.cache.lru import Lru
from iiif_server.errors import (
    OriginalTooComplexError,
    QuarantinedError,
    RenderTimedOutError,
    WorkerDiedError,
)
from iiif_server.images.originals import Original
from iiif_server.telemetry.events import Observer, Quarantined
from iiif_server.workers.admission import Lane

_MAX_ENTRIES = 1024


@dataclass(frozen=True, slots=True)
class _Entry:
    until: float
    lane: Lane | None


class Quarantine:
    """Quarantined originals, by file fingerprint: a replaced file is not in quarantine.

    All pages of a file are refused: it may have thousands, and any of them may crash a worker.

    Work that ends by timeout or by the death of its worker closes its own lane and all higher
    lanes to the original: a slow full-size image says nothing about tiles, but a slow tile does
    about larger images. If the header cannot be read, all lanes are closed.
    """

    def __init__(
        self, seconds: float, observer: Observer, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._seconds = seconds
        self._observe = observer
        self._clock = clock
        self._entries: Lru[str, _Entry] = Lru(_MAX_ENTRIES)

    def __repr__(self) -> str:
        return f"<Quarantine of {len(self)}>"

    def __len__(self) -> int:
        now = self._clock()
        return sum(now < entry.until for entry in self._entries.values())

    @contextmanager
    def guarding(self, original: Original, lane: Lane | None) -> Iterator[None]:
        """Context for a worker's job on an original, in a lane; None: reading its header.

        Raises QuarantinedError if the original is in quarantine. A RenderTimedOutError, a
        WorkerDiedError or an OriginalTooComplexError in the context puts it into quarantine.
        """
        self._check(original.file_fingerprint, lane)
        try:
            yield
        except (RenderTimedOutError, WorkerDiedError, OriginalTooComplexError) as error:
            self._add(original, lane, str(error))
            raise

    def _check(self, fingerprint: str, lane: Lane | None) -> None:
        entry = self._entries.get(fingerprint)
        if entry is None:
            return
        left = entry.until - self._clock()
        if left <= 0:
            self._entries.remove(fingerprint)
        elif _rank(lane) >= _rank(entry.lane):
            raise QuarantinedError(
                "This original is in quarantine, as a worker died over it or took too long. "
                f"It will be tried again in {ceil(left)} seconds.",
                ceil(left),
            )

    def _add(self, original: Original, lane: Lane | None, reason: str) -> None:
        if not self._seconds:
            return
        now, key = self._clock(), original.file_fingerprint
        known = self._entries.get(key)
        if known is not None and now < known.until and _rank(known.lane) < _rank(lane):
            lane = known.lane
        self._entries.put(key, _Entry(now + self._seconds, lane))
        name = "header" if lane is None else str(lane)
        self._observe(Quarantined(str(original.identifier), name, self._seconds, reason))


def _rank(lane: Lane | None) -> int:
    return 0 if lane is None else lane.value
