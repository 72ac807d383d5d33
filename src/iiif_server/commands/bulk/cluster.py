"""Executor of bulk work on a Dask cluster: one Dask task per identifier."""

import asyncio
import re
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import click

from iiif_server.background import BackgroundTasks
from iiif_server.commands.bulk.tasks import Outcome, Result, Task
from iiif_server.composition.components import open_listing
from iiif_server.errors import ConfigurationError
from iiif_server.images.originals import Originals
from iiif_server.settings import Settings
from iiif_server.units import show_duration
from iiif_server.workers.admission import TILE_BYTES

try:
    from distributed import Client, KilledWorker
    from distributed.client import FutureCancelledError
    from distributed.scheduler import NoValidWorkerError

    from iiif_server.commands.bulk.dask_worker import MEMORY, ServicesPlugin, run_in_worker
except ModuleNotFoundError as error:  # pragma: no cover - the extra is installed where tests run
    raise ConfigurationError(
        "--scheduler needs Dask: pip install 'iiif-server[dask]', here and on the workers."
    ) from error

_URL = re.compile(r"(tcp|tls)://[^/\s]+:[0-9]{1,5}")
_CONNECT_SECONDS = 30
_CLOSE_SECONDS = 5
_CHECK_SECONDS = 10.0
"""Interval (seconds) of checks whether the cluster runs tasks, and limit of each."""
_MIN_TASKS = 256
"""Least number of tasks at the scheduler, so that no worker waits for this process."""
_TASKS_PER_THREAD = 4
_REPEAT_LATER = "Repeat the command later to continue."
_MAX_RETRIES = 2
"""Limit of retries by Dask after an unexpected exception of a task."""


class ClusterExecutor:
    """Executor on a Dask cluster."""

    def __init__(
        self,
        client: "Client",
        originals: Originals,
        idle_timeout: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`idle_timeout` is that of a cluster that runs no task, in seconds."""
        self._client = client
        self.originals = originals
        self._idle_timeout = idle_timeout
        self._clock = clock
        self._submitted = 0
        """Number of tasks whose results are awaited."""
        self._idle_since: float | None = None
        self._has_given_up = asyncio.Event()

    def _workers(self) -> list[Any]:
        """Return the descriptions of the workers by the scheduler."""
        return list(self._client.scheduler_info(n_workers=-1)["workers"].values())

    async def check_activity(self) -> None:
        """End all tasks if the cluster has run none for `idle_timeout`; report it before."""
        if not self._submitted or await self._runs_tasks():
            self._idle_since = None
        elif self._idle_since is None:
            self._idle_since = self._clock()
            seen = "runs no task" if self._workers() else "has no workers"
            wait = show_duration(self._idle_timeout)
            text = f"The cluster {seen}: waiting for {wait}. If workers end, see their logs."
            click.echo(text, err=True)
        elif self._clock() - self._idle_since >= self._idle_timeout:
            self._has_given_up.set()

    async def _runs_tasks(self) -> bool:
        """Whether a worker has a task; False if the scheduler does not respond."""
        try:
            async with asyncio.timeout(_CHECK_SECONDS):
                return any((await self._client.processing()).values())  # type: ignore[no-untyped-call]
        except (OSError, TimeoutError):
            return False

    @property
    def concurrency(self) -> int:
        """Limit of concurrent tasks."""
        threads = sum(int(worker["nthreads"]) for worker in self._workers())
        return max(_MIN_TASKS, _TASKS_PER_THREAD * threads)

    async def run(self, task: Task) -> Result:
        """Run a task; if its worker has too little memory, run it again on a larger worker."""
        result = await self._run(task, TILE_BYTES)
        if result.needed_memory and result.needed_memory <= self._largest_memory():
            result = await self._run(task, result.needed_memory)
        return result

    def _largest_memory(self) -> float:
        """Return the memory in bytes for images of the largest worker."""
        memory = (worker["resources"].get(MEMORY, 0) for worker in self._workers())
        return max(memory, default=0)

    async def _run(self, task: Task, memory: int) -> Result:
        resources = {MEMORY: min(memory, self._largest_memory() or memory)}
        future = self._client.submit(
            run_in_worker, task, pure=False, retries=_MAX_RETRIES, resources=resources
        )
        try:
            found: Result = await self._result(future)
        except (KilledWorker, NoValidWorkerError) as error:
            return Result(Outcome.FAILED, f"{task.subject}: {error}")
        except FutureCancelledError as error:
            text = f"The scheduler of the cluster or its tasks have ended: {error.reason}."
            text = f"{text} {_REPEAT_LATER}"
            raise ConfigurationError(text) from None
        except ConfigurationError:
            raise
        except Exception as error:  # noqa: BLE001 - one task does not stop the others
            return Result(Outcome.FAILED, f"{task.subject}: {type(error).__name__}: {error}")
        return found

    async def _result(self, future: Any) -> Any:
        """Wait for the result of a task; raises ConfigurationError if the cluster runs none."""
        self._submitted += 1
        waits = [asyncio.ensure_future(one) for one in (future.result(), self._has_given_up.wait())]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            if not waits[0].done():
                wait = show_duration(self._idle_timeout)
                raise ConfigurationError(f"The cluster has run no task for {wait}. {_REPEAT_LATER}")
            return await waits[0]
        finally:
            self._submitted -= 1
            for one in waits:
                one.cancel()


@asynccontextmanager
async def open_cluster(
    settings: Settings, scheduler: str, idle_timeout: float
) -> AsyncIterator[ClusterExecutor]:
    """Connect to the cluster of a scheduler; its workers open their services.

    Tasks fail if it runs none for `idle_timeout` (seconds). Raises ConfigurationError if the
    scheduler does not respond, or the cluster has no workers or workers that cannot be used.
    """
    if not _URL.fullmatch(scheduler):
        raise ConfigurationError("--scheduler is written as tcp://HOST:PORT or tls://HOST:PORT.")
    async with AsyncExitStack() as stack:
        originals = open_listing(stack, settings)
        try:
            connection = Client(scheduler, asynchronous=True, timeout=_CONNECT_SECONDS)  # type: ignore[no-untyped-call]
            stack.push_async_callback(connection.close, timeout=_CLOSE_SECONDS)
            async with asyncio.timeout(_CONNECT_SECONDS + _CLOSE_SECONDS):
                client = await connection
        except TimeoutError as error:
            raise ConfigurationError(f"The scheduler at {scheduler} does not answer.") from error
        except (OSError, RuntimeError, TypeError, ValueError) as error:  # the last of TLS settings
            raise ConfigurationError(f"No Dask scheduler at {scheduler}: {error}") from error
        try:
            await client.wait_for_workers(1, timeout=idle_timeout)
        except TimeoutError as error:
            raise ConfigurationError(f"The cluster at {scheduler} has no workers.") from error
        try:
            await client.register_plugin(ServicesPlugin())
        except Exception as error:
            raise ConfigurationError(f"A Dask worker cannot be used: {error}") from error
        executor = ClusterExecutor(client, originals, idle_timeout)
        background = await stack.enter_async_context(BackgroundTasks())
        background.repeat(min(_CHECK_SECONDS, idle_timeout / 2), executor.check_activity)
        yield executor
