"""Cantaloupe, 3 to 5. Pure."""

import re
from collections.abc import Mapping
from typing import Any

from iiif_server.commands.migrate.moves import (
    Kind,
    Move,
    Old,
    copy_numbers,
    is_true,
    number,
    put_base_url,
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
    "meta_identifier.": "identifiers hold no page and no scale",
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
    """What moving from Cantaloupe comes to."""
    today = {_today(name): value for name, value in values.items()}
    if "source.static" in today:
        today["source.static"] = str(today["source.static"]).replace("Resolver", "Source")
    move, old = Move(Kind.CANTALOUPE), Old(today)
    if uri := old.take("base_uri"):
        put_base_url(move, "base_uri", str(uri))
    host = old.take("http.host")
    if host is not None:
        move.put("http_host", str(host), "http.host")
    copy_numbers(move, old, {"http.port": "http_port", "endpoint.iiif.min_size": "min_sizes_size"})
    type_ = _source(move, old)
    if type_ is not None:
        move.put("default_type", type_, "so that identifiers stay as they are")
    _cache(move, old, type_)
    _limits(move, old)
    level = str(old.take("log.application.level", "")).lower()
    if level in _LEVELS:
        move.put("log_level", _LEVELS[level], "log.application.level")
    _differences(move, old, type_ or "images")
    _tell_rest(move, old)
    return move


def _today(name: str) -> str:
    for pattern, now in _RENAMED:
        name = pattern.sub(now, name)
    return name


def _source(move: Move, old: Old) -> str | None:
    """The type that takes the place of the source; None where there is none that could."""
    source = str(old.take("source.static", ""))
    if is_true(old.take("source.delegate")):
        move.lack("source.delegate", "give each source a type of its own; identifiers name it")
    if "ScriptLookupStrategy" in str(old.take(f"{source}.lookup_strategy", "")):
        move.lack(
            f"{source}.lookup_strategy",
            "names are looked up as they are; write a source as a plug-in: docs/plugins.md",
        )
        return None
    if source == "FilesystemSource":
        return _files(move, old)
    if source == "HttpSource":
        return _web(move, old)
    if source:
        instead = next((text for key, text in _INSTEAD.items() if source.startswith(key[:-1])), "")
        move.lack(f"source.static = {source}", instead or "write a source as a plug-in")
    return None


def _files(move: Move, old: Old) -> str | None:
    basic = "FilesystemSource.BasicLookupStrategy"
    prefix, suffix = str(old.take(f"{basic}.path_prefix", "")), old.take(f"{basic}.path_suffix")
    if not prefix:
        move.lack(f"{basic}.path_prefix", "identifiers cannot be whole paths: name a folder")
        return None
    type_ = put_disk_type(move, prefix, f"{basic}.path_prefix")
    if suffix:
        move.lack(f"{basic}.path_suffix", "the names in identifiers are whole names of files")
        move.differ(
            "names are whole names of files", "/iiif/2/1/info.json", f"/iiif/2/1{suffix}/info.json"
        )
    return type_


def _web(move: Move, old: Old) -> str | None:
    basic = "HttpSource.BasicLookupStrategy"
    prefix, suffix = old.take(f"{basic}.url_prefix"), old.take(f"{basic}.url_suffix", "")
    if not prefix:
        move.lack(f"{basic}.url_prefix", "identifiers cannot be whole URLs; see trusted_web")
        return None
    put_web_type(move, "web", f"{prefix}{{name}}{suffix}", f"{basic}.url_prefix, url_suffix")
    if any(list(old.below(f"{basic}.auth"))):
        move.lack(f"{basic}.auth", "no password is sent upstream: docs/plugins.md")
    copy_numbers(move, old, {"HttpSource.request_timeout": "fetch.total_timeout"})
    if is_true(old.take("HttpSource.allow_insecure")):
        move.lack("HttpSource.allow_insecure", "certificates are always checked")
    return "web"


def _cache(move: Move, old: Old, type_: str | None) -> None:
    if path := old.take("FilesystemCache.pathname"):
        move.put("cache_path", f"{str(path).rstrip('/')}/iiif-server", "FilesystemCache.pathname")
        move.to_do.append(
            f"What Cantaloupe has kept in {path} is not used: it can be deleted, but for the "
            "folder iiif-server."
        )
    ttl = number(old.take("cache.server.derivative.ttl_seconds"))
    if ttl:
        move.put("cache.ttl", ttl, "cache.server.derivative.ttl_seconds")
    age = number(old.take("cache.client.max_age"))
    if age is not None and type_ is not None:
        move.put_at(("types", type_, "cache_for"), age, "cache.client.max_age")


def _limits(move: Move, old: Old) -> None:
    pixels = number(old.take("max_pixels"))
    if pixels:
        move.put("limits.max_area", pixels, "max_pixels")
    quality = str(old.take("processor.jpg.quality", "")).rstrip("f")
    if quality:
        value = float(quality) if re.fullmatch(r"[0-9.]+", quality) else 0
        whole = round(value * 100 if value <= 1 else value)
        if whole:
            move.put("encoding.jpeg_quality", whole, "processor.jpg.quality")


def _differences(move: Move, old: Old, type_: str) -> None:
    if is_true(old.take("endpoint.iiif.1.enabled")):
        move.differ("there is no Image API 1", "/iiif/1/1.jpg/info.json", "/iiif/2/1.jpg/info.json")
    if substitute := old.take("slash_substitute"):
        move.lack("slash_substitute", "slashes may stand as they are, or as %2F")
        move.differ(
            "slashes are written as slashes",
            f"/iiif/2/a{substitute}1.jpg/info.json",
            "/iiif/2/a/1.jpg/info.json or /iiif/2/a%2F1.jpg/info.json",
        )
    if is_true(old.take("endpoint.iiif.restrict_to_sizes")):
        move.lack(
            "endpoint.iiif.restrict_to_sizes",
            "signed addresses allow single requests: docs/security.md",
        )
    move.differ(
        "a name with a colon needs its type in front, as what stands before the first colon is one",
        "/iiif/2/ark:1234.jpg/info.json",
        f"/iiif/2/{type_}:ark:1234.jpg/info.json",
    )
    move.differ(
        "identifiers hold no page and no scale",
        "/iiif/2/1.tif;2/info.json, /iiif/2/1.jpg;1:2/info.json",
        "/iiif/2/1.tif/info.json, /iiif/2/1.jpg/info.json: the first page, whole",
    )
    move.differ(
        "`max` is as large as the limits allow, where more was refused",
        "/iiif/3/1.jpg/full/max/0/default.jpg: 403",
        "the largest there is",
    )


def _tell_rest(move: Move, old: Old) -> None:
    used = {str(old.take(name, "")) for name in _SELECTIONS}
    rest = old.rest()
    off = tuple(name.removesuffix("enabled") for name in rest if _is_off(name, old.take(name)))
    told: set[str] = set()
    for name in rest:
        if _SILENT.search(name) or name.startswith(off) or old.take(name) is None:
            continue
        part = name.partition(".")[0]
        if part.endswith(("Source", "Cache")) and part not in used:
            continue  # the sample file has the settings of all, whichever is used
        start = next((start for start in _INSTEAD if name.startswith(start)), None)
        if part.endswith("Processor"):
            start = "processor."
        elif part.endswith("Cache"):
            start = "cache.server."
        if start is None:
            move.lack(name, "this is not a setting that is known of Cantaloupe")
        elif start not in told:
            told.add(start)
            group = f"{start}*" if start.endswith(".") else name
            move.lack(group, _INSTEAD[start])


def _is_off(name: str, value: Any) -> bool:
    """Whether a setting says that those beside it do not count."""
    return name.endswith(".enabled") and not is_true(value)
