"""Execution of bulk work: executors, shards, retries, progress, results."""

import asyncio
import re
import signal
import sys
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager, contextmanager
from dataclasses import dataclass, field, fields, replace
from functools import wraps
from typing import Any, Protocol

import click
from pydantic import TypeAdapter, ValidationError

from iiif_server.background import completed
from iiif_server.commands.bulk.resuming import in_shard
from iiif_server.commands.bulk.tasks import (
    Outcome,
    Result,
    Subject,
    Task,
    Work,
    open_context,
    run_task_shared,
)
from iiif_server.commands.common import Command, fail, find_identifiers, show_progress
from iiif_server.errors import ConfigurationError, IiifServerError
from iiif_server.iiif.identifier import Identifier
from iiif_server.images.originals import Originals
from iiif_server.settings import Settings
from iiif_server.units import DURATION, PositiveSeconds

_TIMEOUT: TypeAdapter[float] = TypeAdapter(PositiveSeconds)
_INTERRUPTED = 130
"""Exit status of an interrupted command, as in shells."""
_RETRY_SECONDS = 1.0
"""Delay before the first retry; it doubles with each further retry."""


class Executor(Protocol):
    """Interface of an executor of bulk work."""

    originals: Originals
    """Originals for listings only."""

    @property
    def concurrency(self) -> int:
        """Limit of concurrent tasks."""

    async def run(self, task: Task) -> Result:
        """Run a task and return its result; raises ConfigurationError if no task can run."""


class LocalExecutor:
    """Executor with the worker pools of this process."""

    def __init__(self, context: Any) -> None:
        self._context = context
        self.originals = context.services.originals
        self.concurrency = context.settings.image_pool_size

    async def run(self, task: Task) -> Result:
        """Run a task and return its result."""
        return await run_task_shared(self._context, task)


@asynccontextmanager
async def _open_local(settings: Settings) -> AsyncIterator[Executor]:
    async with open_context(settings) as context:
        yield LocalExecutor(context)


@dataclass(frozen=True, slots=True)
class Distribution:
    """Options for the distribution of bulk work."""

    shard: tuple[int, int] = (1, 1)
    """Number of the shard of this run (from 1), and number of shards."""
    scheduler: str | None = None
    """URL of a Dask scheduler; None: this machine."""
    retries: int = 0
    """Limit of retries of a task after a temporary error."""
    pages: bool = False
    """Whether to process all pages of originals, instead of the first ones."""
    idle_timeout: float = 300
    """Timeout (seconds) of a Dask cluster that runs no task."""

    def open_executor(self, settings: Settings) -> AbstractAsyncContextManager[Executor]:
        """Open the executor of this machine, or of the Dask cluster of the scheduler."""
        if self.scheduler is None:
            return _open_local(settings)
        from iiif_server.commands.bulk.cluster import open_cluster  # noqa: PLC0415 - an extra

        return open_cluster(settings, self.scheduler, self.idle_timeout)

    def tasks(self, subjects: Iterable[Subject], work: Work, options: Any = None) -> list[Task]:
        """Return a task for each subject in the shard of this run, without duplicates."""
        own = (one for one in dict.fromkeys(subjects) if in_shard(one, *self.shard))
        return [Task(work, subject, options) for subject in own]


@dataclass(slots=True)
class Results:
    """Results of a run: counts and failures."""

    outcomes: Counter[Outcome] = field(default_factory=Counter)
    counts: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    pages_left: int = 0
    """Number of further pages of originals, which the run left out."""

    def add(self, result: Result) -> None:
        """Count the result of a task."""
        self.outcomes[result.outcome] += 1
        self.counts.update(result.counts)
        self.failures += [result.failure] if result.failure else []

    @property
    def failed(self) -> int:
        """Number of failed tasks."""
        return self.outcomes[Outcome.FAILED]

    @property
    def skipped(self) -> str:
        """Number of files that are not images, as the end of a sentence."""
        skipped = self.outcomes[Outcome.SKIPPED]
        return f", {skipped} no images" if skipped else ""

    def show_failures(self) -> None:
        """Print the failures, and the number of omitted pages, to standard error."""
        for failure in self.failures:
            click.echo(f"failed  {failure}", err=True)
        if self.pages_left:
            text = f"{self.pages_left:,} further pages were left out: --pages includes them."
            click.echo(text, err=True)


def run_bulk(main: Callable[[Results], Coroutine[Any, Any, None]]) -> Results:
    """Run a bulk command, print its failures, and return its results.

    Exits if the command fails, or is interrupted by SIGINT or SIGTERM. SIGTERM has a handler
    because the kernel ignores it for process 1 of a container otherwise.
    """
    results = Results()
    try:
        with interrupted_by_sigterm():
            asyncio.run(main(results))
    except IiifServerError as error:
        results.show_failures()
        fail(str(error))
    except KeyboardInterrupt:
        results.show_failures()
        click.echo("Interrupted. Repeat the command to continue.", err=True)
        sys.exit(_INTERRUPTED)
    results.show_failures()
    return results


