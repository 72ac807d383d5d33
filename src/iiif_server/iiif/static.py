"""Static files of an image, for any web server (compliance level 0).

Their paths follow the implementation notes (Image API 3.0, 12; 2.1.1, 11), as the requests of
OpenSeadragon and other viewers do.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

from iiif_server.iiif.formats import FORMAT_FACTS, Format
from iiif_server.iiif.geometry import (
    Dimensions,
    Limits,
    announced_sizes,
    offered_tile,
    scale_factors,
)
from iiif_server.iiif.identifier import Identifier
from iiif_server.iiif.information import PROTOCOL, Service, extra_properties
from iiif_server.iiif.size import MaxSize
from iiif_server.iiif.versions import V2, V3, ImageApiVersion
from iiif_server.iiif.viewers import jpeg_path, tile_requests

LEVEL_0 = {V3: "level0", V2: "http://iiif.io/api/image/2/level0.json"}
"""Compliance level as each version of info.json writes it."""

_UNSAFE = re.compile(r"[^A-Za-z0-9.-]+")
_MAX_NAME_CHARACTERS = 80
"""Maximum characters of an image's name in a folder name; longer names are cut and get a digest."""


@dataclass(frozen=True, slots=True)
class StaticFile:
    """File for one image request."""

    path: str
    """Path of the file: `region/size/rotation/quality.format`."""
    request: str
    """Parameters of the request to this server for the same image; mostly the same as `path`."""
    pixels: int
    """Number of pixels of the image."""


@dataclass(frozen=True, slots=True)
class StaticImage:
    """Static files of an image, and its info.json."""

    version: ImageApiVersion
    dimensions: Dimensions
    service: Service
    """Image service of this server, of which the files are a part."""

    @property
    def largest(self) -> Dimensions:
        """Size of `max` for the whole image, within the limits of server and JPEG."""
        return MaxSize(upscale=False).scale(self.dimensions, self.limits)

    def files(self) -> Iterator[StaticFile]:
        """All files, each once: tiles, full resolution first; then sizes, the largest last."""
        seen: dict[str, StaticFile] = {}
        for file in (*self._tiles(), *self._sizes(), self._full_size()):
            seen.setdefault(file.path, file)
        yield from seen.values()

    def information(self, id_: str) -> dict[str, Any]:
        """Image information (info.json) that offers exactly these files."""
        limited = {} if self.largest == self.dimensions else _max_sides(self.largest)
        sizes = [_sides(size) for size in self._offered]
        shared = {
            "protocol": PROTOCOL,
            **_sides(self.dimensions),
            **({"sizes": sizes} if sizes else {}),
            "tiles": [{**_sides(self._tile), "scaleFactors": list(self._factors)}],
        }
        level, rights = LEVEL_0[self.version], self.service.rights
        document: dict[str, Any]
        if self.version is V2:
            profile: list[Any] = [level, limited] if limited else [level]
            document = {"@context": V2.context, "@id": id_, "profile": profile, **shared}
            document |= {"license": rights} if rights is not None else {}
        else:
            document = {"@context": V3.context, "id": id_, "type": "ImageService3"}
            document |= {"profile": level, **shared, **limited}
            document |= {"rights": rights} if rights is not None else {}
        return document | extra_properties(self.version, self.service)

    @property
    def limits(self) -> Limits:
        """Limits of the server and of the JPEG format."""
        side = FORMAT_FACTS[Format.JPG].max_side
        return self.service.limits.within(Limits(side, side))

    @property
    def _tile(self) -> Dimensions:
        return offered_tile(self.service.tile, self.service.limits)

    @property
    def _factors(self) -> tuple[int, ...]:
        return scale_factors(self.dimensions, self._tile)

    @property
    def _offered(self) -> list[Dimensions]:
        """Sizes in info.json without the full size, which is requested as `max` or `full`."""
        smallest = self.service.min_sizes_size
        sizes = announced_sizes(self.dimensions, smallest, self.limits, self._factors)
        return [size for size in sizes if size != self.dimensions]

    def _tiles(self) -> Iterator[StaticFile]:
        for factor in self._factors:
            for text, size in tile_requests(self.version, self.dimensions, self._tile, factor):
                yield _file(text, size)

    def _sizes(self) -> Iterator[StaticFile]:
        for size in self._offered:
            text = f"{size.width}," if self.version is V2 else f"{size.width},{size.height}"
            yield _file(f"full/{text}", size)

    def _full_size(self) -> StaticFile:
        size = self.largest
        if size == self.dimensions:
            return _file(f"full/{self.version.full_size}", size)
        parameter = f"{size.width},{size.height}"  # `max` of the server may exceed JPEG
        return StaticFile(jpeg_path("full/max"), jpeg_path(f"full/{parameter}"), size.area)


def folder_of(identifier: Identifier) -> str:
    """Folder of an image: `type/name` in characters that all web servers and disks accept.

    Other characters are replaced; such names get a digest, so that they remain distinct.
    """
    safe_name = _UNSAFE.sub("_", identifier.name).strip("._-")[:_MAX_NAME_CHARACTERS]
    if safe_name != identifier.name:
        digest = blake2b(identifier.name.encode("utf-8", "surrogatepass"), digest_size=5)
        safe_name = "-".join(part for part in (safe_name.rstrip("._-"), digest.hexdigest()) if part)
    return f"{identifier.type}/{safe_name}"


def _file(region_and_size: str, size: Dimensions) -> StaticFile:
    path = jpeg_path(region_and_size)
    return StaticFile(path, path, size.area)


def _sides(size: Dimensions) -> dict[str, int]:
    return {"width": size.width, "height": size.height}


def _max_sides(size: Dimensions) -> dict[str, int]:
    return {"maxWidth": size.width, "maxHeight": size.height}
