"""`iiif-server check`: reports problems with the settings and the system, and remedies."""

import asyncio
import grp
import os
import secrets
import tempfile
from base64 import b64decode
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO

import click

from iiif_server.commands.check.findings import Finding, check_writable
from iiif_server.commands.check.types import check_types
from iiif_server.commands.common import ReadSettings, fail, settings_options
from iiif_server.composition.components import Reach, open_pool, open_store
from iiif_server.composition.sharing import open_bucket
from iiif_server.composition.sizing import memory_for_images, threads_of
from iiif_server.errors import (
    ConfigurationError,
    IiifServerError,
    RenderFailedError,
    SharedCacheUnavailableError,
)
from iiif_server.iiif.formats import Format
from iiif_server.iiif.geometry import Limits
from iiif_server.iiif.request import ImageFacts, parse_whole_request
from iiif_server.iiif.versions import V3
from iiif_server.plan.header import ImageHeader
from iiif_server.plan.jobs import (
    READ_HEADER,
    RENDER,
    TURBOJPEG_OFF,
    LibraryReport,
    WorkerReport,
)
from iiif_server.plan.local_file import FileVersion, LocalFile
from iiif_server.plan.render_plan import Engine, RenderPlan, plan_operations
from iiif_server.settings import Loaded, Settings
from iiif_server.sharing.objects import PURGES
from iiif_server.units import show_size
from iiif_server.workers.machine import this_machine
from iiif_server.workers.options import ConfinementMode
from iiif_server.workers.pool import WorkerPool
from iiif_server.workers.sandbox.confinement import SandboxStatus

_JOB_SECONDS = 60.0
_TEST_IMAGE = b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAEAAAABACAIAAAAlC+aJAAAATUlEQVR42u3PQQkAAAgEsDuwf2Yj+BYGK7Ammc8qICAg"
    "ICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgIHBZako/QThyVJcAAAAASUVORK5CYII="
)
"""PNG of 64 x 64 pixels, so that this process needs no codec."""


@dataclass(frozen=True, slots=True)
class _WorkerTest:
    """Facts of a worker that has started and done a job."""

    pool: str
    pid: int
    job: str
    """Description of the job."""
    sandbox_status: SandboxStatus
    problems: tuple[str, ...]
    """Reasons why mechanisms of the sandbox are unavailable."""
    report: WorkerReport


@click.command()
@settings_options
def check(read: ReadSettings) -> None:
    """Check settings, folders, sources, codecs and the sandbox; report problems and remedies.

    Exits with 1 if there is a problem. The command changes nothing and creates no folders.
    """
    findings = _diagnose(read())
    for finding in findings:
        click.echo(f"{finding.label:4}  {finding.subject}: {finding.text}")
    problems = sum(not finding.ok for finding in findings)
    if problems:
        fail(f"{problems} problem{'s' if problems > 1 else ''} found.")
    click.echo("No problems found.")


def _diagnose(loaded: Loaded) -> list[Finding]:
    """Return the results of all checks, in the order in which to fix problems."""
    settings = loaded.settings
    tests = _test_workers_or_error(settings)
    return [
        Finding("settings", str(loaded.file.absolute()) if loaded.file else "no settings file"),
        *(Finding("settings", text, warning=True) for text in loaded.warnings),
        check_writable("cache_path", settings.cache_path),
        *_accel(settings),
        *asyncio.run(check_types(settings)),
        *asyncio.run(check_shared_cache(settings)),
        *_libraries(tests, settings),
        *_sizing(settings),
        *_workers(tests, settings),
    ]


def _accel(settings: Settings) -> Iterator[Finding]:
    """Check whether nginx can read the files that it sends for `delivery.accel_redirect`."""
    if settings.delivery.accel_redirect is None:
        return
    subject = "delivery.accel_redirect"
    folder = (settings.cache_path / "derivatives" / "entries").absolute()
    for part in reversed([folder, *folder.parents]):
        try:
            status = part.stat()
        except OSError:
            break  # it does not exist yet, and will get the mode of its parents
        others, group = status.st_mode & 0o001, status.st_mode & 0o010
        if others:
            continue
        text = f"nginx sends files below {folder}, and {part} (mode {status.st_mode & 0o777:03o})"
        if not group:
            yield Finding(subject, f"{text} is closed to all but its owner: chmod it", ok=False)
        else:
            yield Finding(
                subject,
                f"{text} is open to the group {_group(status.st_gid)} only: nginx's user must be "
                f"in it (usermod -aG {_group(status.st_gid)} www-data, then restart nginx)",
                warning=True,
            )
        return
    yield Finding(subject, f"nginx sends files below {folder}")