@contextmanager
def interrupted_by_sigterm() -> Iterator[None]:
    """Treat SIGTERM like SIGINT (Ctrl-C) in this context.

    SIGINT gets its handler back if it is ignored, as in the background jobs of a shell script:
    asyncio cancels its tasks by that handler.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread handles signals
        return
    ignored = signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    if ignored:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    former = signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, former)
        if ignored:
            signal.signal(signal.SIGINT, signal.SIG_IGN)


def find_selected(
    settings: Settings, executor: Executor, type_: str | None, written: Iterable[str]
) -> list[Identifier]:
    """Return the chosen identifiers; raises the errors of `find_identifiers`."""
    if type_ is not None:
        click.echo(f"Listing the originals of {type_}", err=True)
    return find_identifiers(settings, executor.originals, type_, written)


async def run_tasks(
    executor: Executor,
    tasks: Sequence[Task],
    distribution: Distribution,
    description: str,
    results: Results,
) -> list[Task]:
    """Run tasks, then those for further pages of their originals; return the successful tasks.

    A failed task does not stop the others. Raises ConfigurationError if no other task can succeed.
    """
    succeeded: list[Task] = []
    while tasks:
        further_tasks: list[Task] = []
        jobs = (_run_with_retries(executor, task, distribution.retries) for task in tasks)
        with show_progress(description, len(tasks)) as advance:
            async with aclosing(completed(jobs, executor.concurrency)) as done:
                async for task, result in done:
                    results.add(result)
                    advance()
                    if result.fatal:
                        raise ConfigurationError("No further image can be processed.")
                    if result.outcome not in {Outcome.FAILED, Outcome.SKIPPED}:
                        succeeded.append(task)
                    if distribution.pages:
                        further_tasks += _further_pages(task, result)
                    else:
                        results.pages_left += result.pages - 1
        tasks, description = further_tasks, "Further pages"
    return succeeded


def _further_pages(task: Task, result: Result) -> Iterator[Task]:
    """Yield tasks for all pages of an original except the first."""
    if isinstance(task.subject, Identifier):
        type_, name = task.subject.type, task.subject.name
        for page in range(2, result.pages + 1):
            yield replace(task, subject=Identifier(type_, f"{name};{page}"))


async def _run_with_retries(executor: Executor, task: Task, retries: int) -> tuple[Task, Result]:
    """Run a task, with retries after temporary errors; return it and its last result."""
    result = await executor.run(task)
    for retry in range(retries):
        if not result.temporary:
            break
        await asyncio.sleep(_RETRY_SECONDS * 2**retry)
        result = await executor.run(task)
    return task, result


def _shard(_: click.Context, __: click.Parameter, text: str) -> tuple[int, int]:
    found = re.fullmatch(r"([1-9][0-9]{0,5})/([1-9][0-9]{0,5})", text)
    if found is None or int(found[1]) > int(found[2]):
        raise click.BadParameter("it is written as 2/4: the second of four parts")
    return int(found[1]), int(found[2])


def _timeout(_: click.Context, __: click.Parameter, text: str) -> float:
    try:
        return float(_TIMEOUT.validate_python(text))
    except ValidationError:
        raise click.BadParameter(f"must be {DURATION.expected}") from None


def distribution_options(verb: str) -> Callable[[Command], Command]:
    """Add the options of the fields of `Distribution`, as one `distribution`."""
    names = [one.name for one in fields(Distribution)]

    def add(function: Command) -> Command:
        @wraps(function)
        def command(**given: Any) -> None:
            chosen = Distribution(**{name: given.pop(name) for name in names})
            function(distribution=chosen, **given)

        decorated: Command = command
        for option in _options(verb):
            decorated = option(decorated)
        return decorated

    return add


def _options(verb: str) -> Iterator[Callable[[Command], Command]]:
    yield click.option(
        "--shard",
        metavar="I/N",
        default="1/1",
        callback=_shard,
        help=f"{verb} one of N parts, as 2/4; each machine takes another.",
    )
    yield click.option(
        "--scheduler",
        metavar="URL",
        help="Run on a Dask cluster: tcp://HOST:PORT or tls://HOST:PORT.",
    )
    yield click.option(
        "--idle-timeout",
        metavar="TIME",
        default="5 minutes",
        show_default=True,
        callback=_timeout,
        help="Give up if the Dask cluster has no workers, or runs no task, for so long.",
    )
    yield click.option(
        "--retries",
        default=2,
        show_default=True,
        type=click.IntRange(0, 20),
        help="Number of retries after a temporary failure.",
    )
    yield click.option(
        "--pages",
        is_flag=True,
        help=f"{verb} all pages of originals that have several, not only the first ones.",
    )
