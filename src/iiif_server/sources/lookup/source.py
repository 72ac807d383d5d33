"""Source `lookup`: finds where an original is, and has another type serve it by its rules."""

import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from iiif_server.cache.failures import RecentFailures
from iiif_server.cache.lru import Lru
from iiif_server.cache.single_flight import SingleFlight
from iiif_server.cache.threads import StorageThreads
from iiif_server.errors import (
    ConfigurationError,
    OriginalNotFoundError,
    SourceTimedOutError,
    SourceUnavailableError,
    StorageTimedOutError,
)
from iiif_server.plan.header import Treatment
from iiif_server.sources.access_options import access_of
from iiif_server.sources.base import Source, SourceContext, Step
from iiif_server.sources.lookup.answers import Answer
from iiif_server.sources.lookup.options import LookupOptions
from iiif_server.sources.lookup.service import ServiceLookup
from iiif_server.sources.lookup.table import TableLookup
from iiif_server.sources.opening import OpenedFile, open_file
from iiif_server.sources.terms import Terms
from iiif_server.telemetry.events import LookupFailed

_CACHE_BYTES = 16_000_000
"""Approximate maximum bytes of the cache of answers."""
_OVERHEAD = 1000
"""Approximate bytes of a cached answer, besides its text."""


class Lookup(Protocol):
    """Interface of lookups, which find answers by name."""

    @property
    def is_cached(self) -> bool:
        """Whether answers are cached, as each costs a request."""

    async def find(self, name: str) -> Answer | None:
        """Answer for a name, or None. Raises SourceUnavailableError with its cause."""

    def problems(self) -> list[str]:
        """Problems that the operator has to fix, one sentence each."""

    async def close(self) -> None:
        """Release the resources."""


@dataclass(frozen=True, slots=True)
class _CachedAnswer:
    answer: Answer | None
    until: float


