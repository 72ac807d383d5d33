"""Running of bulk work: executors, shards, retries, progress, results."""

import asyncio
import re
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

import click

from iiif_server.cache.window import completed
from iiif_server.commands.bulk.resuming import in_shard
from iiif_server.commands.bulk.tasks import Outcome, Result, Task, Work, open_bench, perform
from iiif_server.commands.common import Command, find_identifiers, show_progress
from iiif_server.iiif.identifier import Identifier
from iiif_server.images.originals import Originals
from iiif_server.settings import Settings

_RETRY_SECONDS = 1.0
"""Before the first retry; before each other one, twice as long as before."""


class Executor(Protocol):
    """Executor of bulk work: runs tasks somewhere."""

    originals: Originals
    """Only for listings."""

    @property
    def at_once(self) -> int:
        """The number of tasks that it is given at the same time."""

    async def run(self, task: Task) -> Result:
        """The result of a task. Raises ConfigurationError if nothing can be run any more."""


class LocalExecutor:
    """Executor with the worker pools of this process."""

    def __init__(self, bench: Any) -> None:
        self._bench = bench
        self.originals = bench.services.originals
        self.at_once = bench.settings.image_pool_size

    async def run(self, task: Task) -> Result:
        """The result of a task."""
        return await perform(self._bench, task)


@asynccontextmanager
async def _open_local(settings: Settings) -> AsyncIterator[Executor]:
    async with open_bench(settings) as bench:
        yield LocalExecutor(bench)


def open_executor(
    settings: Settings, scheduler: str | None
) -> AbstractAsyncContextManager[Executor]:
    """The executor on this machine, or on the Dask cluster of a scheduler."""
    if scheduler is None:
        return _open_local(settings)
    from iiif_server.commands.bulk.cluster import open_cluster  # noqa: PLC0415 - an extra

    return open_cluster(settings, scheduler)


@dataclass(frozen=True, slots=True)
class Distribution:
    """How bulk work is distributed."""

    shard: tuple[int, int] = (1, 1)
    """Which part of how many this run does."""
    scheduler: str | None = None
    """The URL of a Dask scheduler; None: this machine."""
    retries: int = 0
    """How often a task is repeated that failed for a reason that may pass."""

    def part(self, identifiers: Iterable[Identifier]) -> list[Identifier]:
        """The identifiers that belong to this run, each once."""
        return [one for one in dict.fromkeys(identifiers) if in_shard(one, *self.shard)]


@dataclass(slots=True)
class Results:
    """Counts of a run, and its failures."""

    outcomes: Counter[Outcome] = field(default_factory=Counter)
    counts: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)

    def add(self, result: Result) -> None:
        """Count the result of a task."""
        self.outcomes[result.outcome] += 1
        self.counts.update(result.counts)
        self.failures += [result.failure] if result.failure else []

    @property
    def failed(self) -> int:
        """The number of tasks that failed."""
        return self.outcomes[Outcome.FAILED]

    def show_failures(self) -> None:
        """List what failed, on standard error."""
        for failure in self.failures:
            click.echo(f"failed  {failure}", err=True)


async def run_all(
    settings: Settings,
    work: Work,
    options: Any,
    *,
    chosen: tuple[str | None, list[str]],
    distribution: Distribution,
    description: str,
) -> Results:
    """Do the work for all identifiers of a type, or for those that were written.

    One that fails does not stop the others. Raises what `find_identifiers` and executors raise.
    """
    type_, written = chosen
    results = Results()
    async with open_executor(settings, distribution.scheduler) as executor:
        if type_ is not None:
            click.echo(f"Listing the originals of {type_}", err=True)
        found = find_identifiers(settings, executor.originals, type_, written)
        part = distribution.part(found)
        tasks = (Task(work, identifier, options) for identifier in part)
        jobs = (_persist(executor, task, distribution.retries) for task in tasks)
        with show_progress(description, len(part)) as advance:
            async with aclosing(completed(jobs, executor.at_once)) as done:
                async for result in done:
                    results.add(result)
                    advance()
    return results


async def _persist(executor: Executor, task: Task, retries: int) -> Result:
    """The result of a task, the last one if it was repeated."""
    result = await executor.run(task)
    for retry in range(retries):
        if not result.passing:
            break
        await asyncio.sleep(_RETRY_SECONDS * 2**retry)
        result = await executor.run(task)
    return result


def _shard(_: click.Context, __: click.Parameter, text: str) -> tuple[int, int]:
    found = re.fullmatch(r"([1-9][0-9]{0,5})/([1-9][0-9]{0,5})", text)
    if found is None or int(found[1]) > int(found[2]):
        raise click.BadParameter("it is written as 2/4: the second of four parts")
    return int(found[1]), int(found[2])


def distribution_options(verb: str) -> Callable[[Command], Command]:
    """The options `--shard`, `--scheduler` and `--retries`; see `Distribution`."""

    def add(command: Command) -> Command:
        for option in (
            click.option(
                "--shard",
                metavar="I/N",
                default="1/1",
                callback=_shard,
                help=f"{verb} one of N parts, as 2/4; each machine takes another.",
            ),
            click.option(
                "--scheduler",
                metavar="URL",
                help="Do it on a Dask cluster: tcp://HOST:PORT or tls://HOST:PORT.",
            ),
            click.option(
                "--retries",
                default=2,
                show_default=True,
                type=click.IntRange(0, 20),
                help="How often to repeat what failed for a reason that may pass.",
            ),
        ):
            command = option(command)
        return command

    return add
