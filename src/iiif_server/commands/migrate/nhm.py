"""Migration from the servers of the Natural History Museum: of 2020, and the later one. Pure."""

import re
from collections.abc import Mapping
from typing import Any

from iiif_server.commands.migrate.conversion import (
    Conversion,
    Kind,
    add_web_type,
    allow_private,
    number,
)
from iiif_server.iiif.identifier import TYPE_PATTERN

_PATHS = {"source_path": "source_path", "cache_path": "cache_path"}
_SEED_NUMBERS = (
    *("http_port", "min_sizes_size", "size_pool_size", "image_pool_size", "info_cache_size"),
    *("image_cache_size_per_process", "max_http_fetches"),
)
_NO_EFFECT = "it had no effect there either"
_NHM_INSTEAD = {
    "download_chunk_size": "nothing to set",
    "download_max_files": "there is no zip of originals",
    "pool_recycle_time": "processes stay; see workers.max_jobs",
    "image_pool_size": f"{_NO_EFFECT} (pool_size had)",
    "image_cache_size_per_process": _NO_EFFECT,
    "info_json_cache_size": _NO_EFFECT,
    "info_cache_size": _NO_EFFECT,
    "log_level": _NO_EFFECT,
}
_SEED_DIFFERENCES = (
    ("info.json is that of Image API 3.0, with `id`; viewers of 2.1 use /iiif/2",
     "/project1:banana/info.json with id and @id",
     "/iiif/2/project1:banana/info.json with @id"),
    ("`sizes` ascend, and are rounded up as viewers compute them",
     '"sizes": [411x300, 205x150]', '"sizes": [206x150, 411x300]'),
    ("an unknown type is 404 and no longer 400",
     "/nothing:banana/info.json: 400", "/nothing:banana/info.json: 404"),
)  # fmt: skip
_OPEN_ENDS = (".*", ".+", "$")
_SLASHES_OF_A_PATH = 3
_THUMBNAIL_WIDTH, _PREVIEW_WIDTH = 512, 2048
"""Defaults of the later server."""
_DERIVATIVES = (
    "Nothing in cache_path is used any more, except for `derivatives`, which this server "
    "makes: the rest can be deleted."
)


def from_seed(values: Mapping[str, Any]) -> Conversion:
    """Convert the configuration of the server of 2020; its settings have the same names here."""
    conversion = Conversion(Kind.SEED, values)
    conversion.copy_base_url("base_url")
    conversion.copy(_PATHS)
    conversion.copy_numbers({name: name for name in _SEED_NUMBERS})
    for name, options in _tables(conversion.read("types")).items():
        _seed_type(conversion, name, options)
    conversion.add_rest_unsupported("that server", {})
    conversion.to_do.append(_DERIVATIVES)
    if any(s.path[-1] == "source" and s.value != "disk" for s in conversion.settings):
        conversion.to_do.append(
            "Originals that were fetched into source_path are used where they are."
        )
    conversion.add_differences(*_SEED_DIFFERENCES)
    return conversion


def _tables(value: Any) -> dict[str, Mapping[str, Any]]:
    """Return the tables in a table by name; other values become empty tables."""
    items = value.items() if isinstance(value, Mapping) else ()
    return {str(name): table if isinstance(table, Mapping) else {} for name, table in items}


def _is_type_name(conversion: Conversion, table: str, name: str) -> bool:
    if re.fullmatch(TYPE_PATTERN, name):
        return True
    conversion.add_unsupported(
        f"{table}.{name}", "rename it to letters, digits, dots, hyphens and underscores"
    )
    return False


def _seed_type(conversion: Conversion, name: str, options: Mapping[str, Any]) -> None:
    if not _is_type_name(conversion, "types", name):
        return
    source = options.get("source")
    if source == "disk":
        conversion.add(("types", name, "source"), "disk", "")
    elif "regex" in options:
        # The documentation shows a type of trusted_web whose source is web.
        regex = str(options["regex"])
        conversion.add(("types", name, "source"), "trusted_web", "")
        conversion.add(
            ("types", name, "regex"), _whole(conversion, name, regex), "matches the whole URL"
        )
    elif source == "web" and "url" in options:
        add_web_type(conversion, name, str(options["url"]), "")
    else:
        conversion.add_unsupported(
            f"types.{name}", f"there is no source {source!r}: docs/plugins.md"
        )
    for key in options:
        if key not in {"source", "url", "regex"}:
            conversion.add_unsupported(f"types.{name}.{key}", _NO_EFFECT)