def _group(number: int) -> str:
    try:
        return grp.getgrgid(number).gr_name
    except KeyError:
        return str(number)


def _libraries(tests: list[_WorkerTest] | Exception, settings: Settings) -> list[Finding]:
    """Check the imaging libraries that a worker reports."""
    if isinstance(tests, Exception):
        return []  # see `_workers`
    report = tests[-1].report
    return [_turbojpeg(report.turbojpeg, settings), *_formats(report.formats)]


def _turbojpeg(report: LibraryReport, settings: Settings) -> Finding:
    """Report the libturbojpeg in use, or the package to install."""
    subject = "turbojpeg"
    if report.problem:
        return Finding(subject, report.problem, ok=False)
    if not report.lossless:
        off = settings.workers.turbojpeg == TURBOJPEG_OFF
        missing = "switched off by workers.turbojpeg" if off else "not found"
        return Finding(subject, f"libturbojpeg is {missing}. {report.advice}; all else works")
    text = f"lossless JPEG tiles by {report.path}, version {report.version or 'unknown'}"
    return Finding(subject, f"{text}. {report.advice}" if report.advice else text)


def _formats(made: Sequence[Format]) -> Iterator[Finding]:
    yield Finding("formats", ", ".join(made))
    for needed in (Format.JPG, Format.PNG):
        if needed not in made:
            yield Finding("formats", f"{needed} cannot be made: reinstall pyvips[binary]", ok=False)


def _sizing(settings: Settings) -> Iterator[Finding]:
    machine = this_machine()
    cpus, memory = f"{machine.cpus} CPUs", show_size(machine.memory)
    if machine.cpus < machine.all_cpus:
        cpus += f" (limited by CPU affinity or the container; the machine has {machine.all_cpus})"
    if machine.memory < machine.all_memory:
        memory += f" (limited by the container; the machine has {show_size(machine.all_memory)})"
    yield Finding("machine", f"{cpus}, {memory} of memory")
    text = f"{settings.image_pool_size} image workers with {threads_of(settings)} threads each"
    too_many = settings.image_pool_size > 2 * machine.cpus
    if too_many:
        text += f" for {machine.cpus} CPUs: more than twice as many workers as CPUs only wait"
    yield Finding("image_pool_size", text, ok=not too_many)
    size = memory_for_images(settings)
    text = f"{show_size(size)} for images that are being rendered"
    if size > machine.memory:
        text += f", but there are {show_size(machine.memory)}"
    yield Finding("limits.memory", text, ok=size <= machine.memory)


async def _test_workers(settings: Settings) -> list[_WorkerTest]:
    """Start a worker of each pool in its sandbox, as `serve` does, and run a job in it.

    The workers get the test image as an open file, like originals, and write the result into the
    cache. Raises WorkerDiedError with the cause, or another IiifServerError.
    """
    store = open_store(settings, lambda _: None)
    async with AsyncExitStack() as stack:
        file = stack.enter_context(tempfile.TemporaryFile())  # noqa: SIM115 - the stack closes it
        file.write(_TEST_IMAGE)
        file.seek(0)
        original = LocalFile(Path("test image"), FileVersion.of(os.fstat(file.fileno())))
        size = await open_pool(stack, settings, lambda _: None, "size", Reach(), workers=1)
        probe = partial(READ_HEADER, max_pixels=settings.limits.max_source_pixels)
        seconds, files = _JOB_SECONDS, [file.fileno()]
        header = await size.run(probe, original, timeout=seconds, descriptors=files)
        target = _target(stack, store.incoming)
        reach = Reach(store.root, store.incoming)
        image = await open_pool(stack, settings, lambda _: None, "image", reach, workers=1)
        file.seek(0)
        plan = _plan(original, header, settings, target)
        made = await image.run(RENDER, plan, timeout=seconds, descriptors=files)
        if made.write_error is not None:
            reason = made.write_error.strerror
            raise RenderFailedError(f"A worker cannot write into {store.incoming}: {reason}.")
        if not (made.data or (target.read(2) if target else b"")).startswith(b"\xff\xd8"):
            raise RenderFailedError("A worker rendered a test image, but the result is not a JPEG.")
        where = " and wrote it into the cache" if made.data is None else ""
        return [
            _worker_test("size", size, "read the header of a test image"),
            _worker_test("image", image, f"made a JPEG of a test image{where}"),
        ]


