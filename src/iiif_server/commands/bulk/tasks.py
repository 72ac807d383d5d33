"""Tasks of bulk work, and what they are done with."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from iiif_server.commands.bulk.resuming import Prepared
from iiif_server.composition.services import open_services
from iiif_server.composition.sizing import without_queue_timeout
from iiif_server.errors import (
    IiifServerError,
    ImageTooLargeError,
    NotAnImageError,
    NotKeptError,
    NotNowError,
    OriginalChangedError,
    OutOfRoomError,
    SharedCacheUnavailableError,
    SourceUnavailableError,
    WorkerDiedError,
)
from iiif_server.iiif.identifier import Identifier
from iiif_server.images.pyramids import Pyramid
from iiif_server.images.registry import Image
from iiif_server.server.services import Services
from iiif_server.settings import Settings
from iiif_server.sources.listings import is_listed

_PASSING = (
    NotKeptError,
    NotNowError,
    OriginalChangedError,
    OutOfRoomError,
    SourceUnavailableError,
    WorkerDiedError,
)
"""Errors that may not come again."""


class Outcome(StrEnum):
    """What was done for one original."""

    MADE = "made"
    PRESENT = "present"
    """Nothing: everything existed."""
    FOUND = "found"
    """Nothing yet: it can be read."""
    SMALL = "small"
    """Nothing: it needs no pyramid."""
    SKIPPED = "skipped"
    """Nothing: it is no image that is read."""
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Result:
    """The result of one task."""

    outcome: Outcome
    failure: str = ""
    """Identifier and reason, if it failed."""
    passing: bool = False
    """Whether trying again may help."""
    fatal: bool = False
    """Whether no other task can succeed either."""
    needed: int = 0
    """Bytes of memory that it would take, where it failed for want of them."""
    pages: int = 1
    """How many pages the original has, of which this task was for the first."""
    counts: dict[str, int] = field(default_factory=dict)
    """What else was counted."""


@dataclass(frozen=True, slots=True)
class Bench:
    """What tasks work with; it lives as long as the process that runs them."""

    settings: Settings
    services: Services
    prepared: Prepared
    slots: asyncio.Semaphore
    """One for each image that may be made at the same time, over all tasks."""


Subject = Identifier | str
"""What a task is about: an original, or an image of another server, by its path there."""
Work = Callable[[Any, Any, Any], Awaitable[Result]]
"""What is done, with a bench, for a subject, with options: a function of a module, as it goes by
name."""


@dataclass(frozen=True, slots=True)
class Task:
    """One task: what is done for one subject. It contains no settings and no secrets."""

    work: Work
    subject: Subject
    options: Any = None


@asynccontextmanager
async def open_bench(settings: Settings) -> AsyncIterator[Bench]:
    """The services of a server, without a deadline for what waits; raises what they raise."""
    async with open_services(without_queue_timeout(settings), lambda _: None) as services:
        conditions = settings.pyramids.model_dump_json()
        prepared = Prepared(settings.cache_path / "prepared.sqlite", conditions)
        try:
            yield Bench(settings, services, prepared, asyncio.Semaphore(settings.image_pool_size))
        finally:
            prepared.close()


async def perform(bench: Any, task: Task) -> Result:
    """The result of a task; errors of ours are failures in it."""
    try:
        return await task.work(bench, task.subject, task.options)
    except NotAnImageError as error:
        last = str(task.subject).rpartition("/")[2].rpartition(":")[2]
        if "." not in last or not is_listed(last):
            return Result(Outcome.SKIPPED)
        return failure(task.subject, error)  # it is called an image
    except IiifServerError as error:
        return failure(task.subject, error)


async def perform_shared(bench: Bench, task: Task) -> Result:
    """The result of a task, once what it has made is in the shared cache, if there is one.

    A failure if the bucket fails: that may be for another task at the same time, so it may pass.
    """
    shared = bench.services.shared
    if shared is None:
        return await perform(bench, task)
    lost = shared.lost
    result = await perform(bench, task)
    await shared.written()
    if shared.lost != lost and result.outcome is not Outcome.FAILED:
        return failure(task.subject, SharedCacheUnavailableError("The shared cache fails."))
    return result


async def offer_parts(bench: Bench, pyramid: Pyramid) -> None:
    """Have the parts of a pyramid written to the shared cache, unless they are there."""
    store, shared = bench.services.store, bench.services.shared
    for part in pyramid.parts if shared is not None else ():
        entry = await store.threads.run(store.find, pyramid.keys[part])
        if shared is not None and entry is not None:
            shared.offer(pyramid.keys[part], entry)


def failure(subject: Subject, error: IiifServerError | OSError, *, fatal: bool = False) -> Result:
    """The result of a task that failed."""
    needed = error.needed if isinstance(error, ImageTooLargeError) else 0
    passing = isinstance(error, _PASSING)
    text = f"{subject}: {error}"
    return Result(Outcome.FAILED, text, passing=passing, fatal=fatal, needed=needed)


def pages_of(image: Image) -> int:
    """How many pages the original of an image has, if its identifier names no page of it."""
    return image.header.pages if image.original.page is None else 1
