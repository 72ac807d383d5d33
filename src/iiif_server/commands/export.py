"""What `iiif-server export` does: images as files that any web server can send (level 0)."""

import asyncio
import fcntl
import json
import os
import shutil
from collections.abc import Callable, Coroutine, Iterable, Iterator
from contextlib import AbstractContextManager, aclosing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from iiif_server.cache.window import completed
from iiif_server.composition import open_context, patient
from iiif_server.errors import ConfigurationError, IiifServerError, NotBundledError
from iiif_server.iiif.identifier import Identifier, parse_identifiers
from iiif_server.iiif.manifest import ImageService, Picture, label_of, manifest, rights_uri
from iiif_server.iiif.request import parse_image_request
from iiif_server.iiif.static import LEVEL_0, StaticFile, StaticImage, folder_of
from iiif_server.iiif.versions import V3, ImageApiVersion
from iiif_server.images.body import Body
from iiif_server.images.keys import digest, encoding_text
from iiif_server.images.originals import Original
from iiif_server.pages.bundle import BUNDLE, bundled
from iiif_server.pages.exported import SCRIPT, exported_page
from iiif_server.plan.header import ImageHeader
from iiif_server.plan.original_format import OriginalFormat
from iiif_server.server.services import Services
from iiif_server.settings import Settings

Progress = Callable[[str, int], AbstractContextManager[Callable[[], None]]]
"""Given what is done and how often, a context that yields what is called after each."""

STATE = ".exported"
"""In the folder of each image: a digest of what its files were made of."""
_BYTES_OF_A_FILE = 16_384
"""What a file takes besides its content: three folders of its own, and the rest of a block."""
_BYTES_OF_A_PIXEL = 0.6
"""What a JPEG takes for one pixel at most: twice what photographs do at quality 85."""
_SCALED = 1.25
"""By how much more a pixel may take in smaller sizes, and in tiles, than it does in a JPEG."""
_FILES_OF_A_FILE = 4
"""Entries that the file system needs for one: its folders, and itself."""
_CHUNK = 1 << 20
_JPEG = (b"\xff\xd8", b"\xff\xd9")
"""What a whole JPEG begins and ends with."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where the files go, and how they will be asked for."""

    folder: Path
    base_url: str
    """The URL under which the folder will be found, without a slash at its end."""
    version: ImageApiVersion = V3


@dataclass(frozen=True, slots=True)
class Failed:
    """An image that was not exported, and why."""

    identifier: Identifier
    reason: str


@dataclass(slots=True)
class Summary:
    """What was done."""

    images: int = 0
    written: int = 0
    present: int = 0
    size: int = 0
    """Bytes of what was written."""
    failed: list[Failed] = field(default_factory=list)
    without_page: str = ""
    """Why there is no viewer beside the images; empty: there is one."""

    def __str__(self) -> str:
        return (
            f"{self.images} image{'' if self.images == 1 else 's'}: {self.written} files written "
            f"({self.size:,} bytes), {self.present} there already; {len(self.failed)} failed."
        )


@dataclass(frozen=True, slots=True)
class _Job:
    """One image, and what is missing of it."""

    identifier: Identifier
    image: StaticImage
    folder: Path
    state: str
    """A digest of what its files are made of."""
    missing: int
    """Files that have to be written."""
    needed: int
    """About how many bytes of the disk they take."""


async def export(
    settings: Settings,
    type_: str | None,
    written: Iterable[str],
    target: Target,
    progress: Progress,
    *,
    signed: bool = False,
    bundle: Path = BUNDLE,
) -> Summary:
    """Write images as files, byte for byte what the server answers.

    What is there and whole is left alone. `signed` says that images of signed types may be written
    where everyone may see them. Raises ConfigurationError where the disk has too little space or
    the folder cannot be written, and what `parse_identifiers` raises.
    """
    summary = Summary()
    async with open_context(patient(settings), lambda _: None) as services:
        exporter = _Exporter(settings, services, target, summary)
        chosen = _chosen(settings, services, type_, written)
        if not chosen:
            named = f"There are no images in the type {type_}: its folder is empty."
            raise ConfigurationError(named if type_ else "No identifiers were given.")
        with progress("Looking at originals", len(chosen)) as advance:
            jobs = await exporter.jobs(chosen, advance, signed=signed)
        files, needed = sum(job.missing for job in jobs), sum(job.needed for job in jobs)
        check_space(target.folder, files, needed)
        with _alone_in(target.folder):
            try:
                script = _bring_script(target.folder, bundle)
            except NotBundledError as error:
                script, summary.without_page = None, str(error)
            with progress("Writing files", files) as advance:
                at_once = settings.image_pool_size
                await _all((exporter.write(job, script, advance) for job in jobs), at_once)
    return summary


