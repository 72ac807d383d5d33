"""Migration from Cantaloupe 3 to 5. Pure."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from iiif_server.commands.migrate.cantaloupe_sources import add_sources
from iiif_server.commands.migrate.conversion import (
    Conversion,
    Kind,
    colon_difference,
    is_true,
    number,
)

_RENAMED = (
    (re.compile(r"^(\w+)Resolver\."), r"\1Source."),
    (re.compile(r"^resolver(\.static)?$"), "source.static"),
    (re.compile(r"^resolver\."), "source."),
    (re.compile(r"^(Filesystem|Http)Source\.(path_prefix|path_suffix|url_prefix|url_suffix)$"),
     r"\1Source.BasicLookupStrategy.\2"),
    (re.compile(r"^FilesystemCache\.ttl_seconds$|^cache\.server\.ttl_seconds$"),
     "cache.server.derivative.ttl_seconds"),
    (re.compile(r"^Java2dProcessor\.jpg\.quality$"), "processor.jpg.quality"),
    (re.compile(r"^endpoint\.iiif\.2\.(restrict_to_sizes|min_size|min_tile_size)$"),
     r"endpoint.iiif.\1"),
)  # fmt: skip
"""Patterns of names in earlier versions, and the current names."""
_LEVELS = {"trace": "debug", "debug": "debug", "all": "debug", "info": "info", "warn": "warning",
           "error": "error", "off": "error"}  # fmt: skip
_INSTEAD = {
    "https.": "let a proxy speak TLS: docs/operations.md",
    "http.auth.basic": "let a proxy ask for the password, or use signed types: docs/security.md",
    "http.": "see http_connections",
    "delegate_script.": "there are no scripts: see docs/sources/lookup.md",
    "S3Source.": "nothing to set: docs/sources/objects.md",
    "AzureStorageSource.": "nothing to set: docs/sources/objects.md",
    "JdbcSource.": "see docs/sources/lookup.md",
    "HttpSource.": "nothing to set: originals are fetched once and kept",
    "FilesystemSource.": "see types in docs/settings.md",
    "processor.": "what does least to the pixels is chosen for each request",
    "overlays.": "nothing is drawn over images",
    "redactions.": "nothing is left out of images",
    "watermark.": "nothing is drawn over images",
    "metadata.": "profiles are kept where they count; other metadata is left out",
    "cache.client.": "see cache_for of each type",
    "cache.server.": "see [cache]: derivatives are kept on disk, headers in memory",
    "FilesystemCache.": "see [cache]",
    "log.": "logs go to standard error; see log_level",
    "endpoint.admin.": "see [admin] token: docs/security.md",
    "endpoint.api.": "see [admin] token: docs/security.md",
    "endpoint.": "nothing to set",
    "meta_identifier.": "a page is always written name;2",
    "temp_pathname": "nothing to set: parts are written beside what they become",
    "print_stack_trace": "errors never tell of the inside",
    "log_error_responses": "see log_level",
    "max_scale": "see limits.max_upscale_area",
    "generate_https_links": "have the proxy send X-Forwarded-Proto, or set base_url",
}
"""Advice by prefix of an old setting; the first matching prefix counts."""
_SELECTIONS = (
    "source.static",
    "cache.server.source",
    "cache.server.derivative",
    "cache.server.info.implementation",
)
"""Settings that select a source or a cache."""
_LONGEST_SUBSTITUTE = 8
_SILENT = re.compile(
    r"(enabled|http\.host|source\.delegate|lookup_strategy|chunking\..*|selection_strategy|"
    r"ManualSelectionStrategy\..*|_retrieval_strategy|imageio\..*|ConsoleAppender\..*|"
    r"no_cache|no_store|must_revalidate|proxy_revalidate|no_transform|private|public)$"
)
"""Settings that need no advice: switches without effect, and defaults of the sample file."""


def from_cantaloupe(values: Mapping[str, Any]) -> Conversion:
    """Convert a configuration of Cantaloupe."""
    today = {_today(name): value for name, value in values.items()}
    if "source.static" in today:
        today["source.static"] = str(today["source.static"]).replace("Resolver", "Source")
    conversion = Conversion(Kind.CANTALOUPE, today)
    conversion.copy_base_url("base_uri")
    conversion.copy({"http.host": "http_host"})
    conversion.copy_numbers({"http.port": "http_port", "endpoint.iiif.min_size": "min_sizes_size"})
    type_ = add_sources(conversion)
    if type_ is not None:
        conversion.add("default_type", type_, "so that identifiers stay as they are")
    conversion.copy_cache_path("FilesystemCache.pathname", "Cantaloupe")
    for name, path in {
        "cache.server.derivative.ttl_seconds": "cache.ttl",
        "cache.server.source.ttl_seconds": "fetch.refresh_after",
        "max_pixels": "limits.max_area",
    }.items():
        if whole := number(conversion.read(name)):
            conversion.add(path, whole, name)
    age = number(conversion.read("cache.client.max_age"))
    if age is not None and type_ is not None:
        conversion.add(("types", type_, "cache_for"), age, "cache.client.max_age")
    _encoding(conversion)
    conversion.copy_level("log.application.level", _LEVELS)
    _differences(conversion, type_ or "images")
    conversion.add_rest_unsupported("Cantaloupe", _INSTEAD, [*_rest(conversion)])
    return conversion


def _today(name: str) -> str:
    for pattern, now in _RENAMED:
        name = pattern.sub(now, name)
    return name


def _encoding(conversion: Conversion) -> None:
    """Convert the encoding of JPEG and TIFF; the quality is a fraction in earlier versions."""
    name = "processor.jpg.quality"
    text = str(conversion.read(name, "")).rstrip("f")
    value = float(text) if re.fullmatch(r"\d+(\.\d*)?|\.\d+", text, re.ASCII) else 0
    if whole := round(value * 100 if value <= 1 else value):
        conversion.add("encoding.jpeg_quality", whole, name)
    if (progressive := conversion.read("processor.jpg.progressive")) is not None:
        conversion.add(
            "encoding.jpeg_progressive", is_true(progressive), "processor.jpg.progressive"
        )
    compression = str(conversion.read("processor.tif.compression", "")).lower()
    if compression in {"deflate", "lzw", "jpeg"}:
        conversion.add("encoding.tiff_compression", compression, "processor.tif.compression")
    elif compression:
        conversion.add_unsupported("processor.tif.compression", "deflate, lzw, jpeg or none")


def _differences(conversion: Conversion, type_: str) -> None:
    if is_true(conversion.read("endpoint.iiif.1.enabled")):
        row = "there is no Image API 1", "/iiif/1/1.jpg/info.json", "/iiif/2/1.jpg/info.json"
        conversion.add_differences(row)
    if substitute := conversion.read("slash_substitute"):
        if re.search(r"[/%:;\s]", substitute) or len(substitute) > _LONGEST_SUBSTITUTE:
            conversion.add_unsupported(
                "slash_substitute", "up to 8 characters without / % : ; and white space"
            )
        else:
            conversion.add("slash_substitute", substitute, "slash_substitute")
    delimiter = "meta_identifier.transformer.StandardMetaIdentifierTransformer.delimiter"
    if conversion.read(delimiter, ";") != ";":
        conversion.add_unsupported(delimiter, "a page is always written name;2")
    if is_true(conversion.read("endpoint.iiif.restrict_to_sizes")):
        advice = "signed URLs allow single requests: docs/security.md"
        conversion.add_unsupported("endpoint.iiif.restrict_to_sizes", advice)
    conversion.add_differences(
        colon_difference(type_, "/iiif/2"),
        ("identifiers have no scale",
         "/iiif/2/1.jpg;1:2/info.json", "/iiif/2/1.jpg/info.json: the whole image"),
        ("`max` is as large as the limits allow and no longer refused",
         "/iiif/3/1.jpg/full/max/0/default.jpg: 403", "the largest size allowed"),
    )  # fmt: skip


def _rest(conversion: Conversion) -> Iterator[str]:
    """Yield the relevant settings without an equivalent, with a common prefix per group."""
    used = {str(conversion.read(name, "")) for name in _SELECTIONS}
    conversion.ignored += [name for name in _SELECTIONS[1:] if conversion.read(name)]
    unread = list(conversion.unread())
    off = tuple(
        name.removesuffix("enabled")
        for name in unread
        if name.endswith(".enabled") and not is_true(conversion.read(name))
    )
    for name in unread:
        part = name.partition(".")[0]
        if _SILENT.search(name) or name.startswith(off):
            conversion.ignored.append(name)
        elif part.endswith("Processor"):
            yield f"processor.{name}"
        elif not part.endswith(("Source", "Cache")):
            yield name
        elif part in used:  # the sample file has the settings of all, used or not
            yield f"cache.server.{name}" if part.endswith("Cache") else name
        else:
            conversion.ignored.append(name)
