"""Bulk work in a Dask worker: the services, and the tasks that use them."""

import asyncio
from typing import Any

from distributed import Worker, WorkerPlugin, get_worker

from iiif_server.commands.bulk.tasks import (
    Bench,
    Outcome,
    Result,
    Task,
    open_bench,
    perform_shared,
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
        self._bench: asyncio.Future[Bench] | None = None
        self._closing: asyncio.Event | None = None
        self._task: asyncio.Task[None] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {}

    def __setstate__(self, _: dict[str, Any]) -> None:
        self.__init__()  # type: ignore[misc]

    async def setup(self, worker: Worker) -> None:
        """Open the services, and declare the memory for images as a resource."""
        settings = load_settings()
        self._bench = asyncio.get_running_loop().create_future()
        self._closing = asyncio.Event()
        self._task = asyncio.create_task(self._hold(settings))
        await asyncio.shield(self._bench)
        await worker.set_resources(**{MEMORY: memory_for_images(settings)})

    async def teardown(self, worker: Worker) -> None:  # noqa: ARG002 - Dask's signature
        """Close the services."""
        if self._closing is not None and self._task is not None:
            self._closing.set()
            await self._task

    async def perform(self, task: Task) -> Result:
        """Run a task and return its result."""
        if self._bench is None:
            raise RuntimeError("The services of this worker are not open.")
        bench, subject = await asyncio.shield(self._bench), task.subject
        if isinstance(subject, Identifier) and subject.type not in bench.settings.types:
            text = f"the Dask worker has no type {subject.type}: it needs IIIF_CONFIG, too."
            return Result(Outcome.FAILED, f"{subject}: {text}")
        return await perform_shared(bench, task)

    async def _hold(self, settings: Any) -> None:
        """Open the services, wait for `teardown`, and close them in the same asyncio task."""
        if self._bench is None or self._closing is None:
            raise RuntimeError("Not set up.")
        try:
            async with open_bench(settings) as bench:
                self._bench.set_result(bench)
                await self._closing.wait()
        except Exception as error:
            if self._bench.done():
                raise
            self._bench.set_exception(error)


async def perform_here(task: Task) -> Result:
    """Run a task with the services of the current Dask worker, and return its result."""
    plugin = get_worker().plugins[NAME]
    if not isinstance(plugin, ServicesPlugin):
        raise TypeError(plugin)
    return await plugin.perform(task)
