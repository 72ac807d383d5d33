"""Purges of the shared cache: markers in the bucket, which every replica polls."""

import asyncio
import json
import secrets
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from iiif_server.errors import SharedCacheUnavailableError
from iiif_server.sharing.bucket import Bucket, Listed
from iiif_server.sharing.objects import ENTRIES, PURGES, folder_of
from iiif_server.telemetry.events import Observer, SharedPurgeSeen, SharedPurgesUnseen

_REPEAT_AFTER = 60.0
"""Seconds after which a purge is repeated in the bucket: by then, images that were being rendered
or written during the purge have arrived there."""
_RECENT = 3600.0
"""Age (seconds) of a marker up to which replicas purge the bucket, too; later only their disks. It
is longer than the difference between two clocks, of which S3 accepts 15 minutes."""
_MARKER_SECONDS = 30 * 86_400.0
"""Seconds after which a marker is removed; until then, it is for replicas that were offline."""
_CONCURRENT_REMOVALS = 16
"""Number of originals whose objects are removed concurrently."""
_MAX_GROUPS = 10_000
"""Maximum number of originals in one marker."""
_MAX_BYTES = 1 << 20
"""Maximum bytes of a marker: three times those of `_MAX_GROUPS` originals."""
ALL = "all"
_DIGITS = frozenset("0123456789abcdef")
_LATER = (
    "The shared cache does not answer; the server's log says why. The purge is done on this "
    "machine, and repeated in the shared cache until it succeeds."
)

PurgeLocally = Callable[[Sequence[str] | None], Awaitable[int]]
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


