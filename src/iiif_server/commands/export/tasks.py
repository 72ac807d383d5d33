"""Tasks of an export: looking at an original, and writing its files."""

import asyncio
import errno
import json
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from iiif_server.background import completed
from iiif_server.commands.bulk.tasks import Bench, Outcome, Result, failure, pages_of
from iiif_server.commands.export.files import (
    begin,
    cannot_write,
    density,
    estimate,
    missing,
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

_NONE_CAN = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.ENODEV})
"""Errors of disks after which no other image can be written either."""


@dataclass(frozen=True, slots=True)
class Target:
    """What is written where."""

    folder: Path
    base_url: str
    """The public URL of the folder, without a slash at its end."""
    number: str = V3.number
    """The version of the Image API."""
    signed: bool = False
    """Whether images of signed types may be written, which are then open to everyone."""
    script: str | None = None
    """The URL of OpenSeadragon from the page of an image; None: there are no pages."""

    @property
    def version(self) -> ImageApiVersion:
        """The version of the Image API."""
        return V2 if self.number == V2.number else V3


@dataclass(frozen=True, slots=True)
class _Export:
    """The export of one image."""

    identifier: Identifier
    found: Image
    image: StaticImage
    folder: Path
    state: str
    """A digest of the original and the settings that its files depend on."""

    def missing(self) -> list[StaticFile]:
        """The files that are not there."""
        return missing(self.folder, self.state, self.image)


async def look_one(bench: Bench, identifier: Identifier, target: Target) -> Result:
    """Look at an original: how many of its files are missing, and what they need of the disk."""
    export = await _export(bench, identifier, target)
    files = await asyncio.to_thread(export.missing)
    per_pixel = density(export.found.header, export.found.original.file.size)
    counts = {"missing": len(files), "needed": estimate(files, per_pixel)}
    return Result(Outcome.FOUND, counts=counts, pages=pages_of(export.found))


async def write_one(bench: Bench, identifier: Identifier, target: Target) -> Result:
    """Write the missing files of an image; info.json last, when all others exist."""
    export = await _export(bench, identifier, target)
    try:
        await asyncio.to_thread(begin, target.folder, export.folder, export.state)
        files = await asyncio.to_thread(export.missing)
        if files:
            await _prepare(bench, identifier)
        written = 0
        jobs = (_write_file(bench, export, file) for file in files)
        async with aclosing(completed(jobs, bench.settings.image_pool_size)) as done:
            async for length in done:
                written += length
        await asyncio.to_thread(_write_documents, export, target)
    except OSError as error:
        return failure(identifier, cannot_write(error), fatal=error.errno in _NONE_CAN)
    present = sum(1 for _ in export.image.files()) - len(files)
    counts = {"written": len(files), "bytes": written, "present": present}
    return Result(Outcome.MADE if files else Outcome.PRESENT, counts=counts)


async def _export(bench: Bench, identifier: Identifier, target: Target) -> _Export:
    services, settings = bench.services, bench.settings
    if services.types[identifier.type].access != "public" and not target.signed:
        raise ConfigurationError(
            "its type is signed, and exported images are open to everyone: say "
            "--include-signed if that is meant"
        )
    found = await services.images.get(identifier)
    service = services.service_description(found)
    image = StaticImage(target.version, found.header.dimensions, service)
    state = digest(
        found.original.fingerprint,
        encoding_text(settings.encoding),
        settings.pyramids.model_dump_json(),
        f"{image.dimensions} {service.tile} {image.largest}",
        target.number,
    )
    return _Export(identifier, found, image, target.folder / folder_of(identifier), state)


async def _prepare(bench: Bench, identifier: Identifier) -> None:
    """Build the pyramid first: sizes are rendered from it."""
    async with bench.services.images.hold(identifier) as image:
        if image.pyramid is not None:
            await bench.services.pyramids.make(image.pyramid)


async def _write_file(bench: Bench, export: _Export, file: StaticFile) -> int:
    """Write a file; its bytes."""
    request = parse_whole_request(file.request, export.image.version)
    derivatives = bench.services.derivatives
    async with bench.slots, bench.services.images.hold(export.identifier) as image:
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
