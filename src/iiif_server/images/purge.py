"""Removing what was made of originals: of all, of one, or of those of a type."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from iiif_server.cache.store import Store
from iiif_server.cache.threads import LONG
from iiif_server.errors import UnlistedTypeError
from iiif_server.iiif.identifier import Identifier
from iiif_server.images.keys import group_of
from iiif_server.images.originals import Originals
from iiif_server.images.pyramids import Pyramids

if TYPE_CHECKING:
    from iiif_server.sharing.purges import SharedPurges


@dataclass(frozen=True, slots=True)
class Names:
    """Which originals: those of a type whose names begin with a prefix."""

    type: str
    prefix: str = ""


class Purge:
    """Derivatives and pyramids are removed; originals stay, and what is asked for is made again."""

    def __init__(self, store: Store, pyramids: Pyramids, originals: Originals) -> None:
        self._store = store
        self.shared: SharedPurges | None = None
        """What purges other replicas; None: there are none."""
        self._pyramids = pyramids
        self._originals = originals

    async def all(self) -> int:
        """Remove everything; the number of files that were there.

        Like the others, it raises SharedCacheUnavailableError if other replicas cannot be told.
        """
        return await self._run(None)

    async def one(self, identifier: Identifier) -> int:
        """Remove what was made of one original, whether it is still there or not."""
        return await self._run([group_of(identifier)])

    async def named(self, names: Names) -> int:
        """Remove what was made of the originals with these names.

        Raises UnknownTypeError, or UnlistedTypeError for a type that cannot tell its names.
        """
        source = self._originals.source(names.type)
        listed = await source.context.threads.run(lambda: _all(source.names()), timeout=LONG)
        if listed is None:
            raise UnlistedTypeError(
                "The originals of this type cannot be listed: purge them one by one, or everything."
            )
        return await self._run(
            [
                group_of(Identifier(names.type, name))
                for name in listed
                if name.startswith(names.prefix)
            ]
        )

    async def here(self, groups: Sequence[str] | None) -> int:
        """Remove groups, or all (None), from this machine."""
        removed = await self._store.threads.run(self._remove, groups, timeout=LONG)
        self._store.mark_purged()
        self._pyramids.close_files()
        return removed

    async def _run(self, groups: Sequence[str] | None) -> int:
        removed = await self.here(groups)
        if self.shared is not None:
            await self.shared.purge(groups)
        return removed

    def _remove(self, groups: Sequence[str] | None) -> int:
        removed = 0
        for group in [None] if groups is None else groups:
            for path in self._store.paths(group):
                self._store.remove(path)
                removed += 1
        return removed


def _all(names: Iterator[str] | None) -> list[str] | None:
    return None if names is None else list(names)