def _whole(conversion: Conversion, name: str, regex: str) -> str:
    """Convert a regular expression for the beginning of URLs to one for whole URLs."""
    allow_private(conversion, regex.replace("\\", ""))
    if regex.endswith(_OPEN_ENDS):
        return regex
    if regex.count("/") >= _SLASHES_OF_A_PATH:
        return f"{regex}.*"
    what = (
        f"{name}: the regex has to match the whole URL, and is unchanged because it ends within "
        "the host: add what may follow"
    )
    conversion.add_differences((what, f"URLs that begin with {regex}", f"URLs that are {regex}"))
    return regex


def from_nhm(values: Mapping[str, Any]) -> Conversion:
    """Convert the configuration of the later server; its profiles become types."""
    conversion = Conversion(Kind.NHM, values)
    conversion.copy_base_url("base_url")
    conversion.copy(_PATHS)
    conversion.copy_numbers({"min_sizes_size": "min_sizes_size", "pool_size": "image_pool_size"})
    profiles = _tables(conversion.read("profiles"))
    disk = {name: table for name, table in profiles.items() if table.get("type") == "disk"}
    default = conversion.read("default_profile")
    if default in disk:
        conversion.add("default_type", default, "default_profile")
    elif default is not None:
        conversion.add_unsupported("default_profile", "that profile has no equivalent")
    conversion.copy_numbers(
        {"processed_cache_size": "cache.max_bytes", "processed_cache_ttl": "cache.ttl"}
    )
    _quality(conversion, disk)
    for name, options in profiles.items():
        _profile(conversion, name, options)
    thumbnail = number(conversion.read("thumbnail_width")) or _THUMBNAIL_WIDTH
    preview = number(conversion.read("preview_width")) or _PREVIEW_WIDTH
    conversion.add_rest_unsupported("that server", _NHM_INSTEAD)
    conversion.to_do.append(_DERIVATIVES)
    conversion.add_differences(
        *_nhm_differences(f"/{next(iter(disk), 'example')}:1.jpg", thumbnail, preview)
    )
    return conversion


def _profile(conversion: Conversion, name: str, options: Mapping[str, Any]) -> None:
    kind = options.get("type")
    if kind != "disk":
        advice = "the images have to be on disk, or at a URL that follows from their name"
        conversion.add_unsupported(f"profiles.{name} (type {kind})", advice)
        return
    if not _is_type_name(conversion, "profiles", name):
        return
    conversion.add(("types", name, "source"), "disk", f"profiles.{name}")
    if rights := options.get("rights"):
        conversion.add(("types", name, "rights"), str(rights), "rights")
    cache_for = number(options.get("cache_for", 60))
    if cache_for is not None:
        comment = "cache_for" if "cache_for" in options else "its default there"
        conversion.add(("types", name, "cache_for"), cache_for, comment)
    for key in options:
        if key in {"cache_size", "convert_subsampling"}:
            conversion.add_unsupported(
                f"profiles.{name}.{key}", "originals are not converted: nothing to set"
            )
        elif key not in {"type", "rights", "cache_for", "convert_quality"}:
            conversion.add_unsupported(f"profiles.{name}.{key}", "nothing here corresponds to it")


def _quality(conversion: Conversion, disk: Mapping[str, Mapping[str, Any]]) -> None:
    found = {
        number(table["convert_quality"]) for table in disk.values() if "convert_quality" in table
    }
    qualities = found - {None}
    if len(qualities) == 1:
        conversion.add("encoding.jpeg_quality", qualities.pop(), "profiles.*.convert_quality")
    elif qualities:
        conversion.add_unsupported(
            "profiles.*.convert_quality", "it is one for all types: encoding.jpeg_quality"
        )


def _nhm_differences(image: str, thumbnail: int, preview: int) -> tuple[tuple[str, str, str], ...]:
    full = f"{image}/full"
    return (
        ("the base URI leads to info.json, and browsers to a viewer",
         image, f"{full}/!{preview},{preview}/0/default.jpg for the preview"),
        ("there are no short URLs for thumbnails and previews",
         f"{image}/thumbnail", f"{full}/!{thumbnail},{thumbnail}/0/default.jpg"),
        ("originals are not served as files, nor as zips; max of a JPEG is the original",
         f"{image}/original, /originals?identifiers=...", f"{full}/max/0/default.jpg"),
        ("info.json is that of 3.0: `id`, ascending sizes, tiles of 512; 2.1 is below /iiif/2",
         f"{image}/info.json with @id", f"/iiif/2{image}/info.json"),
        ("a box larger than the image is fitted and no longer refused",
         f"{full}/!9000,9000/0/default.jpg: 400", "the whole image"),
        ("pixels are the original's own where possible, not compressed again at quality 75",
         f"{full}/max/0/default.jpg", "the same, byte for byte"),
    )  # fmt: skip
