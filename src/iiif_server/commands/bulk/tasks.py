"""Tasks of bulk work, their results, and the services that they use."""

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

_TEMPORARY = (
    NotKeptError,
    NotNowError,
    OriginalChangedError,
    OutOfRoomError,
    SourceUnavailableError,
    WorkerDiedError,
)
"""Temporary errors: a retry may succeed."""


class Outcome(StrEnum):
    """Outcome of the task of one original."""

    MADE = "made"
    PRESENT = "present"
    """All files existed already."""
    FOUND = "found"
    """The original is readable; nothing has been written yet."""
    SMALL = "small"
    """The original needs no pyramid."""
    SKIPPED = "skipped"
    """The file is not an image."""
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Result:
    """Result of one task."""

    outcome: Outcome
    failure: str = ""
    """Identifier and reason of a failure."""
    temporary: bool = False
    """Whether the error is temporary, so that a retry may succeed."""
    fatal: bool = False
    """Whether all other tasks would fail, too."""
    needed_memory: int = 0
    """Required memory in bytes, if the task failed because of the memory limit."""
    pages: int = 1
    """Number of pages of the original; this task processed the first."""
    counts: dict[str, int] = field(default_factory=dict)
    """Further counts by name."""


@dataclass(frozen=True, slots=True)
class TaskContext:
    """Services and settings for tasks, for the lifetime of a process."""

    settings: Settings
    services: Services
    prepared: Prepared
    slots: asyncio.Semaphore
    """Limit of images that are rendered at the same time, over all tasks."""


Subject = Identifier | str
"""Subject of a task: an original, or the path of an image on another server."""
Work = Callable[[Any, Any, Any], Awaitable[Result]]
"""Function of a task, with the arguments bench, subject and options. It must be importable by name,
because Dask sends it to its workers."""


@dataclass(frozen=True, slots=True)
class Task:
    """Task for one subject. It contains no settings and no secrets."""

    work: Work
    subject: Subject
    options: Any = None


@asynccontextmanager
async def open_context(settings: Settings) -> AsyncIterator[TaskContext]:
    """Open the services of a server, without `queue_timeout`; raises their errors."""
    async with open_services(without_queue_timeout(settings), lambda _: None) as services:
        conditions = settings.pyramids.model_dump_json()
        prepared = Prepared(settings.cache_path / "prepared.sqlite", conditions)
        try:
            yield TaskContext(
                settings, services, prepared, asyncio.Semaphore(settings.image_pool_size)
            )
        finally:
            prepared.close()


async def run_task(context: Any, task: Task) -> Result:
    """Run a task and return its result; an IiifServerError becomes a failure."""
    try:
        return await task.work(context, task.subject, task.options)
    except NotAnImageError as error:
        file_name = str(task.subject).rpartition("/")[2].rpartition(":")[2]
        if "." not in file_name or not is_listed(file_name):
            return Result(Outcome.SKIPPED)
        return failure(task.subject, error)  # its name is that of an image
    except IiifServerError as error:
        return failure(task.subject, error)


async def run_task_shared(context: TaskContext, task: Task) -> Result:
    """Run a task, and wait until its files are in the shared cache, if one is configured.

    The result is a temporary failure if the bucket fails, even if it fails for another task.
    """
    shared = context.services.shared
    if shared is None:
        return await run_task(context, task)
    lost = shared.lost
    result = await run_task(context, task)
    await shared.written()
    if shared.lost != lost and result.outcome is not Outcome.FAILED:
        return failure(task.subject, SharedCacheUnavailableError("The shared cache fails."))
    return result


async def offer_parts(context: TaskContext, pyramid: Pyramid) -> None:
    """Offer the stored parts of a pyramid to the shared cache, which writes missing ones."""
    store, shared = context.services.store, context.services.shared
    for part in pyramid.parts if shared is not None else ():
        entry = await store.threads.run(store.find, pyramid.keys[part])
        if shared is not None and entry is not None:
            shared.offer(pyramid.keys[part], entry)


def failure(subject: Subject, error: IiifServerError | OSError, *, fatal: bool = False) -> Result:
    """Return the result of a failed task."""
    needed_memory = error.needed if isinstance(error, ImageTooLargeError) else 0
    temporary = isinstance(error, _TEMPORARY)
    text = f"{subject}: {error}"
    return Result(
        Outcome.FAILED, text, temporary=temporary, fatal=fatal, needed_memory=needed_memory
    )


def pages_of(image: Image) -> int:
    """Return the number of pages of an original; 1 if its identifier names a page."""
    return image.header.pages if image.original.page is None else 1
