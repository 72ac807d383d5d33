"""The part of bulk work that runs in a Dask worker: the services, and tasks that use them."""

import asyncio
from typing import Any

from distributed import Worker, WorkerPlugin, get_worker

from iiif_server.commands.bulk.tasks import Bench, Result, Task, open_bench, perform_shared
from iiif_server.composition.sizing import memory_for_images
from iiif_server.settings import load_settings

NAME = "iiif-server"
MEMORY = "iiif-memory"
"""The resource of a Dask worker: bytes that images may take (`limits.memory`)."""


class ServicesPlugin(WorkerPlugin):
    """The services of a Dask worker: opened once, closed when it ends.

    They are those of a server: originals are decoded in sandboxed processes of a pool, never in a
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
        """Open the services, and declare the memory that images may take."""
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
        """The result of a task."""
        if self._bench is None:
            raise RuntimeError("The services of this worker are not open.")
        return await perform_shared(await asyncio.shield(self._bench), task)

    async def _hold(self, settings: Any) -> None:
        """Hold the services open, in one task from beginning to end."""
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
    """The result of a task, in the Dask worker that runs this."""
    plugin = get_worker().plugins[NAME]
    if not isinstance(plugin, ServicesPlugin):
        raise TypeError(plugin)
    return await plugin.perform(task)
