"""Originals: finds and opens the file of an identifier."""

import asyncio
import os
import warnings
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from errno import errorcode
from functools import cached_property
from pathlib import Path
from typing import Any

from iiif_server.cache.threads import StorageThreads
from iiif_server.errors import (
    ConfigurationError,
    IiifServerError,
    NotFoundError,
    OriginalNotFoundError,
    OutsideFolderError,
    SourceUnavailableError,
    StorageTimedOutError,
    UnknownTypeError,
    UntrustedUrlError,
    shown,
)
from iiif_server.iiif.identifier import Identifier, split_page
from iiif_server.images.keys import digest, group_of
from iiif_server.plan.local_file import LocalFile, removed_error, replaced_error
from iiif_server.sources.base import Source
from iiif_server.sources.opening import OpenedFile, Parts, error_of, open_file, user_name
from iiif_server.sources.terms import NO_TERMS, Terms
from iiif_server.telemetry.events import (
    Event,
    Observer,
    SourceFailed,
    StorageAnswers,
    StorageSilent,
)


@dataclass(frozen=True)  # without slots: the digests are computed once
class Original:
    """File of an identifier, in the version that the source has opened."""

    identifier: Identifier
    file: LocalFile
    content: str | None = None
    """ETag or checksum of the content, the same on any machine; None if the source has none."""
    page: int | None = None
    """Page in the identifier, counted from 1; None: the identifier has no page, and the first page
    is shown."""
    terms: Terms = NO_TERMS
    """Rights and limits of this original."""
    opened: OpenedFile | None = field(default=None, compare=False, repr=False)
    """Open file, as long as it is held."""
    threads: StorageThreads | None = field(default=None, compare=False, repr=False)
    """Threads of the storage of this original."""
    absent: bool = False
    """Whether the file is not on this machine, and its data come from the shared cache."""

    @cached_property
    def group(self) -> str:
        """Group of all entries of this original in the store."""
        return group_of(self.identifier)

    @cached_property
    def fingerprint(self) -> str:
        """Digest of the identifier and of the version of its content, for cache keys.

        The same original has the same fingerprint on other machines.
        """
        if self.page in {None, 1}:  # `name;1` and `name` share what is cached
            return digest(str(self.file_identifier), *self._state)
        return digest(str(self.identifier), *self._state, f"page {self.page}")

    @property
    def file_identifier(self) -> Identifier:
        """Identifier without a page."""
        if self.page is None:
            return self.identifier
        return replace(self.identifier, name=split_page(self.identifier.name)[0])

    @cached_property
    def file_fingerprint(self) -> str:
        """Fingerprint of the file, the same for all of its pages."""
        return digest(self.group, *self._state)

    @property
    def _state(self) -> Sequence[str]:
        if self.content is not None:
            return (self.content,)
        return str(self.file.size), str(self.file.mtime_ns)

    @property
    def parts(self) -> Parts | None:
        """Fetcher of missing bytes, while the file is held; None: the file is complete."""
        return None if self.opened is None else self.opened.parts

    async def fetch_whole(self) -> None:
        """Fetch all missing bytes of the file; raises the errors of its source."""
        if self.parts is not None:
            await self.parts.fetch([(0, self.parts.size)])
        elif self.file.version.partial:
            raise removed_error()

    @property
    def modified(self) -> float:
        """Modification time of the file, in seconds since the epoch."""
        return self.file.mtime_ns / 1e9

    @asynccontextmanager
    async def for_worker(self) -> AsyncIterator[Sequence[int]]:
        """Context with the descriptors for a worker's job on this original: one, open in it.

        Each job gets its own descriptor, because a shared one would share the position in the file.
        Raises the errors of opening the file, and StorageTimedOutError. Without the threads of a
        storage there is no descriptor, and the worker opens the path.
        """
        threads = self.threads
        if threads is None:
            yield ()
            return
        descriptor = await threads.run(self.file.open, undo=os.close)
        try:
            yield (descriptor,)
        finally:
            threads.begin(os.close, descriptor)

    def without_file(self) -> "Original":
        """This original without the open file, for caches."""
        return replace(self, opened=None)


async def raise_if_changed(original: Original) -> None:
    """Raise OriginalChangedError if the file has changed since it was opened.

    A result or an error in between may then be of neither version.
    """
    if original.threads is None:
        _raise_if_changed(original.file)
        return
    await original.threads.run(_raise_if_changed, original.file)


def _raise_if_changed(file: LocalFile) -> None:
    try:
        status = file.path.stat()
    except FileNotFoundError as error:
        raise removed_error() from error
    except OSError:
        return  # the disk fails: reading the file reports it
    if not file.version.matches(status):
        raise replaced_error()


