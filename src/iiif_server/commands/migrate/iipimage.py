"""Migration from IIPImage, which has environment variables as configuration. Pure."""

from collections.abc import Mapping
from typing import Any

from iiif_server.commands.migrate.conversion import (
    Conversion,
    Kind,
    add_disk_type,
    colon_difference,
    number,
)

_INSTEAD = {
    "IIIF_VERSION": "2.1 is at /iiif/2, 3.0 at /iiif/3 and at the top level",
    "IIIF_EXTRA_INFO": "see info of the type",
    "IIIF_DELIMITER": "a page is always written name;2",
    "CORS": "every origin may read images: nothing to set",
    "FILENAME_PATTERN": "see template of the type: docs/sources/templates.md",
    "COPYRIGHT": "see rights of the type",
    "WATERMARK": "nothing is drawn over images",
    "LOGFILE": "logs go to standard error",
    "MEMCACHED": "see [cache]: derivatives are cached on disk",
    "MAX_LAYERS": "JPEG 2000 is decoded in full quality",
    "KAKADU": "JPEG 2000 is decoded by OpenJPEG",
    "OPENJPEG": "nothing to set",
    "INTERPOLATION": "images are scaled by Lanczos",
    "URI_MAP": "IIIF is at the top level: let the proxy map other paths",
    "EMBED_ICC": "profiles are kept where they count",
    "MAX_ICC": "profiles are kept where they are small",
    "ALLOW_UPSCALING": "see limits.max_upscale_area",
    "MAX_METADATA": "metadata is left out of images",
    "DECODER": "nothing to set",
    "CODEC": "what does least to the pixels is chosen for each request",
    "OUTPUT": "nothing to set",
    "KEEPALIVE": "nothing to set",
    "PREFORK": "see http_processes",
    "BASE_URL": "see base_url",
}
"""Advice by prefix of an old variable; the first matching prefix counts."""


def from_iipimage(values: Mapping[str, Any]) -> Conversion:
    """Convert the environment variables of IIPImage."""
    conversion = Conversion(Kind.IIPIMAGE, {name.upper(): value for name, value in values.items()})
    conversion.copy_base_url("BASE_URL")
    prefix, suffix = (
        str(conversion.read("FILESYSTEM_PREFIX", "")),
        str(conversion.read("FILESYSTEM_SUFFIX", "")),
    )
    folder, slash, rest = prefix.rpartition("/")
    if slash:
        type_ = add_disk_type(conversion, folder or "/", "FILESYSTEM_PREFIX", rest, suffix)
        conversion.add("default_type", type_, "so that identifiers stay as they are")
        control = str(conversion.read("CACHE_CONTROL", ""))
        age = number(control.partition("max-age=")[2].partition(",")[0])
        if age is not None:
            conversion.add(("types", type_, "cache_for"), age, "CACHE_CONTROL")
    else:
        type_ = "images"
        conversion.add_unsupported(
            "FILESYSTEM_PREFIX", "identifiers cannot be whole paths: name a folder"
        )
    if side := number(conversion.read("MAX_CVT")):
        conversion.add("limits.max_width", side, "MAX_CVT")
    conversion.copy_numbers(
        {
            "JPEG_QUALITY": "encoding.jpeg_quality",
            "PNG_COMPRESSION": "encoding.png_level",
            "WEBP_QUALITY": "encoding.webp_quality",
        }
    )
    if megabytes := number(conversion.read("MAX_IMAGE_CACHE_SIZE")):
        conversion.add("cache.memory_bytes", megabytes * 1_000_000, "MAX_IMAGE_CACHE_SIZE")
    if (verbosity := number(conversion.read("VERBOSITY"))) is not None:
        level = "error" if verbosity == 0 else "info" if verbosity < _DEBUG else "debug"
        conversion.add("log_level", level, "VERBOSITY")
    conversion.add_differences(colon_difference(type_, "/iiif/2"), *_DIFFERENCES)
    conversion.add_rest_unsupported("IIPImage", _INSTEAD)
    return conversion


_DIFFERENCES = (
    ("IIIF is at the top level, not in a query: let the proxy rewrite it",
     "/fcgi-bin/iipsrv.fcgi?IIIF=1.tif/info.json", "/iiif/3/1.tif/info.json"),
    ("the protocols IIP, Zoomify and DeepZoom are not spoken",
     "/fcgi-bin/iipsrv.fcgi?DeepZoom=1.tif.dzi", "/iiif/3/1.tif/info.json"),
)  # fmt: skip
_DEBUG = 5
"""Lowest `VERBOSITY` that corresponds to the log level debug."""
