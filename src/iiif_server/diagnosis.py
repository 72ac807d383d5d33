"""What `iiif-server check` finds."""

import asyncio
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from iiif_server.context import INCOMING, fences, memory_for_images
from iiif_server.errors import IiifServerError
from iiif_server.image_api.formats import Format
from iiif_server.imaging import libturbojpeg, raster
from iiif_server.settings import Settings
from iiif_server.sources.base import Surroundings
from iiif_server.sources.fetching import Fetcher
from iiif_server.sources.registry import build_sources
from iiif_server.workers.options import Fencing


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    subject: str
    text: str
    fine: bool = True


def diagnose(settings: Settings) -> list[Finding]:
    """Everything that was looked at, in the order in which an operator would mend it."""
    return [
        _writable("cache_path", settings.cache_path),
        *_types(settings),
        _turbojpeg(settings),
        *_codecs(),
        *_sizing(settings),
        _confinement(settings),
    ]


def _types(settings: Settings) -> Iterator[Finding]:
    if not settings.types:
        yield Finding("types", "none: add [types.NAME] with a source", fine=False)
    fetcher = Fetcher(settings.fetch, settings.max_http_fetches, settings.source_path / INCOMING)
    sources = build_sources(
        settings.types,
        lambda name: Surroundings(name, settings.source_path / name, fetcher, lambda _: None),
    )
    for name, source in sources.items():
        problems = source.problems()
        for problem in problems:
            yield Finding(f"type {name}", problem, fine=False)
        if not problems:
            yield Finding(f"type {name}", f"source {settings.types[name].source}")
    if any(options.source != "disk" for options in settings.types.values()):
        yield _writable("source_path", settings.source_path)


def _turbojpeg(settings: Settings) -> Finding:
    """Which libturbojpeg is used, or which package to install."""
    subject = "turbojpeg"
    libturbojpeg.use(settings.workers.turbojpeg)
    report = libturbojpeg.library_report()
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
    cores = os.cpu_count() or 1
    text = f"{settings.image_pool_size} image processes on {cores} cores"
    if settings.image_pool_size > 2 * cores:
        yield Finding("image_pool_size", f"{text}: more than twice as many only wait", fine=False)
    else:
        yield Finding("image_pool_size", text)
    yield Finding("limits.memory", f"{memory_for_images(settings):,} bytes for images being made")


def _confinement(settings: Settings) -> Finding:
    """What holds worker processes in, as one of them finds it."""
    subject = "confinement"
    if settings.workers.confinement is Fencing.OFF:
        return Finding(subject, "off: a file that takes a decoder over can do what the server can")
    try:
        found = asyncio.run(fences(settings))
    except IiifServerError as error:
        return Finding(subject, str(error), fine=False)
    parts = [
        *(["limits"] if found.limits else []),
        *([f"landlock {found.landlock}"] if found.landlock else []),
        *([f"seccomp {found.seccomp}"] if found.seccomp else []),
    ]
    text = f"{', '.join(parts) or 'nothing'} around worker processes"
    if found.lacking:
        text += f"; this system has no {', no '.join(found.lacking)}"
    return Finding(subject, f"{text}; held back: {', '.join(found.barriers) or 'nothing'}")


def _writable(subject: str, folder: Path) -> Finding:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        return Finding(
            subject,
            f"{folder} cannot be written ({error.strerror}): change it or its owner",
            fine=False,
        )
    return Finding(subject, f"{folder} can be written")