class Originals:
    """Originals of all configured types."""

    def __init__(
        self,
        sources: Mapping[str, Source[Any]],
        observer: Observer = lambda _: None,
    ) -> None:
        self._sources = dict(sources)
        self._observe = observer
        self._silent: set[str] = set()
        """Types whose storage was last reported as silent."""

    def __repr__(self) -> str:
        return f"<Originals {', '.join(sorted(self._sources))}>"

    async def problems(self, seconds: float, *, upstream: bool = False) -> dict[str, list[str]]:
        """Problems for the operator by type; each type is checked for at most `seconds`.

        With `upstream`, also checks the servers that originals are fetched from.
        """
        found = await asyncio.gather(
            *(_problems(source, seconds, upstream) for _, source in sorted(self._sources.items()))
        )
        return dict(zip(sorted(self._sources), found, strict=True))

    @property
    def not_answering(self) -> tuple[str, ...]:
        """Sorted names of the types whose storage does not respond."""
        return tuple(
            name
            for name, source in sorted(self._sources.items())
            if not source.context.threads.answers
        )

    @property
    def types(self) -> tuple[str, ...]:
        """Sorted names of the types."""
        return tuple(sorted(self._sources))

    def source(self, type_: str) -> Source[Any]:
        """Source of a type; UnknownTypeError if it is not configured."""
        try:
            return self._sources[type_]
        except KeyError:
            raise UnknownTypeError(
                f"This server has no type {shown(type_)}: the type is the part of the identifier "
                "before its first colon."
            ) from None

    def identifiers(self, type_: str) -> Iterator[Identifier]:
        """All originals of a type, sorted.

        Raises UnknownTypeError, or ConfigurationError if its source cannot list them, or if its
        folder is missing or unreadable.
        """
        source = self.source(type_)
        if problems := source.problems():
            raise ConfigurationError(f"The type {type_}: {'; '.join(problems)}.")
        names = source.names()
        if names is None:
            raise ConfigurationError(
                f"The originals of the type {type_} cannot be listed: name them in a file, and "
                "give it with --identifiers."
            )
        return (Identifier(type_, name) for name in names)

    @asynccontextmanager
    async def hold(self, identifier: Identifier, *, report: bool = True) -> AsyncIterator[Original]:
        """Context with the open original; raises IiifServerError.

        Other exceptions of a source are converted here. With `report`, the observer gets the reason
        if the original cannot be opened.
        """
        observe = self._observe if report else _ignore_event
        source = self.source(identifier.type)
        async with AsyncExitStack() as stack:
            try:
                opened_file = await _enter(stack, source, identifier.name)
                if isinstance(opened_file, Path):
                    opened_file = await stack.enter_async_context(_opened(source, opened_file))
            except IiifServerError as error:
                self._report_failure(identifier, error, error.__cause__, observe)
                raise
            except OSError as error:
                client_error = error_of(error)
                self._report_failure(identifier, client_error, error, observe)
                raise client_error from error
            except Exception as error:  # of a plug-in
                observe(SourceFailed(str(identifier), repr(error), None, user_name()))
                raise SourceUnavailableError(
                    "The source of this original failed; the server's log says why."
                ) from error
            if identifier.type in self._silent:
                self._silent.discard(identifier.type)
                self._observe(StorageAnswers(identifier.type))
            threads = source.context.threads
            file, content, page = opened_file.file, opened_file.content, opened_file.page
            yield Original(identifier, file, content, page, opened_file.terms, opened_file, threads)

    def _report_failure(
        self,
        identifier: Identifier,
        client_error: IiifServerError,
        cause: BaseException | None,
        observe: Observer,
    ) -> None:
        """Report why an original cannot be opened, unless it does not exist."""
        if isinstance(client_error, StorageTimedOutError):
            if identifier.type not in self._silent:
                self._silent.add(identifier.type)
                self._observe(StorageSilent(identifier.type))
        elif isinstance(client_error, OutsideFolderError):
            observe(
                SourceFailed(str(identifier), client_error.detail, client_error.path, user_name())
            )
        elif (
            not isinstance(client_error, NotFoundError)
            and isinstance(cause, OSError)
            and cause.errno is not None
        ):
            reason = f"{errorcode.get(cause.errno, cause.errno)}: {cause.strerror}"
            path = os.fsdecode(cause.filename) if cause.filename else None
            observe(SourceFailed(str(identifier), reason, path, user_name()))


async def _enter(stack: AsyncExitStack, source: Source[Any], name: str) -> OpenedFile | Path:
    """Held original with this name; if there is none and it is `name;N`, the page of `name`."""
    try:
        return await stack.enter_async_context(source.hold(name))
    except (OriginalNotFoundError, UntrustedUrlError):
        whole, page = split_page(name)
        if page is None:
            raise
        return await stack.enter_async_context(source.hold_page(whole, page))


def _ignore_event(_: Event) -> None:
    """Observe nothing."""


@asynccontextmanager
async def _opened(source: Source[Any], path: Path) -> AsyncIterator[OpenedFile]:
    """Context with the open file of a source of an older release, which yields a path."""
    warnings.warn(
        f"{type(source).__name__}.hold yields a path: yield what "
        "iiif_server.sources.opening.open_in_folder or open_file returns (docs/plugins.md)",
        DeprecationWarning,
        stacklevel=2,
    )
    threads = source.context.threads
    opened = await threads.run(open_file, path, undo=OpenedFile.close)
    opened.close_by = threads.begin
    try:
        yield opened
    finally:
        opened.close()


async def _problems(source: Source[Any], seconds: float, upstream: bool) -> list[str]:  # noqa: FBT001
    try:
        found = await source.context.threads.run(source.problems, timeout=seconds)
        if found or not upstream:
            return found
        return await source.context.threads.run(source.upstream_problems, timeout=seconds)
    except StorageTimedOutError:
        return []  # see `not_answering`
    except Exception as error:  # noqa: BLE001 - of a plug-in
        return [f"the source cannot tell whether it works: {error!r}"]