def _target(stack: AsyncExitStack, folder: Path) -> IO[bytes] | None:
    """Create a file for the result; None if the cache is missing or cannot be written.

    `check_writable` reports the reason. This creates no folder.
    """
    try:
        return stack.enter_context(tempfile.NamedTemporaryFile(dir=folder))
    except OSError:
        return None


def _worker_test(name: str, pool: WorkerPool, job: str) -> _WorkerTest:
    return _WorkerTest(
        name, pool.pids[0], job, pool.sandbox_status, tuple(pool.problems), pool.report
    )


def _plan(
    original: LocalFile, header: ImageHeader, settings: Settings, target: IO[bytes] | None
) -> RenderPlan:
    """Return the plan that renders the test image at half its size as JPEG."""
    facts = ImageFacts(header.dimensions, gray=False)
    request = parse_whole_request("full/32,/0/default.jpg", V3)
    work = plan_operations(header, request.resolve(facts, Limits()))
    path = Path(target.name) if target else None
    return RenderPlan(original, header, Engine.RASTER, work, settings.encoding, path)


def _test_workers_or_error(settings: Settings) -> list[_WorkerTest] | Exception:
    """Try a worker of each pool; return their facts, or the error."""
    try:
        return asyncio.run(_test_workers(settings))
    except (IiifServerError, OSError) as error:
        return error


def _workers(tests: list[_WorkerTest] | Exception, settings: Settings) -> Iterator[Finding]:
    """Report the workers, the versions of their libraries, and the sandbox."""
    subject = "confinement"
    if settings.workers.confinement is ConfinementMode.OFF:
        yield Finding(subject, "off: a file that exploits a decoder has the rights of the server")
    if isinstance(tests, Exception):
        refused = isinstance(tests, ConfigurationError)
        yield Finding(subject if refused else "workers", str(tests), ok=False)
        return
    for test in tests:
        found = {**test.report.versions, "libturbojpeg": test.report.turbojpeg.version}
        versions = ", ".join(f"{name} {text}" for name, text in found.items() if text)
        yield Finding(f"{test.pool} worker", f"pid {test.pid} {test.job} ({versions})")
        for problem in test.problems:
            yield Finding(f"{test.pool} worker", problem, ok=False)
    if settings.workers.confinement is not ConfinementMode.OFF:
        yield Finding(subject, _sandbox(tests[-1].sandbox_status))


def _sandbox(found: SandboxStatus) -> str:
    parts = [
        *(["limits"] if found.limits else []),
        *([f"landlock {found.landlock}"] if found.landlock else []),
        *([f"seccomp {found.seccomp}"] if found.seccomp else []),
    ]
    text = f"{', '.join(parts) or 'nothing'} around worker processes"
    if found.unavailable:
        text += f"; this system has no {', no '.join(found.unavailable)}"
    return f"{text}; restricted: {', '.join(found.restrictions) or 'nothing'}"


async def check_shared_cache(settings: Settings) -> list[Finding]:
    """Check whether the bucket permits to list, write, read and delete objects, as replicas do."""
    url = settings.cache.shared
    if url is None:
        return []
    name = f"checks/{secrets.token_hex(8)}"
    try:
        bucket = open_bucket(settings, url, lambda _: None)
    except ConfigurationError as error:
        return [Finding("cache.shared", str(error), ok=False)]
    requests: dict[str, Callable[[], Awaitable[object]]] = {
        "listed": lambda: bucket.listed(PURGES),
        "written": lambda: bucket.write(name, b"check"),
        "read": lambda: bucket.content(name),
        "deleted from": lambda: bucket.remove([name]),
    }
    for done, send in requests.items():
        try:
            await send()
        except SharedCacheUnavailableError as error:
            text = f"{url} cannot be {done}: {error.reason}"
            return [Finding("cache.shared", text, ok=False)]
    return [Finding("cache.shared", f"{url} can be {', '.join(requests)}")]