@dataclass(frozen=True, slots=True)
class _Pending:
    """Purges that this machine has not finished in the bucket: files named like their markers."""

    folder: Path

    def add(self, name: str, groups: Sequence[str]) -> bool:
        """Store a purge; return success."""
        temporary = self.folder / f".{name}"
        try:
            self.folder.mkdir(exist_ok=True)
            temporary.write_text("\n".join(groups))
            temporary.replace(self.folder / name)
        except OSError:
            return False
        return True

    def remove(self, name: str) -> None:
        with suppress(OSError):
            (self.folder / name).unlink()

    def __iter__(self) -> Iterator[tuple[str, list[str]]]:
        """Yield the names and groups of the stored purges, the oldest first."""
        with suppress(OSError):
            for path in sorted(self.folder.glob("[!.]*")):
                yield path.name, path.read_text("ascii", "replace").split()


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
        self._pending = _Pending(state.with_name(f"{state.name}.pending"))
        self._observe = observer
        self._clock = clock
        self._own_markers: set[str] = set()
        """Own markers, whose purges this machine has already done."""
        self._is_failing = False
        """Whether the last attempt to read the markers failed."""

    def __repr__(self) -> str:
        return f"<SharedPurges {self._bucket!r}>"

    async def purge(self, groups: Sequence[str] | None) -> None:
        """Purge groups, or all (None), in the bucket, and have other replicas purge their disks.

        The caller purges this machine first. Raises SharedCacheUnavailableError; then `look` tries
        again until it succeeds, also in another process.
        """
        chunks: list[Sequence[str]] = (
            [[ALL]]
            if groups is None
            else [groups[at : at + _MAX_GROUPS] for at in range(0, len(groups), _MAX_GROUPS)]
        )
        named = {f"{time.time_ns():x}-{secrets.token_hex(8)}": chunk for chunk in chunks}
        stored = [self._pending.add(*item) for item in named.items()]
        try:
            for name, chunk in named.items():
                await self._publish(name, chunk)
                self._own_markers.add(f"{PURGES}/{name}")
        except SharedCacheUnavailableError as error:
            if not all(stored):
                raise
            raise SharedCacheUnavailableError(_LATER, error.reason) from error

    async def _publish(self, name: str, groups: Sequence[str]) -> None:
        """Write the marker of a purge, and purge the bucket."""
        # The marker comes first: if the rest fails, the replicas do it.
        await self._bucket.write(f"{PURGES}/{name}", "\n".join(groups).encode())
        await self._remove(groups)
        self._pending.remove(name)

    async def _publish_pending(self, _: PurgeLocally) -> None:
        for name, groups in self._pending:
            await self._publish(name, groups if groups == [ALL] else _groups_of(groups))

    async def poll(self, purge_locally: PurgeLocally) -> None:
        """Read the markers, and do the purges of other replicas; to be called every few seconds.

        Purges of this machine that have failed in the bucket are repeated first.
        `purge_locally` removes groups, or all (None), from the disk and memory of this machine. If
        the markers cannot be read, the observer gets one event until they can.
        """
        failure = None
        for work in (self._publish_pending, self._poll):
            try:
                await work(purge_locally)
            except SharedCacheUnavailableError as error:
                failure = error
        if failure is not None and not self._is_failing:
            self._observe(SharedPurgesUnseen(str(failure.reason)))
        self._is_failing = failure is not None

    async def _poll(self, purge_locally: PurgeLocally) -> None:
        markers = await self._bucket.listed(PURGES)
        state, now = _State.read(self._state), self._clock()
        changed = state is None
        if state is None:  # a new machine: older purges do not concern its disk
            old = [marker for marker in markers if now - marker.modified > _RECENT]
            state = _State(self._state, {marker.name: _Seen(now, True) for marker in old})
        failure = None
        for marker in markers:
            try:
                changed |= await self._handle_marker(marker, state, now, purge_locally)
            except SharedCacheUnavailableError as error:  # continue with the other markers, and
                failure = error  # write the state, so that finished purges are not repeated
        expired = [marker.name for marker in markers if now - marker.modified > _MARKER_SECONDS]
        if expired:
            await self._bucket.remove(expired)
        self._own_markers -= state.seen.keys()
        current = {marker.name for marker in markers}
        forgotten = state.seen.keys() - current
        for name in forgotten:
            del state.seen[name]
        if changed or forgotten:
            with suppress(OSError):  # without the state, the purges are repeated
                state.write()
        if failure is not None:
            raise failure

    async def _handle_marker(
        self, marker: Listed, state: _State, now: float, purge_locally: PurgeLocally
    ) -> bool:
        """Do the purge of a marker if it is new or due for repetition. Returns whether it was."""
        seen = state.seen.get(marker.name)
        if seen is None:
            if marker.name not in self._own_markers:
                await self._apply_marker(marker, now, purge_locally)
            state.seen[marker.name] = _Seen(now)
            return True
        if seen.repeated or now - seen.at < _REPEAT_AFTER:
            return False
        await self._apply_marker(marker, now, purge_locally)
        seen.repeated = True
        return True

    async def _apply_marker(self, marker: Listed, now: float, purge_locally: PurgeLocally) -> None:
        if marker.size > _MAX_BYTES:
            return  # not a marker of this server
        content = await self._bucket.content(marker.name)
        groups = content.decode("ascii", "replace").split()
        is_all = groups == [ALL]
        chosen = _groups_of(groups)
        files = await purge_locally(None if is_all else chosen)
        self._observe(SharedPurgeSeen(files))
        if abs(now - marker.modified) < _RECENT:
            await self._remove([ALL] if is_all else chosen)

    async def _remove(self, groups: Sequence[str]) -> None:
        removal_slots = asyncio.Semaphore(_CONCURRENT_REMOVALS)

        async def remove(group: str) -> None:
            async with removal_slots:
                await self._bucket.remove_below(ENTRIES if group == ALL else folder_of(group))

        await asyncio.gather(*map(remove, groups))


def _groups_of(words: Sequence[str]) -> list[str]:
    """Words that are groups: 32 hexadecimal digits."""
    return [word for word in words if len(word) == 32 and set(word) <= _DIGITS]  # noqa: PLR2004
