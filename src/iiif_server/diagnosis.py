"""What `iiif-server check` finds."""

import asyncio
import errno
import grp
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from iiif_server.context import INCOMING, memory_for_images, threads_of
from iiif_server.errors import ConfigurationError, IiifServerError, UnknownTypeError
from iiif_server.image_api.formats import Format
from iiif_server.image_api.identifier import Identifier
from iiif_server.imaging import libturbojpeg, raster
from iiif_server.pipeline.originals import Originals
from iiif_server.settings import Loaded, Settings
from iiif_server.sources.base import Source, Surroundings
from iiif_server.sources.fetching import Fetcher
from iiif_server.sources.opening import user_name
from iiif_server.sources.registry import build_sources
from iiif_server.trial import try_workers
from iiif_server.units import show_size
from iiif_server.workers.confinement import InForce
from iiif_server.workers.machine import this_machine
from iiif_server.workers.options import Fencing

_SECONDS_TO_ANSWER = 10.0
"""How long a disk is waited for."""


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check."""

    subject: str
    text: str
    fine: bool = True
    """Whether it is no problem."""
    warning: bool = False

    @property
    def label(self) -> str:
        """What stands in front of it."""
        return "FAIL" if not self.fine else "WARN" if self.warning else "ok"


def diagnose(loaded: Loaded) -> list[Finding]:
    """The results of all checks, in the order in which an operator would fix problems."""
    settings = loaded.settings
    return [
        Finding("settings", str(loaded.file.absolute()) if loaded.file else "no settings file"),
        *(Finding("settings", text, warning=True) for text in loaded.warnings),
        _writable("cache_path", settings.cache_path),
        *_accel(settings),
        *_types(settings),
        _turbojpeg(settings),
        *_codecs(),
        *_sizing(settings),
        *_workers(settings),
    ]


def doubts_about_signing(settings: Settings, identifier: Identifier) -> list[str]:
    """Why a signed URL of an image may be of no use; nothing is fetched to find out.

    Raises UnknownTypeError for a type that is not configured.
    """
    options = settings.types.get(identifier.type)
    if options is None:
        raise UnknownTypeError(
            f"There is no type {identifier.type!r} in the settings: "
            f"they have {', '.join(sorted(settings.types)) or 'none'}."
        )
    doubts = []
    if options.access != "signed":
        doubts.append(f"the type {identifier.type!r} is public: its URLs need no signature.")
    if options.source == "disk":

        async def look() -> None:
            async with _sources(settings)[identifier.type].hold(identifier.name):
                pass

        try:
            asyncio.run(look())
        except IiifServerError as error:
            doubts.append(f"the original of {identifier} cannot be opened: {error}")
    return doubts


def _accel(settings: Settings) -> Iterator[Finding]:
    """Whether nginx can read the files that `delivery.accel_redirect` has it send."""
    if settings.delivery.accel_redirect is None:
        return
    subject = "delivery.accel_redirect"
    folder = (settings.cache_path / "derivatives" / "entries").absolute()
    for part in reversed([folder, *folder.parents]):
        try:
            status = part.stat()
        except OSError:
            break  # it is made with the mode of those above it
        others, group = status.st_mode & 0o001, status.st_mode & 0o010
        if others:
            continue
        text = f"nginx sends files below {folder}, and {part} (mode {status.st_mode & 0o777:03o})"
        if not group:
            yield Finding(subject, f"{text} is closed to all but its owner: chmod it", fine=False)
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


def _sources(settings: Settings) -> dict[str, Source[Any]]:
    fetcher = Fetcher(settings.fetch, settings.max_http_fetches, settings.source_path / INCOMING)
    return build_sources(
        settings.types,
        lambda name: Surroundings(name, settings.source_path / name, fetcher, lambda _: None),
    )


def _types(settings: Settings) -> Iterator[Finding]:
    if not settings.types:
        yield Finding("types", "none: add [types.NAME] with a source", fine=False)
    originals = Originals(_sources(settings))
    found = asyncio.run(originals.problems(_SECONDS_TO_ANSWER))
    for name in originals.not_answering:
        found[name] = [f"its storage does not answer within {_SECONDS_TO_ANSWER:g} seconds"]
    for name, problems in found.items():
        for problem in problems:
            yield Finding(f"type {name}", problem, fine=False)
        if not problems:
            folder = (settings.source_path / name).absolute()
            yield Finding(f"type {name}", f"source {settings.types[name].source}, folder {folder}")
    if any(options.source != "disk" for options in settings.types.values()):
        yield _writable("source_path", settings.source_path)


def _turbojpeg(settings: Settings) -> Finding:
    """Which libturbojpeg is used, or which package to install."""
    subject = "turbojpeg"
    report = libturbojpeg.report(settings.workers.turbojpeg)
    if report.problem:
        return Finding(subject, report.problem, fine=False)
    if not report.lossless:
        off = settings.workers.turbojpeg == libturbojpeg.OFF
        missing = "switched off by workers.turbojpeg" if off else "not found"
        return Finding(subject, f"libturbojpeg is {missing}. {report.advice}; all else works")
    text = f"lossless JPEG tiles by {report.path}, version {report.version or 'unknown'}"
    return Finding(subject, f"{text}. {report.advice}" if report.advice else text)


def _codecs() -> Iterator[Finding]:
    made = raster.supported_formats()
    yield Finding("formats", ", ".join(made))
    for needed in (Format.JPG, Format.PNG):
        if needed not in made:
            yield Finding(
                "formats", f"{needed} cannot be made: reinstall pyvips[binary]", fine=False
            )


def _sizing(settings: Settings) -> Iterator[Finding]:
    machine = this_machine()
    cpus, memory = f"{machine.cpus} CPUs", show_size(machine.memory)
    if machine.cpus < machine.all_cpus:
        cpus += f" (limited by CPU affinity or the container; the machine has {machine.all_cpus})"
    if machine.memory < machine.all_memory:
        memory += f" (limited by the container; the machine has {show_size(machine.all_memory)})"
    yield Finding("machine", f"{cpus}, {memory} of memory")
    text = f"{settings.image_pool_size} image workers with {threads_of(settings)} threads each"
    if settings.image_pool_size > 2 * machine.cpus:
        text += f" for {machine.cpus} CPUs: more than twice as many workers as CPUs only wait"
        yield Finding("image_pool_size", text, fine=False)
    else:
        yield Finding("image_pool_size", text)
    yield from _memory(settings, machine.memory)


def _memory(settings: Settings, available: int) -> Iterator[Finding]:
    size = memory_for_images(settings)
    text = f"{show_size(size)} for images that are being rendered"
    if size > available:
        yield Finding("limits.memory", f"{text}, but there are {show_size(available)}", fine=False)
    else:
        yield Finding("limits.memory", text)


def _workers(settings: Settings) -> Iterator[Finding]:
    """One worker of each pool, as it reports itself; and the sandbox that it is in."""
    subject = "confinement"
    if settings.workers.confinement is Fencing.OFF:
        yield Finding(subject, "off: a file that takes a decoder over can do what the server can")
    try:
        trials = asyncio.run(try_workers(settings))
    except ConfigurationError as error:
        yield Finding(subject, str(error), fine=False)
        return
    except (IiifServerError, OSError) as error:
        yield Finding("workers", str(error), fine=False)
        return
    for trial in trials:
        found = {**trial.report.versions, "libturbojpeg": trial.report.turbojpeg.version}
        versions = ", ".join(f"{name} {text}" for name, text in found.items() if text)
        yield Finding(f"{trial.pool} worker", f"pid {trial.pid} {trial.did} ({versions})")
        for problem in trial.problems:
            yield Finding(f"{trial.pool} worker", problem, fine=False)
    if settings.workers.confinement is not Fencing.OFF:
        yield Finding(subject, _sandbox(trials[-1].in_force))


def _sandbox(found: InForce) -> str:
    parts = [
        *(["limits"] if found.limits else []),
        *([f"landlock {found.landlock}"] if found.landlock else []),
        *([f"seccomp {found.seccomp}"] if found.seccomp else []),
    ]
    text = f"{', '.join(parts) or 'nothing'} around worker processes"
    if found.lacking:
        text += f"; this system has no {', no '.join(found.lacking)}"
    return f"{text}; held back: {', '.join(found.barriers) or 'nothing'}"


def _writable(subject: str, folder: Path) -> Finding:
    """Whether the server can write into a folder, or create it; it is not created here."""
    folder = folder.absolute()
    try:
        if folder.exists():
            with tempfile.TemporaryFile(dir=folder):
                return Finding(subject, f"{folder} can be written")
        parent = next(parent for parent in folder.parents if parent.exists())
        if not parent.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
        if not os.access(parent, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except OSError as error:
        text = (
            f"{folder} cannot be written by the user {user_name()} ({error.strerror}): "
            "change it or its owner"
        )
        return Finding(subject, text, fine=False)
    return Finding(subject, f"{folder} does not exist yet; the server will create it")
