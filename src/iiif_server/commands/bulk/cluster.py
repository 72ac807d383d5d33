"""Executor of bulk work on a Dask cluster: one Dask task per identifier."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import click

from iiif_server.background import BackgroundTasks
from iiif_server.commands.bulk.tasks import Outcome, Result, Task
from iiif_server.composition.components import open_listing
from iiif_server.errors import ConfigurationError
from iiif_server.images.originals import Originals
from iiif_server.settings import Settings
from iiif_server.workers.admission import TILE_BYTES

try:
    from distributed import Client, KilledWorker
    from distributed.scheduler import NoValidWorkerError

    from iiif_server.commands.bulk.dask_worker import MEMORY, ServicesPlugin, perform_here
except ModuleNotFoundError as error:  # pragma: no cover - the extra is installed where tests run
    raise ConfigurationError(
        "--scheduler needs Dask: pip install 'iiif-server[dask]', here and on the workers."
    ) from error

_URL = re.compile(r"(tcp|tls)://[^/\s]+:[0-9]{1,5}")
_CONNECT_SECONDS = 30
_WORKERS_SECONDS = 60
_CLOSE_SECONDS = 5
_LOOK_SECONDS = 10.0
"""Interval (seconds) of looks whether the cluster has workers."""
_MIN = 256
"""Least number of tasks at the scheduler, so that no worker waits for this process."""
_PER_THREAD = 4
_RETRIES = 2
"""Limit of retries by Dask after an unexpected exception of a task."""


class ClusterExecutor:
    """Executor on a Dask cluster."""

    def __init__(self, client: "Client", originals: Originals) -> None:
        self._client = client
        self.originals = originals
        self._told = False

    def _workers(self) -> list[Any]:
        """What the scheduler says of its workers."""
        return list(self._client.scheduler_info(n_workers=-1)["workers"].values())

    async def look(self) -> None:
        """Say, once, that all workers are gone: tasks wait for new ones without a limit."""
        if not self._told and not self._workers():
            self._told = True
            text = (
                "The cluster has no workers: waiting for one. If they end at once, see their logs."
            )
            click.echo(text, err=True)

    @property
    def at_once(self) -> int:
        """Limit of concurrent tasks."""
        threads = sum(int(worker["nthreads"]) for worker in self._workers())
        return max(_MIN, _PER_THREAD * threads)

    async def run(self, task: Task) -> Result:
        """Run a task; if its worker has too little memory, run it again on a larger worker."""
        result = await self._run(task, TILE_BYTES)
        if result.needed and result.needed <= self._largest():
            result = await self._run(task, result.needed)
        return result

    def _largest(self) -> float:
        """Return the memory in bytes for images of the largest worker."""
        memory = (worker["resources"].get(MEMORY, 0) for worker in self._workers())
        return max(memory, default=0)

    async def _run(self, task: Task, memory: int) -> Result:
        resources = {MEMORY: min(memory, self._largest() or memory)}
        future = self._client.submit(
            perform_here, task, pure=False, retries=_RETRIES, resources=resources
        )
        try:
            found: Result = await future.result()
        except (KilledWorker, NoValidWorkerError) as error:
            return Result(Outcome.FAILED, f"{task.subject}: {error}")
        except asyncio.CancelledError:
            if self._client.status == "running":
                raise
            raise ConfigurationError("The scheduler of the cluster is gone.") from None
        except Exception as error:  # noqa: BLE001 - one task does not stop the others
            return Result(Outcome.FAILED, f"{task.subject}: {type(error).__name__}: {error}")
        return found


@asynccontextmanager
async def open_cluster(settings: Settings, scheduler: str) -> AsyncIterator[ClusterExecutor]:
    """Connect to the cluster of a scheduler; its workers open their services.

    Raises ConfigurationError if the scheduler does not respond, or the cluster has no workers or
    workers that cannot be used.
    """
    if not _URL.fullmatch(scheduler):
        raise ConfigurationError("--scheduler is written as tcp://HOST:PORT or tls://HOST:PORT.")
    async with AsyncExitStack() as stack:
        originals = open_listing(stack, settings)
        try:
            opening = Client(scheduler, asynchronous=True, timeout=_CONNECT_SECONDS)  # type: ignore[no-untyped-call]
            stack.push_async_callback(opening.close, timeout=_CLOSE_SECONDS)
            async with asyncio.timeout(_CONNECT_SECONDS + _CLOSE_SECONDS):
                client = await opening
        except TimeoutError as error:
            raise ConfigurationError(f"The scheduler at {scheduler} does not answer.") from error
        except (OSError, RuntimeError, TypeError, ValueError) as error:  # the last of TLS settings
            raise ConfigurationError(f"No Dask scheduler at {scheduler}: {error}") from error
        try:
            await client.wait_for_workers(1, timeout=_WORKERS_SECONDS)
        except TimeoutError as error:
            raise ConfigurationError(f"The cluster at {scheduler} has no workers.") from error
        try:
            await client.register_plugin(ServicesPlugin())
        except Exception as error:
            raise ConfigurationError(f"A Dask worker cannot be used: {error}") from error
        executor = ClusterExecutor(client, originals)
        background = await stack.enter_async_context(BackgroundTasks())
        background.repeat(_LOOK_SECONDS, executor.look)
        yield executor
