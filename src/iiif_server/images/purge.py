"""Purge: removes the cached entries of all originals, of one, or of those of a type."""

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
    """Selection of the originals of a type whose names begin with a prefix."""

    type: str
    prefix: str = ""


class Purge:
    """Removes derivatives and pyramids on request; originals stay."""

    def __init__(self, store: Store, pyramids: Pyramids, originals: Originals) -> None:
        self._store = store
        self.shared: SharedPurges | None = None
        """Purges of other replicas; None: there is no shared cache."""
        self._pyramids = pyramids
        self._originals = originals

    async def all(self) -> int:
        """Remove all entries; the number of removed files.

        Like the other methods, it raises SharedCacheUnavailableError if other replicas cannot be
        notified.
        """
        return await self._run(None)

    async def one(self, identifier: Identifier) -> int:
        """Remove the entries of one original, which need not exist; the number of removed files."""
        return await self._run([group_of(identifier)])

    async def named(self, names: Names) -> int:
        """Remove the entries of the selected originals; the number of removed files.

        Raises UnknownTypeError, or UnlistedTypeError if the source cannot list its names.
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

    async def purge_locally(self, groups: Sequence[str] | None) -> int:
        """Remove groups, or all entries (None), on this machine; the number of removed files."""
        removed = await self._store.threads.run(self._remove, groups, timeout=LONG)
        self._store.mark_purged()
        self._pyramids.close_files()
        return removed

    async def _run(self, groups: Sequence[str] | None) -> int:
        removed = await self.purge_locally(groups)
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
