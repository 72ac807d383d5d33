"""Finding the original that an identifier names."""

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
from iiif_server.plan.local_file import LocalFile, removed, replaced
from iiif_server.sources.base import Source
from iiif_server.sources.opening import OpenedFile, Parts, open_file, refusal_of, user_name
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
    """The file that a source holds for an identifier, in the version that was opened."""

    identifier: Identifier
    file: LocalFile
    content: str | None = None
    """What tells its content from another on any machine, if its source knows: see OpenedFile."""
    page: int | None = None
    """The page of the file that the identifier names, counted from 1; None: the identifier names
    the file, of which the first page is shown."""
    terms: Terms = NO_TERMS
    """Its own rights and limits."""
    opened: OpenedFile | None = field(default=None, compare=False, repr=False)
    """The file itself, as long as it is held."""
    threads: StorageThreads | None = field(default=None, compare=False, repr=False)
    """Those of its storage."""
    absent: bool = False
    """Whether it is not on this machine: what is known of it was read from the shared cache."""

    @cached_property
    def group(self) -> str:
        """The digest under which everything made of this identifier is kept."""
        return group_of(self.identifier)

    @cached_property
    def fingerprint(self) -> str:
        """The digest of the identifier and of the state of its content, for cache keys.

        It is portable: the same original has the same one on another machine.
        """
        if self.page in {None, 1}:  # `name;1` and `name` share what is cached
            return digest(str(self.file_identifier), *self._state)
        return digest(str(self.identifier), *self._state, f"page {self.page}")

    @property
    def file_identifier(self) -> Identifier:
        """The identifier without a page."""
        if self.page is None:
            return self.identifier
        return replace(self.identifier, name=split_page(self.identifier.name)[0])

    @cached_property
    def file_fingerprint(self) -> str:
        """The same of the file, for all of its pages."""
        return digest(self.group, *self._state)

    @property
    def _state(self) -> Sequence[str]:
        if self.content is not None:
            return (self.content,)
        return str(self.file.size), str(self.file.mtime_ns)

    @property
    def parts(self) -> Parts | None:
        """What brings absent bytes of the file, as long as it is held; None: it has all."""
        return None if self.opened is None else self.opened.parts

    async def bring_whole(self) -> None:
        """Have all bytes of the file present; raises what its source raises."""
        if self.parts is not None:
            await self.parts.bring([(0, self.parts.size)])
        elif self.file.version.partial:
            raise removed()

    @property
    def modified(self) -> float:
        """When the file was last changed, in seconds since the epoch."""
        return self.file.mtime_ns / 1e9

    @asynccontextmanager
    async def for_worker(self) -> AsyncIterator[Sequence[int]]:
        """The descriptors that a job on this original is given: one, open as long as the context.

        It is opened for this job alone: whoever shares a descriptor shares the place in the file at
        which the next bytes are read. Raises what opening the file raises, StorageTimedOutError
        included. Without the threads of a storage there is none, and the path has to do.
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
        """The same to be remembered, when the file is closed."""
        return replace(self, opened=None)


async def raise_if_changed(original: Original) -> None:
    """Raise OriginalChangedError if the file is not what it was when it was found.

    What failed meanwhile, or was made, may have been of neither the old nor the new one.
    """
    if original.threads is None:
        _raise_if_changed(original.file)
        return
    await original.threads.run(_raise_if_changed, original.file)


def _raise_if_changed(file: LocalFile) -> None:
    try:
        status = file.path.stat()
    except FileNotFoundError as error:
        raise removed() from error
    except OSError:
        return  # its disk fails: whoever reads it says so
    if not file.version.matches(status):
        raise replaced()


class Originals:
    """The originals of all configured types."""

    def __init__(
        self,
        sources: Mapping[str, Source[Any]],
        observer: Observer = lambda _: None,
    ) -> None:
        self._sources = dict(sources)
        self._observe = observer
        self._silent: set[str] = set()
        """Types whose storage did not answer when it was last told of."""

    def __repr__(self) -> str:
        return f"<Originals {', '.join(sorted(self._sources))}>"

    async def problems(self, seconds: float, *, upstream: bool = False) -> dict[str, list[str]]:
        """What an operator has to correct, by type; found within so many seconds each.

        With `upstream`, servers that originals are fetched from are asked, too.
        """
        found = await asyncio.gather(
            *(_problems(source, seconds, upstream) for _, source in sorted(self._sources.items()))
        )
        return dict(zip(sorted(self._sources), found, strict=True))

    @property
    def not_answering(self) -> tuple[str, ...]:
        """The types whose storage does not answer, sorted."""
        return tuple(
            name
            for name, source in sorted(self._sources.items())
            if not source.context.threads.answers
        )

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
                f"This server has no type {shown(type_)}: the type is the part of the identifier "
                "before its first colon."
            ) from None

    def identifiers(self, type_: str) -> Iterator[Identifier]:
        """All originals of a type, sorted.

        Raises UnknownTypeError, or ConfigurationError where its source cannot list them or its
        folder is missing or cannot be read.
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
        """The original, open as long as the context is; raises what its source raises.

        Whatever else a source raises becomes an error of ours here. With `report`, the observer is
        told why the original could not be opened.
        """
        observe = self._observe if report else _tell_nobody
        source = self.source(identifier.type)
        async with AsyncExitStack() as stack:
            try:
                held = await _enter(stack, source, identifier.name)
                if isinstance(held, Path):
                    held = await stack.enter_async_context(_opened(source, held))
            except IiifServerError as error:
                self._tell(identifier, error, error.__cause__, observe)
                raise
            except OSError as error:
                refusal = refusal_of(error)
                self._tell(identifier, refusal, error, observe)
                raise refusal from error
            except Exception as error:  # of a plug-in
                observe(SourceFailed(str(identifier), repr(error), None, user_name()))
                raise SourceUnavailableError(
                    "The source of this original failed; the server's log says why."
                ) from error
            if identifier.type in self._silent:
                self._silent.discard(identifier.type)
                self._observe(StorageAnswers(identifier.type))
            threads = source.context.threads
            file, content, page = held.file, held.content, held.page
            yield Original(identifier, file, content, page, held.terms, held, threads)

    def _tell(
        self,
        identifier: Identifier,
        refusal: IiifServerError,
        cause: BaseException | None,
        observe: Observer,
    ) -> None:
        """Tell the operator why an original cannot be opened, unless there is none."""
        if isinstance(refusal, StorageTimedOutError):
            if identifier.type not in self._silent:
                self._silent.add(identifier.type)
                self._observe(StorageSilent(identifier.type))
        elif isinstance(refusal, OutsideFolderError):
            observe(SourceFailed(str(identifier), refusal.detail, refusal.path, user_name()))
        elif (
            not isinstance(refusal, NotFoundError)
            and isinstance(cause, OSError)
            and cause.errno is not None
        ):
            reason = f"{errorcode.get(cause.errno, cause.errno)}: {cause.strerror}"
            path = os.fsdecode(cause.filename) if cause.filename else None
            observe(SourceFailed(str(identifier), reason, path, user_name()))


async def _enter(stack: AsyncExitStack, source: Source[Any], name: str) -> OpenedFile | Path:
    """The original of a name, held; or that of a page, if no original has the whole name."""
    try:
        return await stack.enter_async_context(source.hold(name))
    except (OriginalNotFoundError, UntrustedUrlError):
        whole, page = split_page(name)
        if page is None:
            raise
        return await stack.enter_async_context(source.hold_page(whole, page))


def _tell_nobody(_: Event) -> None:
    """Observe nothing."""


@asynccontextmanager
async def _opened(source: Source[Any], path: Path) -> AsyncIterator[OpenedFile]:
    """The file at a path that a source of an older release has named."""
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
