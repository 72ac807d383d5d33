"""Tasks of an export: checking an original, and writing its files."""

import asyncio
import errno
import json
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from iiif_server.background import completed
from iiif_server.commands.bulk.tasks import Outcome, Result, TaskContext, failure, pages_of
from iiif_server.commands.export.files import (
    cannot_write,
    density,
    estimate,
    missing,
    prepare_folder,
    write,
    write_body,
)
from iiif_server.errors import ConfigurationError
from iiif_server.iiif.identifier import Identifier
from iiif_server.iiif.manifest import ImageService, Picture, label_of, manifest, rights_uri
from iiif_server.iiif.request import parse_whole_request
from iiif_server.iiif.static import LEVEL_0, StaticFile, StaticImage, folder_of
from iiif_server.iiif.versions import V2, V3, ImageApiVersion
from iiif_server.images.keys import digest, encoding_text
from iiif_server.images.registry import Image
from iiif_server.pages.rendering import exported_page
from iiif_server.telemetry.stages import Stages

_FATAL_ERRNOS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.ENODEV})
"""Disk errors that would fail all other images, too."""


@dataclass(frozen=True, slots=True)
class Target:
    """Target of an export: folder, URL and options."""

    folder: Path
    base_url: str
    """Public URL of the folder, without a trailing slash."""
    version_number: str = V3.number
    """Version of the Image API."""
    signed: bool = False
    """Whether to export images of signed types, which are then public."""
    script: str | None = None
    """Relative URL of OpenSeadragon from the page of an image; None: write no pages."""

    @property
    def version(self) -> ImageApiVersion:
        """Version of the Image API."""
        return V2 if self.version_number == V2.number else V3


@dataclass(frozen=True, slots=True)
class _Export:
    """Export of one image."""

    identifier: Identifier
    found: Image
    image: StaticImage
    folder: Path
    state: str
    """Digest of the original and the settings on which its files depend."""

    def missing(self) -> list[StaticFile]:
        """Return the missing files."""
        return missing(self.folder, self.state, self.image)


async def check_one(context: TaskContext, identifier: Identifier, target: Target) -> Result:
    """Check an original: count its missing files, and estimate their disk space."""
    export = await _export(context, identifier, target)
    files = await asyncio.to_thread(export.missing)
    per_pixel = density(export.found.header, export.found.original.file.size)
    counts = {"missing": len(files), "needed": estimate(files, per_pixel)}
    return Result(Outcome.FOUND, counts=counts, pages=pages_of(export.found))


async def write_one(context: TaskContext, identifier: Identifier, target: Target) -> Result:
    """Write the missing files of an image; info.json is last, when all others exist."""
    export = await _export(context, identifier, target)
    try:
        await asyncio.to_thread(prepare_folder, target.folder, export.folder, export.state)
        files = await asyncio.to_thread(export.missing)
        if files:
            await _prepare(context, identifier)
        written = 0
        jobs = (_write_file(context, export, file) for file in files)
        async with aclosing(completed(jobs, context.settings.image_pool_size)) as done:
            async for length in done:
                written += length
        await asyncio.to_thread(_write_documents, export, target)
    except OSError as error:
        return failure(identifier, cannot_write(error), fatal=error.errno in _FATAL_ERRNOS)
    present = sum(1 for _ in export.image.files()) - len(files)
    counts = {"written": len(files), "bytes": written, "present": present}
    return Result(Outcome.MADE if files else Outcome.PRESENT, counts=counts)


async def _export(context: TaskContext, identifier: Identifier, target: Target) -> _Export:
    services, settings = context.services, context.settings
    if services.types[identifier.type].access != "public" and not target.signed:
        raise ConfigurationError(
            "its type is signed, and exported images are open to everyone: add "
            "--include-signed to export it nevertheless"
        )
    found = await services.images.get(identifier)
    service = services.service_description(found)
    image = StaticImage(target.version, found.header.dimensions, service)
    state = digest(
        found.original.fingerprint,
        encoding_text(settings.encoding),
        settings.pyramids.model_dump_json(),
        f"{image.dimensions} {service.tile} {image.largest}",
        target.version_number,
    )
    return _Export(identifier, found, image, target.folder / folder_of(identifier), state)


async def _prepare(context: TaskContext, identifier: Identifier) -> None:
    """Build the pyramid of an image, from which sizes are rendered."""
    async with context.services.images.hold(identifier) as image:
        if image.pyramid is not None:
            await context.services.pyramids.build(image.pyramid)


async def _write_file(context: TaskContext, export: _Export, file: StaticFile) -> int:
    """Render and write a file; return its length in bytes."""
    request = parse_whole_request(file.request, export.image.version)
    derivatives = context.services.derivatives
    async with context.slots, context.services.images.hold(export.identifier) as image:
        body = await derivatives.body(derivatives.resolve(image, request, Stages()))
        await asyncio.to_thread(write_body, export.folder / file.path, body)
    return body.length


def _write_documents(export: _Export, target: Target) -> None:
    image, version = export.image, export.image.version
    id_ = f"{target.base_url}/{folder_of(export.identifier)}"
    information = image.information(id_)
    label = label_of(export.identifier.name)
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
    if target.script is not None:
        page = exported_page(label, information, target.script, rights_uri(image.service.rights))
        write(export.folder / "index.html", page.encode())
    write(export.folder / "manifest.json", _json(document))
    write(export.folder / "info.json", _json(information))


def _json(document: dict[str, Any]) -> bytes:
    return json.dumps(document, ensure_ascii=False, indent=1).encode()