def check_space(folder: Path, files: int, needed: int) -> None:
    """Raise ConfigurationError if the disk of a folder has too little space for these files."""
    folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise ConfigurationError(
            f"{files} files would take about {needed:,} bytes, and {folder} has {free:,} "
            "left: export fewer images at a time, or to a larger disk."
        )
    status = os.statvfs(folder)
    entries = files * _FILES_OF_A_FILE
    if status.f_files and entries > status.f_favail:
        raise ConfigurationError(
            f"{files} files and their folders would be {entries:,} entries, and the file "
            f"system of {folder} has {status.f_favail:,} left."
        )


def density(header: ImageHeader, size: int) -> float:
    """About how many bytes a pixel of an original of this size in bytes takes as a JPEG."""
    if header.format is not OriginalFormat.JPEG:
        return _BYTES_OF_A_PIXEL
    return min(_BYTES_OF_A_PIXEL, _SCALED * size / header.dimensions.area)


def estimate(files: Iterable[StaticFile], density: float) -> int:
    """About how many bytes of a disk files take, rather more than fewer."""
    return sum(_BYTES_OF_A_FILE + int(file.pixels * density) for file in files)


class _Exporter:
    """Writes the files of images into one folder."""

    def __init__(
        self, settings: Settings, services: Services, target: Target, summary: Summary
    ) -> None:
        self._settings = settings
        self._services = services
        self._target = target
        self._summary = summary
        self._looking = 2 * settings.size_pool_size
        self._files = asyncio.Semaphore(settings.image_pool_size)

    async def jobs(
        self, chosen: Iterable[Identifier], advance: Callable[[], None], *, signed: bool
    ) -> list[_Job]:
        """What is missing of each image, as far as there is one; the others have failed."""

        async def look(identifier: Identifier) -> _Job | None:
            try:
                return await self._job(identifier, signed=signed)
            except IiifServerError as error:
                self._summary.failed.append(Failed(identifier, str(error)))
                return None
            finally:
                advance()

        looking = completed((look(identifier) for identifier in chosen), self._looking)
        async with aclosing(looking) as found:
            return [job async for job in found if job is not None]

    async def _job(self, identifier: Identifier, *, signed: bool) -> _Job:
        if self._services.types[identifier.type].access == "signed" and not signed:
            raise ConfigurationError(
                "its type is signed, and what is exported is open to everyone: say "
                "--include-signed if that is meant"
            )
        async with self._services.originals.hold(identifier) as original:
            header = await self._services.headers.of(original)
        offered = self._services.offer(identifier.type, header)
        image = StaticImage(self._target.version, header.dimensions, offered)
        folder = self._target.folder / folder_of(identifier)
        state = self._state(original, image)
        missing = await asyncio.to_thread(_missing, folder, state, image)
        needed = estimate(missing, density(header, original.file.size))
        return _Job(identifier, image, folder, state, len(missing), needed)

    def _state(self, original: Original, image: StaticImage) -> str:
        encoding = encoding_text(self._settings.encoding)
        pyramids = self._settings.pyramids.model_dump_json()
        dimensions = f"{image.dimensions} {image.service.tile} {image.largest}"
        return digest(
            original.fingerprint, encoding, pyramids, dimensions, self._target.version.number
        )

    async def write(self, job: _Job, script: str | None, advance: Callable[[], None]) -> None:
        """Write what is missing of an image; info.json comes last, when all else is there."""
        try:
            await asyncio.to_thread(_begin, job.folder, job.state)
            missing = await asyncio.to_thread(_missing, job.folder, job.state, job.image)
            if missing:
                await self._prepare(job.identifier)
            files = (self._one(job, file, advance) for file in missing)
            await _all(files, self._settings.image_pool_size)
            await asyncio.to_thread(self._documents, job, script)
        except IiifServerError as error:
            self._summary.failed.append(Failed(job.identifier, str(error)))
        except OSError as error:
            raise ConfigurationError(f"{job.folder} cannot be written: {error.strerror}") from error
        else:
            self._summary.images += 1
            self._summary.present += sum(1 for _ in job.image.files()) - len(missing)

    async def _prepare(self, identifier: Identifier) -> None:
        """Have the pyramid made first: sizes are made of it, as for all who come later."""
        async with self._services.originals.hold(identifier) as original:
            header = await self._services.headers.of(original)
            pyramid = self._services.pyramids.of(original, header)
            if pyramid is not None:
                await self._services.pyramids.make(pyramid)

    async def _one(self, job: _Job, file: StaticFile, advance: Callable[[], None]) -> None:
        request = parse_image_request(file.request, job.image.version)
        if request is None:  # pragma: no cover - we wrote it
            raise ValueError(file.request)
        derivatives = self._services.derivatives
        async with self._files, derivatives.resolve(job.identifier, request) as resolved:
            body = await derivatives.body(resolved)
            await asyncio.to_thread(_write_body, job.folder / file.path, body)
        self._summary.written += 1
        self._summary.size += body.length
        advance()

    def _documents(self, job: _Job, script: str | None) -> None:
        image, version = job.image, job.image.version
        id_ = f"{self._target.base_url}/{folder_of(job.identifier)}"
        information = image.information(id_)
        label = label_of(job.identifier.name)
        service = ImageService(id_, f"ImageService{version.number[0]}", LEVEL_0[version])
        picture = Picture(
            base_uri=id_,
            services=(service,),
            label=label,
            dimensions=image.dimensions,
            limits=image.limits,
            min_sizes_size=image.service.min_sizes_size,
            rights=image.service.rights,
            extra=image.service.extra,
            only_offered=True,
        )
        document = manifest(f"{id_}/manifest.json", label, [picture])
        if script is not None:
            rights = rights_uri(image.service.rights)
            page = exported_page(label, information, script, rights)
            _write(job.folder / "index.html", page.encode())
        _write(job.folder / "manifest.json", _json(document))
        _write(job.folder / "info.json", _json(information))


