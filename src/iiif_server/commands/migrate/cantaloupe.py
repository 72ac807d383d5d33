"""Cantaloupe, 3 to 5. Pure."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from iiif_server.commands.migrate.moves import (
    Kind,
    Move,
    colon_difference,
    is_true,
    number,
    put_disk_type,
    put_web_type,
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
"""What was called otherwise in earlier versions."""
_LEVELS = {"trace": "debug", "debug": "debug", "all": "debug", "info": "info", "warn": "warning",
           "error": "error", "off": "error"}  # fmt: skip
_INSTEAD = {
    "https.": "let a proxy speak TLS: docs/operations.md",
    "http.auth.basic": "let a proxy ask for the password, or use signed types: docs/security.md",
    "http.": "see http_connections",
    "delegate_script.": "there are no scripts; sources can be plug-ins: docs/plugins.md",
    "S3Source.": "there is no source for object stores: use their public or gateway URL as a type "
    "`web`, or copy them to disk",
    "AzureStorageSource.": "use the container's URL as a type `web`, or copy it to disk",
    "JdbcSource.": "write a source as a plug-in: docs/plugins.md",
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
    "meta_identifier.": "identifiers have no page and no scale",
    "temp_pathname": "nothing to set: parts are written beside what they become",
    "print_stack_trace": "errors never tell of the inside",
    "log_error_responses": "see log_level",
    "max_scale": "see limits.max_upscale_area",
    "generate_https_links": "have the proxy send X-Forwarded-Proto, or set base_url",
}
"""What to do instead of settings that begin like this; the first that fits counts."""
_SELECTIONS = (
    "source.static",
    "cache.server.source",
    "cache.server.derivative",
    "cache.server.info.implementation",
)
"""Where it is said which of the sources and caches is used."""
_SILENT = re.compile(
    r"(enabled|http\.host|source\.delegate|lookup_strategy|chunking\..*|selection_strategy|"
    r"ManualSelectionStrategy\..*|_retrieval_strategy|imageio\..*|ConsoleAppender\..*|"
    r"no_cache|no_store|must_revalidate|proxy_revalidate|no_transform|private|public)$"
)
"""Settings that need no word: switches of what is not there, and defaults of the sample file."""


def from_cantaloupe(values: Mapping[str, Any]) -> Move:
    """The migration from Cantaloupe."""
    today = {_today(name): value for name, value in values.items()}
    if "source.static" in today:
        today["source.static"] = str(today["source.static"]).replace("Resolver", "Source")
    move = Move(Kind.CANTALOUPE, today)
    move.copy_base_url("base_uri")
    move.copy({"http.host": "http_host"})
    move.copy_numbers({"http.port": "http_port", "endpoint.iiif.min_size": "min_sizes_size"})
    type_ = _source(move)
    if type_ is not None:
        move.put("default_type", type_, "so that identifiers stay as they are")
    move.copy_cache_path("FilesystemCache.pathname", "Cantaloupe")
    for name, path in {
        "cache.server.derivative.ttl_seconds": "cache.ttl",
        "max_pixels": "limits.max_area",
    }.items():
        if whole := number(move.take(name)):
            move.put(path, whole, name)
    age = number(move.take("cache.client.max_age"))
    if age is not None and type_ is not None:
        move.put(("types", type_, "cache_for"), age, "cache.client.max_age")
    _quality(move)
    move.copy_level("log.application.level", _LEVELS)
    _differences(move, type_ or "images")
    move.lack_rest("Cantaloupe", _INSTEAD, [*_rest(move)])
    return move


def _today(name: str) -> str:
    for pattern, now in _RENAMED:
        name = pattern.sub(now, name)
    return name


def _source(move: Move) -> str | None:
    """The type that replaces the source; None where none can."""
    source = str(move.take("source.static", ""))
    if is_true(move.take("source.delegate")):
        move.lack("source.delegate", "give each source a type of its own; identifiers name it")
    if "ScriptLookupStrategy" in str(move.take(f"{source}.lookup_strategy", "")):
        move.lack(
            f"{source}.lookup_strategy",
            "names are looked up as they are; write a source as a plug-in: docs/plugins.md",
        )
    elif source == "FilesystemSource":
        return _files(move)
    elif source == "HttpSource":
        return _web(move)
    elif source:
        instead = next((text for key, text in _INSTEAD.items() if source.startswith(key[:-1])), "")
        move.lack(f"source.static = {source}", instead or "write a source as a plug-in")
    return None


def _files(move: Move) -> str | None:
    basic = "FilesystemSource.BasicLookupStrategy"
    prefix, suffix = str(move.take(f"{basic}.path_prefix", "")), move.take(f"{basic}.path_suffix")
    if not prefix:
        move.lack(f"{basic}.path_prefix", "identifiers cannot be whole paths: name a folder")
        return None
    if suffix:
        what = "names are whole names of files"
        move.lack(f"{basic}.path_suffix", what)
        move.differ((what, "/iiif/2/1/info.json", f"/iiif/2/1{suffix}/info.json"))
    return put_disk_type(move, prefix, f"{basic}.path_prefix")


def _web(move: Move) -> str | None:
    basic = "HttpSource.BasicLookupStrategy"
    prefix, suffix = move.take(f"{basic}.url_prefix"), move.take(f"{basic}.url_suffix", "")
    if not prefix:
        move.lack(f"{basic}.url_prefix", "identifiers cannot be whole URLs; see trusted_web")
        return None
    put_web_type(move, "web", f"{prefix}{{name}}{suffix}", f"{basic}.url_prefix, url_suffix")
    if move.below(f"{basic}.auth"):
        move.lack(f"{basic}.auth", "no password is sent upstream: docs/plugins.md")
    move.copy_numbers({"HttpSource.request_timeout": "fetch.total_timeout"})
    if is_true(move.take("HttpSource.allow_insecure")):
        move.lack("HttpSource.allow_insecure", "certificates are always checked")
    return "web"


def _quality(move: Move) -> None:
    """The quality of JPEGs: a percentage, or a fraction in earlier versions."""
    name = "processor.jpg.quality"
    text = str(move.take(name, "")).rstrip("f")
    value = float(text) if re.fullmatch(r"\d+(\.\d*)?|\.\d+", text, re.ASCII) else 0
    if whole := round(value * 100 if value <= 1 else value):
        move.put("encoding.jpeg_quality", whole, name)


def _differences(move: Move, type_: str) -> None:
    if is_true(move.take("endpoint.iiif.1.enabled")):
        row = "there is no Image API 1", "/iiif/1/1.jpg/info.json", "/iiif/2/1.jpg/info.json"
        move.differ(row)
    if substitute := move.take("slash_substitute"):
        move.lack("slash_substitute", "slashes may stand as they are, or as %2F")
        before = f"/iiif/2/a{substitute}1.jpg/info.json"
        now = "/iiif/2/a/1.jpg/info.json or /iiif/2/a%2F1.jpg/info.json"
        move.differ(("slashes are written as slashes", before, now))
    if is_true(move.take("endpoint.iiif.restrict_to_sizes")):
        instead = "signed URLs allow single requests: docs/security.md"
        move.lack("endpoint.iiif.restrict_to_sizes", instead)
    move.differ(
        colon_difference(type_, "/iiif/2"),
        ("identifiers have no page and no scale",
         "/iiif/2/1.tif;2/info.json, /iiif/2/1.jpg;1:2/info.json",
         "/iiif/2/1.tif/info.json, /iiif/2/1.jpg/info.json: the first page, whole"),
        ("`max` is as large as the limits allow and no longer refused",
         "/iiif/3/1.jpg/full/max/0/default.jpg: 403", "the largest size allowed"),
    )  # fmt: skip


def _rest(move: Move) -> Iterator[str]:
    """The settings that count and were not taken; those of processors and caches by one name."""
    used = {str(move.take(name, "")) for name in _SELECTIONS}
    rest = list(move.rest())
    off = tuple(
        name.removesuffix("enabled")
        for name in rest
        if name.endswith(".enabled") and not is_true(move.take(name))
    )
    for name in rest:
        part = name.partition(".")[0]
        if _SILENT.search(name) or name.startswith(off):
            continue
        if part.endswith("Processor"):
            yield f"processor.{name}"
        elif not part.endswith(("Source", "Cache")):
            yield name
        elif part in used:  # the sample file has the settings of all, used or not
            yield f"cache.server.{name}" if part.endswith("Cache") else name
