"""Purges of the shared cache: markers in the bucket, which every replica polls."""

import asyncio
import json
import secrets
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from iiif_server.errors import SharedCacheUnavailableError
from iiif_server.sharing.bucket import Bucket, Listed
from iiif_server.sharing.objects import ENTRIES, PURGES, folder_of
from iiif_server.telemetry.events import Observer, SharedPurgeSeen, SharedPurgesUnseen

_AGAIN = 60.0
"""Seconds after which a purge is repeated in the bucket: by then, images that were being rendered
or written during the purge have arrived there."""
_RECENT = 600.0
"""Age (seconds) of a marker up to which replicas purge the bucket, too; later only their disks."""
_KEPT = 30 * 86_400.0
"""Seconds after which a marker is removed; until then, it is for replicas that were offline."""
_AT_ONCE = 16
"""Number of originals whose objects are removed concurrently."""
_MAX_GROUPS = 10_000
"""Maximum number of originals in one marker."""
_MAX_BYTES = 1 << 20
"""Maximum bytes of a marker: three times those of `_MAX_GROUPS` originals."""
ALL = "all"

PurgeHere = Callable[[Sequence[str] | None], Awaitable[int]]
"""Function that purges groups, or all (None), on this machine. Returns the number of files."""


@dataclass(slots=True)
class _Seen:
    """Marker that this machine has seen."""

    at: float
    """Time when it was first seen, in seconds since the epoch."""
    repeated: bool = False


@dataclass(slots=True)
class _State:
    """State of this machine: the markers that it has seen, in a file beside the cache."""

    path: Path
    seen: dict[str, _Seen] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path) -> "_State | None":
        """Read the state; None if it is missing or invalid."""
        try:
            content = json.loads(path.read_bytes())
            return cls(path, {name: _Seen(*value) for name, value in content.items()})
        except (OSError, ValueError, TypeError, AttributeError):
            return None

    def write(self) -> None:
        temporary = self.path.with_name(f"{self.path.name}.{secrets.token_hex(4)}")
        content = {name: (seen.at, seen.repeated) for name, seen in self.seen.items()}
        temporary.write_text(json.dumps(content))
        temporary.replace(self.path)


class SharedPurges:
    """Purges of the bucket and of the disks of all replicas."""

    def __init__(
        self,
        bucket: Bucket,
        state: Path,
        observer: Observer,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`state`: path of the file, on this machine, with the markers that it has seen."""
        self._bucket = bucket
        self._state = state
        self._observe = observer
        self._clock = clock
        self._done: set[str] = set()
        """Own markers, whose purges this machine has already done."""
        self._blind = False
        """Whether the last attempt to read the markers failed."""

    def __repr__(self) -> str:
        return f"<SharedPurges {self._bucket!r}>"

    async def purge(self, groups: Sequence[str] | None) -> None:
        """Purge groups, or all (None), in the bucket, and have other replicas purge their disks.

        The caller purges this machine first. Raises SharedCacheUnavailableError; then the caller
        has to try again.
        """
        chunks: list[Sequence[str]] = (
            [[ALL]]
            if groups is None
            else [groups[at : at + _MAX_GROUPS] for at in range(0, len(groups), _MAX_GROUPS)]
        )
        for chunk in chunks:
            name = f"{PURGES}/{time.time_ns():x}-{secrets.token_hex(8)}"
            # The marker comes first: if the rest fails, the replicas do it.
            await self._bucket.write(name, "\n".join(chunk).encode())
            await self._remove(chunk)
            self._done.add(name)

    async def look(self, purge_here: PurgeHere) -> None:
        """Read the markers, and do the purges of other replicas; to be called every few seconds.

        `purge_here` removes groups, or all (None), from the disk and memory of this machine. If the
        markers cannot be read, the observer gets one event until they can.
        """
        try:
            await self._look(purge_here)
        except SharedCacheUnavailableError as error:
            if not self._blind:
                self._blind = True
                self._observe(SharedPurgesUnseen(str(error.reason)))
        else:
            self._blind = False

    async def _look(self, purge_here: PurgeHere) -> None:
        markers = await self._bucket.listed(PURGES)
        state, now = _State.read(self._state), self._clock()
        changed = state is None
        if state is None:  # a new machine: older purges do not concern its disk
            old = [marker for marker in markers if now - marker.modified > _RECENT]
            state = _State(self._state, {marker.name: _Seen(now, True) for marker in old})
        failure = None
        for marker in markers:
            try:
                changed |= await self._take(marker, state, now, purge_here)
            except SharedCacheUnavailableError as error:  # go on with the other markers, and
                failure = error  # write the state, so that finished purges are not repeated
        expired = [marker.name for marker in markers if now - marker.modified > _KEPT]
        if expired:
            await self._bucket.remove(expired)
        self._done -= state.seen.keys()
        current = {marker.name for marker in markers}
        forgotten = state.seen.keys() - current
        for name in forgotten:
            del state.seen[name]
        if changed or forgotten:
            with suppress(OSError):  # without the state, the purges are repeated
                state.write()
        if failure is not None:
            raise failure

    async def _take(self, marker: Listed, state: _State, now: float, purge_here: PurgeHere) -> bool:
        """Do the purge of a marker if it is new or due for repetition. Returns whether it was."""
        seen = state.seen.get(marker.name)
        if seen is None:
            if marker.name not in self._done:
                await self._obey(marker, now, purge_here)
            state.seen[marker.name] = _Seen(now)
            return True
        if seen.repeated or now - seen.at < _AGAIN:
            return False
        await self._obey(marker, now, purge_here)
        seen.repeated = True
        return True

    async def _obey(self, marker: Listed, now: float, purge_here: PurgeHere) -> None:
        if marker.size > _MAX_BYTES:
            return  # not a marker of this server
        content = await self._bucket.content(marker.name)
        groups = content.decode("ascii", "replace").split()
        everything = groups == [ALL]
        chosen = [group for group in groups if _is_group(group)]
        files = await purge_here(None if everything else chosen)
        self._observe(SharedPurgeSeen(files))
        if abs(now - marker.modified) < _RECENT:
            await self._remove([ALL] if everything else chosen)

    async def _remove(self, groups: Sequence[str]) -> None:
        turns = asyncio.Semaphore(_AT_ONCE)

        async def remove(group: str) -> None:
            async with turns:
                await self._bucket.remove_below(ENTRIES if group == ALL else folder_of(group))

        await asyncio.gather(*map(remove, groups))


def _is_group(text: str) -> bool:
    return len(text) == 32 and all(character in "0123456789abcdef" for character in text)  # noqa: PLR2004