def _chosen(
    settings: Settings, services: Services, type_: str | None, written: Iterable[str]
) -> list[Identifier]:
    if type_ is not None:
        return list(services.originals.identifiers(type_))
    named = parse_identifiers(written, settings.default_type)
    for identifier in named:
        services.originals.source(identifier.type)
    return list(dict.fromkeys(named))


async def _all(jobs: Iterator[Coroutine[Any, Any, None]], at_once: int) -> None:
    """Do all, some at a time, or none any more once one has failed, whose error is raised."""
    async with aclosing(completed(jobs, at_once)) as done:
        async for _ in done:
            pass


def _missing(folder: Path, state: str, image: StaticImage) -> list[StaticFile]:
    """The files that are not there, or not whole, or of another state of the original."""
    try:
        current = (folder / STATE).read_text(encoding="ascii") == state
    except OSError:
        current = False
    return [f for f in image.files() if not (current and _is_whole(folder / f.path))]


def _is_whole(path: Path) -> bool:
    """Whether a JPEG is there from its beginning to its end: a power cut may have left zeros."""
    begin, end = _JPEG
    try:
        with path.open("rb") as file:
            if file.read(len(begin)) != begin:
                return False
            file.seek(-len(end), os.SEEK_END)
            return file.read() == end
    except OSError:
        return False


def _begin(folder: Path, state: str) -> None:
    """Make the folder of an image, without what was made of another state of its original."""
    path = folder / STATE
    with suppress(OSError):
        if path.read_text(encoding="ascii") == state:
            return
    if path.exists():  # else nothing in it is ours to remove
        shutil.rmtree(folder)
    _write(path, state.encode())


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Let no other run write to a folder meanwhile; ConfigurationError if one does."""
    opened = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ConfigurationError(f"Another run is writing to {folder}.") from error
        except OSError:
            pass  # some file systems lock no folders
        yield
    finally:
        os.close(opened)


def _bring_script(folder: Path, bundle: Path) -> str:
    """What leads from the page of an image to OpenSeadragon, which is put into the folder."""
    source = bundled(f"openseadragon/{SCRIPT}", bundle)
    _write(folder / SCRIPT, source.read_bytes())
    return f"../../{SCRIPT}"


def _write_body(path: Path, body: Body) -> None:
    if body.file is None:
        _write(path, body.data or b"")
        return
    with body.file as source:
        _write(path, iter(lambda: source.read(_CHUNK), b""))


def _write(path: Path, content: bytes | Iterator[bytes]) -> None:
    """Write a file that is there whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # Always the same name, so that what an interrupted run has left is written over.
    part = path.with_name(f".{path.name}.part")
    try:
        with part.open("wb") as file:
            for chunk in (content,) if isinstance(content, bytes) else content:
                file.write(chunk)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _json(document: dict[str, Any]) -> bytes:
    return json.dumps(document, ensure_ascii=False, indent=1).encode()