class LookupSource(Source[LookupOptions]):
    """Source of originals of other types, by names that a table, database or service resolves.

    A type of `types` opens each original, and checks it like its own names. So the lookup serves
    nothing that these types would not serve.
    """

    options_model = LookupOptions

    def __init__(self, context: SourceContext, options: LookupOptions) -> None:
        super().__init__(context, options)
        # Not the threads of the type, which read the originals.
        self._threads = StorageThreads(
            f"the lookup of {context.type}", timeout=options.lookup_timeout
        )
        try:
            self._lookup = _lookup(context, options, self._threads)
        except ConfigurationError as error:
            raise ConfigurationError(f"types.{context.type}.{error}") from error
        self._answers: Lru[str, _CachedAnswer] = Lru(_CACHE_BYTES)
        self._flights: SingleFlight[str, Answer | None] = SingleFlight()
        self._failures: RecentFailures[str] = RecentFailures(options.failure_ttl)

    @asynccontextmanager
    async def hold(self, name: str) -> AsyncIterator[OpenedFile]:
        """Yield the original that the lookup finds, with the terms of the answer.

        Raises OriginalNotFoundError without an answer, SourceUnavailableError or
        SourceTimedOutError if the lookup fails, and the errors of the other type.
        """
        answer = await self._find(name)
        if answer is None:
            raise OriginalNotFoundError
        target = self._target(name, answer)
        async with _hold_answer(target, answer) as held:
            opened = held
            if isinstance(opened, Path):  # yielded by an older plug-in
                opened = await target.context.threads.run(open_file, opened, undo=OpenedFile.close)
            own_terms = Terms(self.options.rights or target.options.rights)
            opened.terms = answer.terms.within(opened.terms).within(own_terms)
            # Another file of the same size and time is another original.
            state = opened.content or f"{opened.file.size} {opened.file.mtime_ns}"
            location = answer.name or answer.path or answer.url
            opened.content = f"{target.context.type} {location} {state}"
            try:
                yield opened
            finally:
                if opened is not held:
                    opened.close()

    @property
    def revalidates(self) -> bool:
        """Whether one of the serving types revalidates its originals."""
        return any(self._source(name).revalidates for name in self.options.types)

    @property
    def treatment(self) -> Treatment:
        """Treatment of originals; the location is stripped if one of the serving types does so."""
        types = [self.options, *(self._source(name).options for name in self.options.types)]
        strip = any(options.treatment.strip_location for options in types)
        return replace(self.options.treatment, strip_location=strip)

    def names(self) -> Iterator[str] | None:
        """Ids of a table; None for databases and services."""
        return self._lookup.names() if isinstance(self._lookup, TableLookup) else None

    async def steps(self, name: str, page: int = 1) -> list[Step]:
        """Steps of the search: the answer of the lookup, and the steps of the serving type."""
        del page
        answer = await self._find(name)
        if answer is None:
            return [Step("lookup", "it has no row or answer for this name")]
        target = self._target(name, answer)
        location = answer.name or answer.path or answer.url
        found = Step("lookup", f"{location}, to be served by the type {target.context.type}")
        return [found] if answer.name is None else [found, *await target.steps(answer.name)]

    def problems(self) -> list[str]:
        """Problems of the lookup; those of the serving types are reported there."""
        return self._lookup.problems()

    async def close(self) -> None:
        """Close the connections or the table."""
        await self._flights.close()
        await self._lookup.close()

    async def _find(self, name: str) -> Answer | None:
        if not self._lookup.is_cached:
            return await self._query(name)
        known = self._answers.get(name)
        if known is not None and time.monotonic() < known.until:
            return known.answer
        return await self._flights.run(name, lambda: self._query_and_cache(name))

    async def _query_and_cache(self, name: str) -> Answer | None:
        """Query the database or service, unless it failed recently, and cache the answer."""
        self._failures.raise_recent(name)
        try:
            answer = await self._query(name)
        except SourceUnavailableError as error:
            self._failures.remember(name, error)
            raise
        seconds = self.options.missing_ttl
        if answer is not None:
            ttl = self.options.found_ttl
            seconds = ttl if answer.cache_for is None else answer.cache_for
        weight = _OVERHEAD + len(name) + (0 if answer is None else len(repr(answer)))
        self._answers.put(name, _CachedAnswer(answer, time.monotonic() + seconds), weight)
        return answer

    async def _query(self, name: str) -> Answer | None:
        try:
            return await self._lookup.find(name)
        except StorageTimedOutError as error:
            self._report(name, "no answer in time")
            raise SourceTimedOutError("The lookup of this image took too long.") from error
        except SourceUnavailableError as error:
            cause = error.__cause__
            self._report(name, f"{type(cause).__name__}: {cause}")
            raise

    def _target(self, name: str, answer: Answer) -> Source[Any]:
        """Source of the type that serves an answer.

        Raises SourceUnavailableError unless it is one of `types`.
        """
        type_ = answer.type or self.options.types[0]
        if type_ not in self.options.types:
            self._report(name, f"the answer names the type {type_!r}, which is not one of `types`")
            raise SourceUnavailableError("The lookup of this image has failed.")
        return self._source(type_)

    def _source(self, type_: str) -> Source[Any]:
        return self.context.others[type_]

    def _report(self, name: str, reason: str) -> None:
        self.context.observer(LookupFailed(f"{self.context.type}:{name}", reason))


def _hold_answer(
    target: Source[Any], answer: Answer
) -> AbstractAsyncContextManager[OpenedFile | Path]:
    if answer.name is not None:
        return target.hold(answer.name)
    headers = {name: value.get_secret_value() for name, value in answer.headers.items()}
    return target.hold_at(str(answer.path or answer.url), headers)


def _lookup(context: SourceContext, options: LookupOptions, threads: StorageThreads) -> Lookup:
    if options.table is not None:
        return TableLookup(options.table, threads, context.observer)
    if options.url is not None:
        return ServiceLookup(options.url, access_of(options), options.lookup_timeout)
    from iiif_server.sources.lookup.database import DatabaseLookup  # noqa: PLC0415 - an extra

    assert options.sql is not None  # noqa: S101 - the model of the settings checks it
    assert options.database is not None  # noqa: S101
    return DatabaseLookup(options.database, options.sql, threads)
