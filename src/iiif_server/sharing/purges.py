"""Purges of the shared cache: markers in the bucket, which every replica looks for."""

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
"""Seconds after which a purge is repeated in the bucket: by then, what was being made or written
when it was purged has arrived there."""
_RECENT = 600.0
"""Seconds for which a marker makes replicas purge the bucket, too; later it is for their disks."""
_KEPT = 30 * 86_400.0
"""Seconds for which a marker is kept, for replicas that were away."""
_AT_ONCE = 16
"""Originals whose objects are removed at the same time."""
_MOST_GROUPS = 10_000
"""Originals in one marker."""
_MOST_BYTES = 1 << 20
"""Bytes of a marker that is read: three times those of one with `_MOST_GROUPS`."""
ALL = "all"

PurgeHere = Callable[[Sequence[str] | None], Awaitable[int]]
"""Removes groups, or all (None), from one machine; the number of files that were there."""


@dataclass(slots=True)
class _Seen:
    """A marker that this machine has seen."""

    at: float
    """When, in seconds since the epoch."""
    repeated: bool = False


@dataclass(slots=True)
class _State:
    """The markers that were seen, in a file beside the cache."""

    path: Path
    seen: dict[str, _Seen] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path) -> "_State | None":
        """The state; None if there is none yet."""
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
    """Purges in the bucket and on the disk of every replica."""

    def __init__(
        self,
        bucket: Bucket,
        state: Path,
        observer: Observer,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`state` is the file, on this machine, of the markers that it has seen."""
        self._bucket = bucket
        self._state = state
        self._observe = observer
        self._clock = clock
        self._done: set[str] = set()
        """Own markers: what they ask for has been done here and in the bucket."""
        self._blind = False
        """Whether the markers could not be read the last time."""

    def __repr__(self) -> str:
        return f"<SharedPurges {self._bucket!r}>"

    async def purge(self, groups: Sequence[str] | None) -> None:
        """Purge groups, or all (None), in the bucket, and have other replicas purge their disks.

        This machine has to have been purged before.

        Raises SharedCacheUnavailableError: then it has to be tried again.
        """
        chunks: list[Sequence[str]] = (
            [[ALL]]
            if groups is None
            else [groups[at : at + _MOST_GROUPS] for at in range(0, len(groups), _MOST_GROUPS)]
        )
        for chunk in chunks:
            name = f"{PURGES}/{time.time_ns():x}-{secrets.token_hex(8)}"
            # First the marker: if the rest fails, every replica does it.
            await self._bucket.write(name, "\n".join(chunk).encode())
            await self._remove(chunk)
            self._done.add(name)

    async def look(self, purge_here: PurgeHere) -> None:
        """Do what the markers of other replicas ask for; to be called every few seconds.

        `purge_here` removes groups, or all (None), from the disk and memory of this machine. While
        the markers cannot be read, the observer is told once.
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
        if state is None:  # a new machine: its disk has nothing that was purged before it started
            old = [marker for marker in markers if now - marker.modified > _RECENT]
            state = _State(self._state, {marker.name: _Seen(now, True) for marker in old})
        failure = None
        for marker in markers:
            try:
                changed |= await self._take(marker, state, now, purge_here)
            except SharedCacheUnavailableError as error:  # others may be read, and what is
                failure = error  # done is not to be done again at each look
        expired = [marker.name for marker in markers if now - marker.modified > _KEPT]
        if expired:
            await self._bucket.remove(expired)
        self._done -= state.seen.keys()
        current = {marker.name for marker in markers}
        forgotten = state.seen.keys() - current
        for name in forgotten:
            del state.seen[name]
        if changed or forgotten:
            with suppress(OSError):  # then it is done again
                state.write()
        if failure is not None:
            raise failure

    async def _take(self, marker: Listed, state: _State, now: float, purge_here: PurgeHere) -> bool:
        """Do what a marker asks for, if it is new or to be repeated; whether it was."""
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
        if marker.size > _MOST_BYTES:
            return  # none of ours
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
