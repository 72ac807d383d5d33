"""Start of worker processes, failed starts and deaths, with their events."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from iiif_server.errors import WorkerDiedError
from iiif_server.telemetry.events import (
    Event,
    SandboxIncomplete,
    WorkerNotStarted,
    WorkerReplaced,
)
from iiif_server.workers.pool import Setup, WorkerPool
from iiif_server.workers.sandbox.confinement import Confinement, Mechanism, available
from iiif_server.workers.sandbox.limits import Limits
from support import jobs

LONG = 60.0
MB = 1 << 20
TESTS = Path(jobs.__file__).parent.parent
ENOUGH = Limits(
    memory=2000 * MB, address_space=20_000 * MB, cpu_seconds=60, file_size=MB, open_files=64
)

landlock = pytest.mark.skipif(not available().landlock, reason="this system has no Landlock")
sandboxed = pytest.mark.skipif(
    not (available().landlock or available().seccomp), reason="this system has no sandbox"
)


@asynccontextmanager
async def opened(
    size: int, setup: Setup, events: list[Event] | None = None
) -> AsyncIterator[WorkerPool]:
    pool = WorkerPool("test", size, setup, (lambda _: None) if events is None else events.append)
    try:
        await pool.open()
        yield pool
    finally:
        await pool.close()


def confined(*readable: Path, **options: Any) -> Setup:
    confinement = Confinement((TESTS, *readable), (), ENOUGH, **options)
    return Setup(jobs.nothing, confinement=confinement)


def children() -> set[int]:
    """The processes that this one has started and that have not ended."""
    found = set()
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit() and jobs.is_alive(int(folder.name)):
            status = (folder / "stat").read_text().rpartition(")")[2].split()
            if int(status[1]) == os.getpid():
                found.add(int(folder.name))
    return found


@pytest.mark.parametrize("size", [1, 3])
async def test_there_is_one_process_for_each_worker_and_none_besides(size: int) -> None:
    before = children()
    async with opened(size, Setup(jobs.nothing)) as pool:
        assert children() - before == set(pool.pids)
        assert len(set(pool.pids)) == size
        with pytest.raises(WorkerDiedError):
            await pool.run(jobs.die, None, timeout=LONG)
        assert await pool.run(jobs.echo, 1, timeout=LONG) == 1
    assert children() <= before


async def test_what_a_worker_reports_of_itself_is_known() -> None:
    async with opened(1, Setup(jobs.report, ("a", 1))) as pool:
        assert pool.report == ("a", 1)


# --- workers that do not start --------------------------------------------------------------


@pytest.mark.parametrize(
    ("setup", "cause"),
    [
        (Setup(jobs.refuse_to_start), "exit code 1: RuntimeError: not here"),
        (Setup(jobs.leave, (7,)), "exit code 7"),
        (Setup(jobs.die), "ended by SIGKILL"),
        (Setup(jobs.crash), "ended by SIGSEGV"),
        (Setup(jobs.report, ("a", "not a number")), "MessageError: Expected `int`, got `str`"),
    ],
    ids=["exception", "exit", "killed", "crash", "arguments"],
)
async def test_the_cause_is_told_when_no_worker_starts(setup: Setup, cause: str) -> None:
    events: list[Event] = []
    with pytest.raises(WorkerDiedError) as raised:
        async with opened(1, setup, events):
            pytest.fail("it has started")
    assert cause in str(raised.value)
    (event,) = events
    assert isinstance(event, WorkerNotStarted)
    assert cause in event.cause


@sandboxed
async def test_a_worker_with_two_threads_does_not_start_in_a_sandbox() -> None:
    """Its second thread would be outside of it, and so would be what a hostile file runs there."""
    setup = Setup(jobs.start_a_thread, confinement=confined().confinement)
    with pytest.raises(WorkerDiedError, match="has 2 threads before its sandbox is applied"):
        async with opened(1, setup):
            pytest.fail("it has started")


async def test_a_worker_with_two_threads_starts_without_a_sandbox() -> None:
    async with opened(1, Setup(jobs.start_a_thread)) as pool:
        assert await pool.run(jobs.echo, 1, timeout=LONG) == 1


@sandboxed
async def test_a_library_that_starts_threads_when_it_is_imported_does_not() -> None:
    """Numpy has OpenBLAS start one for each core, unless it is told not to."""
    setup = Setup(jobs.import_numpy, confinement=confined().confinement)
    async with opened(1, setup) as pool:
        assert pool.sandbox_status == available()
        assert pool.problems == ()
        assert "OPENBLAS_NUM_THREADS" not in await pool.run(jobs.variables, None, timeout=LONG)


# --- workers that die -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("job", "argument", "cause", "output"),
    [
        (jobs.die, None, "ended by SIGKILL (not by this server", ""),
        (jobs.crash, None, "ended by SIGSEGV", "Segmentation fault"),
        (jobs.leave, 7, "exit code 7: leaving", "leaving"),
    ],
    ids=["killed", "crash", "exit"],
)
async def test_the_cause_is_told_when_a_worker_dies(
    job: Any, argument: Any, cause: str, output: str
) -> None:
    events: list[Event] = []
    async with opened(1, Setup(jobs.nothing), events) as pool:
        with pytest.raises(WorkerDiedError):
            await pool.run(job, argument, timeout=LONG)
    assert len(events) == 2
    for event in events:
        assert isinstance(event, WorkerReplaced)
        assert event.cause.startswith(cause)
        assert output in event.output


async def test_a_worker_that_writes_without_end_neither_waits_nor_fills_the_memory() -> None:
    events: list[Event] = []
    async with opened(1, Setup(jobs.nothing), events) as pool:
        assert await pool.run(jobs.complain, 10 * MB, timeout=LONG) == "done"
        with pytest.raises(WorkerDiedError):
            await pool.run(jobs.leave, 3, timeout=LONG)
    assert isinstance(events[0], WorkerReplaced)
    assert len(events[0].output) <= 1 << 16
    assert events[0].output.endswith("leaving\n")


# --- folders that cannot be opened ----------------------------------------------------------


def _loop(path: Path) -> None:
    path.symlink_to(path)


def _too_long(path: Path) -> None:
    path.symlink_to("x" * 300)


@landlock
@pytest.mark.parametrize(
    ("make", "reason"),
    [(_loop, "Too many levels of symbolic links"), (_too_long, "File name too long")],
)
async def test_a_folder_that_cannot_be_opened_costs_no_more_than_itself(
    tmp_path: Path, make: Any, reason: str
) -> None:
    """Fault 32: all of Landlock was lost, and nobody was told."""
    broken, sound, outside = (tmp_path / name for name in ("broken", "sound", "outside"))
    make(broken)
    for folder in (sound, outside):
        folder.mkdir()
        (folder / "original").write_bytes(b"pixels")
    events: list[Event] = []
    async with opened(1, confined(broken, sound), events) as pool:
        assert pool.sandbox_status.landlock == available().landlock
        problem = f"landlock: {broken} is left out: {reason}"
        assert events == [SandboxIncomplete("test", problem)]
        assert list(pool.problems) == [problem]
        assert await pool.run(jobs.size_of, sound / "original", timeout=LONG) == 6
        with pytest.raises(PermissionError):
            await pool.run(jobs.size_of, outside / "original", timeout=LONG)


@landlock
async def test_a_folder_that_is_not_there_is_no_problem(tmp_path: Path) -> None:
    events: list[Event] = []
    async with opened(1, confined(tmp_path / "none"), events) as pool:
        assert pool.sandbox_status.landlock == available().landlock
    assert events == []


@landlock
async def test_a_job_looks_at_no_folders_but_those_of_its_files(tmp_path: Path) -> None:
    """Those of another type may be on a disk that does not answer."""
    own, other = tmp_path / "own", tmp_path / "other"
    for folder in (own, other):
        folder.mkdir()
        (folder / "original").write_bytes(b"pixels")
    async with opened(1, confined(own, other)) as pool:
        before = pool.pids
        other.rename(tmp_path / "moved")
        other.mkdir()
        (other / "original").write_bytes(b"more pixels")
        assert await pool.run(jobs.size_of, own / "original", timeout=LONG) == 6
        assert await pool.run(jobs.echo, None, timeout=LONG) is None
        assert pool.pids == before  # it did not notice what happened to the other
        assert await pool.run(jobs.size_of, other / "original", timeout=LONG) == 11
        assert pool.pids != before


@landlock
@pytest.mark.parametrize("missing", [Mechanism.SECCOMP, Mechanism.LIMITS])
async def test_the_error_names_what_is_required_and_missing(missing: Mechanism) -> None:
    setup = confined(required=True, mechanisms=frozenset(Mechanism) - {missing})
    with pytest.raises(WorkerDiedError, match=f"is required, and a worker has no {missing}"):
        async with opened(1, setup):
            pytest.fail("it has started")


# --- descriptors ----------------------------------------------------------------------------


@landlock
async def test_files_are_passed_to_a_worker_that_cannot_open_them(tmp_path: Path) -> None:
    """And they are closed after the job, in the worker; here they stay open."""
    paths = [tmp_path / name for name in "ab"]
    for path in paths:
        path.write_text(f"text of {path.name}")
    descriptors = [os.open(path, os.O_RDONLY) for path in paths]
    try:
        async with opened(1, confined()) as pool:
            with pytest.raises(PermissionError):
                await pool.run(jobs.size_of, paths[0], timeout=LONG)
            for _ in range(50):  # more than the files that it may have open
                read = await pool.run(
                    jobs.read_both, "read: ", timeout=LONG, descriptors=descriptors
                )
                assert read == "read: text of a, text of b"
        assert all(os.fstat(descriptor) for descriptor in descriptors)
    finally:
        for descriptor in descriptors:
            os.close(descriptor)


async def test_files_are_passed_again_when_a_worker_has_died(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_text("text")
    with path.open() as file:
        async with opened(1, Setup(jobs.nothing)) as pool:
            mark = tmp_path / "mark"
            read = await pool.run(
                jobs.die_once_and_read, mark, timeout=LONG, descriptors=[file.fileno()]
            )
        assert read == "text"
