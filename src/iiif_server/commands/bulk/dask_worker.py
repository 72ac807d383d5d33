"""Bulk work in a Dask worker: the services, and the tasks that use them."""

import asyncio
from typing import Any

from distributed import Worker, WorkerPlugin, get_worker

from iiif_server.commands.bulk.tasks import (
    Outcome,
    Result,
    Task,
    TaskContext,
    open_context,
    run_task_shared,
)
from iiif_server.composition.sizing import memory_for_images
from iiif_server.iiif.identifier import Identifier
from iiif_server.settings import load_settings

NAME = "iiif-server"
MEMORY = "iiif-memory"
"""Dask resource of a worker: memory for images in bytes (`limits.memory`)."""


class ServicesPlugin(WorkerPlugin):
    """Dask plug-in that opens the services when a worker starts, and closes them at its end.

    The services are those of a server: sandboxed processes of a pool decode originals, never a
    thread of Dask. The worker reads its own settings: IIIF_CONFIG, IIIF_*.
    """

    name = NAME
    idempotent = True

    def __init__(self) -> None:
        self._context: asyncio.Future[TaskContext] | None = None
        self._closing: asyncio.Event | None = None
        self._task: asyncio.Task[None] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {}

    def __setstate__(self, _: dict[str, Any]) -> None:
        self.__init__()  # type: ignore[misc]

    async def setup(self, worker: Worker) -> None:
        """Open the services, and declare the memory for images as a resource."""
        settings = load_settings()
        self._context = asyncio.get_running_loop().create_future()
        self._closing = asyncio.Event()
        self._task = asyncio.create_task(self._serve(settings))
        await asyncio.shield(self._context)
        await worker.set_resources(**{MEMORY: memory_for_images(settings)})

    async def teardown(self, worker: Worker) -> None:  # noqa: ARG002 - Dask's signature
        """Close the services."""
        if self._closing is not None and self._task is not None:
            self._closing.set()
            await self._task

    async def run_task(self, task: Task) -> Result:
        """Run a task and return its result."""
        if self._context is None:
            raise RuntimeError("The services of this worker are not open.")
        context, subject = await asyncio.shield(self._context), task.subject
        if isinstance(subject, Identifier) and subject.type not in context.settings.types:
            text = f"the Dask worker has no type {subject.type}: it needs IIIF_CONFIG, too."
            return Result(Outcome.FAILED, f"{subject}: {text}")
        return await run_task_shared(context, task)

    async def _serve(self, settings: Any) -> None:
        """Open the services, wait for `teardown`, and close them in the same asyncio task."""
        if self._context is None or self._closing is None:
            raise RuntimeError("Not set up.")
        try:
            async with open_context(settings) as context:
                self._context.set_result(context)
                await self._closing.wait()
        except Exception as error:
            if self._context.done():
                raise
            self._context.set_exception(error)


async def run_in_worker(task: Task) -> Result:
    """Run a task with the services of the current Dask worker, and return its result."""
    plugin = get_worker().plugins[NAME]
    if not isinstance(plugin, ServicesPlugin):
        raise TypeError(plugin)
    return await plugin.run_task(task)
