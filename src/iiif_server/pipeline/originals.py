"""Finding the original that an identifier names."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from iiif_server.errors import ConfigurationError, OriginalChangedError, UnknownTypeError
from iiif_server.image_api.identifier import Identifier
from iiif_server.imaging.plan import Identity
from iiif_server.pipeline.keys import digest, group_of
from iiif_server.sources.base import Source


@dataclass(frozen=True)  # without slots: the digests are computed once
class Original:
    """The file that a source holds for an identifier, as it is now."""

    identifier: Identifier
    file: Identity

    @cached_property
    def group(self) -> str:
        """The digest under which everything made of this identifier is kept."""
        return group_of(self.identifier)

    @cached_property
    def fingerprint(self) -> str:
        """The digest of the identifier and of the state of its file."""
        return digest(str(self.identifier), str(self.file.size), str(self.file.mtime_ns))

    @property
    def modified(self) -> float:
        """When the file was last changed, in seconds since the epoch."""
        return self.file.mtime_ns / 1e9


async def raise_if_changed(original: Original) -> None:
    """Raise OriginalChangedError if the file is not what it was when it was found.

    What failed meanwhile, or was made, may have been of neither the old nor the new one.
    """
    await asyncio.to_thread(_raise_if_changed, original.file)


def _raise_if_changed(file: Identity) -> None:
    try:
        status = file.path.stat()
    except FileNotFoundError as error:
        raise OriginalChangedError("The original has just been removed.") from error
    except OSError:
        return  # its disk fails: whoever reads it says so
    if (status.st_size, status.st_mtime_ns) != (file.size, file.mtime_ns):
        raise OriginalChangedError("The original has just been replaced; please ask again.")


class Originals:
    """The originals of all configured types."""

    def __init__(self, sources: Mapping[str, Source[Any]]) -> None:
        self._sources = dict(sources)

    def __repr__(self) -> str:
        return f"<Originals {', '.join(sorted(self._sources))}>"

    def problems(self) -> dict[str, list[str]]:
        """What an operator would have to mend, by type; may wait for disks."""
        return {name: source.problems() for name, source in sorted(self._sources.items())}

    @property
    def types(self) -> tuple[str, ...]:
        """The names of the types, sorted."""
        return tuple(sorted(self._sources))

    def source(self, type_: str) -> Source[Any]:
        """The source of a type; UnknownTypeError if it is not configured."""
        try:
            return self._sources[type_]
        except KeyError:
            raise UnknownTypeError(
                "The type of this identifier, which is what stands before its first colon, "
                "is not one that this server has."
            ) from None

    def identifiers(self, type_: str) -> Iterator[Identifier]:
        """All originals of a type, sorted.

        Raises UnknownTypeError, or ConfigurationError where its source cannot list them.
        """
        names = self.source(type_).names()
        if names is None:
            raise ConfigurationError(
                f"The originals of the type {type_} cannot be listed: name them in a file, and "
                "give it with --identifiers."
            )
        return (Identifier(type_, name) for name in names)

    @asynccontextmanager
    async def hold(self, identifier: Identifier) -> AsyncIterator[Original]:
        """The original, which stays while the context is open; raises what its source raises."""
        async with self.source(identifier.type).hold(identifier.name) as path:
            try:
                status = path.stat()  # its source has just looked at it: nobody waits for a disk
            except FileNotFoundError as error:
                raise OriginalChangedError("The original has just been removed.") from error
            yield Original(identifier, Identity(path, status.st_size, status.st_mtime_ns))
