"""The Natural History Museum's servers: that of 2020, and the later one. Pure."""

import re
from collections.abc import Mapping
from typing import Any

from iiif_server.commands.migrate.moves import (
    Kind,
    Move,
    Old,
    allow_private,
    copy_numbers,
    number,
    put_base_url,
    put_web_type,
)
from iiif_server.iiif.identifier import TYPE_PATTERN

_SAME_NUMBERS = {
    "http_port": "http_port",
    "min_sizes_size": "min_sizes_size",
    "size_pool_size": "size_pool_size",
    "image_pool_size": "image_pool_size",
    "info_cache_size": "info_cache_size",
    "image_cache_size_per_process": "image_cache_size_per_process",
    "max_http_fetches": "max_http_fetches",
}
_OPEN_ENDS = (".*", ".+", "$")
_SLASHES_OF_A_PATH = 3
_THUMBNAIL_WIDTH, _PREVIEW_WIDTH = 512, 2048
"""What they are there unless it is said."""
_DERIVATIVES = (
    "What lies in cache_path is not used any more, except for `derivatives`, which this server "
    "makes: the rest can be deleted."
)


def from_seed(values: Mapping[str, Any]) -> Move:
    """What moving from the server of 2020 comes to: its settings have the same names here."""
    move, old = Move(Kind.SEED), Old(values)
    if url := old.take("base_url"):
        put_base_url(move, "base_url", str(url))
    for name in ("cache_path", "source_path"):
        if path := old.take(name):
            move.put(name, str(path), name)
    copy_numbers(move, old, _SAME_NUMBERS)
    types = old.take("types", {})
    for name, options in types.items() if isinstance(types, Mapping) else ():
        _seed_type(move, str(name), options if isinstance(options, Mapping) else {})
    _tell_rest(move, old)
    move.to_do.append(_DERIVATIVES)
    if any(s.path[-1] == "source" and s.value != "disk" for s in move.settings):
        move.to_do.append(
            "Originals that were fetched into source_path stay in use where they are."
        )
    move.differ(
        "info.json is that of Image API 3.0, with `id`; viewers of 2.1 ask below /iiif/2",
        "/project1:banana/info.json with id and @id",
        "/iiif/2/project1:banana/info.json with @id",
    )
    move.differ(
        "`sizes` ascend, and are rounded up as viewers compute them",
        '"sizes": [411x300, 205x150]',
        '"sizes": [206x150, 411x300]',
    )
    move.differ(
        "an unknown type is not found, where it was a bad request",
        "/nothing:banana/info.json: 400",
        "/nothing:banana/info.json: 404",
    )
    return move


def _seed_type(move: Move, name: str, options: Mapping[str, Any]) -> None:
    if not re.fullmatch(TYPE_PATTERN, name):
        move.lack(f"types.{name}", "rename it to letters, digits, dots, hyphens and underscores")
        return
    source, comment = options.get("source"), ""
    if source == "disk":
        move.put_at(("types", name, "source"), "disk", comment)
    elif "regex" in options:
        # The document shows a type of trusted_web whose source is said to be web.
        regex = str(options["regex"])
        move.put_at(("types", name, "source"), "trusted_web", comment)
        move.put_at(("types", name, "regex"), _whole(move, name, regex), "matches the whole URL")
    elif source == "web" and "url" in options:
        put_web_type(move, name, str(options["url"]), comment)
    else:
        move.lack(f"types.{name}", f"there is no source {source!r}: docs/plugins.md")
    for key in options:
        if key not in {"source", "url", "regex"}:
            move.lack(f"types.{name}.{key}", "it had no meaning there either")


def _whole(move: Move, name: str, regex: str) -> str:
    """The expression that matches whole URLs, where the old one had to match how they begin."""
    allow_private(move, [regex.replace("\\", "")])
    if regex.endswith(_OPEN_ENDS):
        return regex
    if regex.count("/") >= _SLASHES_OF_A_PATH:
        return f"{regex}.*"
    move.differ(
        f"{name}: the regex has to match the whole URL, and was left as it is because it ends "
        "within the host: add what may follow",
        f"URLs that begin with {regex}",
        f"URLs that are {regex}",
    )
    return regex


def from_nhm(values: Mapping[str, Any]) -> Move:
    """What moving from the later server comes to: its profiles are types here."""
    move, old = Move(Kind.NHM), Old(values)
    if url := old.take("base_url"):
        put_base_url(move, "base_url", str(url))
    for name in ("source_path", "cache_path"):
        if path := old.take(name):
            move.put(name, str(path), name)
    copy_numbers(move, old, {"min_sizes_size": "min_sizes_size", "pool_size": "image_pool_size"})
    profiles = old.take("profiles", {})
    profiles = profiles if isinstance(profiles, Mapping) else {}
    disk = {
        str(name): options
        for name, options in profiles.items()
        if isinstance(options, Mapping) and options.get("type") == "disk"
    }
    default = old.take("default_profile")
    if default in disk:
        move.put("default_type", default, "default_profile")
    elif default is not None:
        move.lack("default_profile", "that profile has no equivalent")
    copy_numbers(
        move,
        old,
        {"processed_cache_size": "cache.max_bytes", "processed_cache_ttl": "cache.ttl"},
    )
    _quality(move, disk)
    for name, options in profiles.items():
        _profile(move, str(name), options if isinstance(options, Mapping) else {})
    thumbnail = number(old.take("thumbnail_width")) or _THUMBNAIL_WIDTH
    preview = number(old.take("preview_width")) or _PREVIEW_WIDTH
    _nhm_without(move, old)
    _tell_rest(move, old)
    move.to_do.append(_DERIVATIVES)
    _nhm_differences(move, next(iter(disk), "example"), thumbnail, preview)
    return move


def _profile(move: Move, name: str, options: Mapping[str, Any]) -> None:
    kind = options.get("type")
    if kind != "disk":
        instead = "the images have to be on disk, or at a URL that follows from their name"
        move.lack(f"profiles.{name} (type {kind})", instead)
        return
    if not re.fullmatch(TYPE_PATTERN, name):
        move.lack(f"profiles.{name}", "rename it to letters, digits, dots and hyphens")
        return
    move.put_at(("types", name, "source"), "disk", f"profiles.{name}")
    if rights := options.get("rights"):
        move.put_at(("types", name, "rights"), str(rights), "rights")
    cache_for = number(options.get("cache_for", 60))
    if cache_for is not None:
        comment = "cache_for" if "cache_for" in options else "its default there"
        move.put_at(("types", name, "cache_for"), cache_for, comment)
    for key in options:
        if key in {"cache_size", "convert_subsampling"}:
            move.lack(f"profiles.{name}.{key}", "originals are not converted: nothing to set")
        elif key not in {"type", "rights", "cache_for", "convert_quality"}:
            move.lack(f"profiles.{name}.{key}", "nothing here corresponds to it")


def _quality(move: Move, disk: Mapping[str, Mapping[str, Any]]) -> None:
    qualities = {
        number(options["convert_quality"])
        for options in disk.values()
        if "convert_quality" in options
    } - {None}
    if len(qualities) == 1:
        move.put("encoding.jpeg_quality", qualities.pop(), "profiles.*.convert_quality")
    elif qualities:
        move.lack("profiles.*.convert_quality", "it is one for all types: encoding.jpeg_quality")


def _nhm_without(move: Move, old: Old) -> None:
    dead = "it had no effect there either"
    for name, instead in {
        "download_chunk_size": "nothing to set",
        "download_max_files": "there is no zip of originals",
        "pool_recycle_time": "processes stay; see workers.max_jobs",
        "image_pool_size": f"{dead} (pool_size had)",
        "image_cache_size_per_process": dead,
        "info_json_cache_size": dead,
        "info_cache_size": dead,
        "log_level": dead,
    }.items():
        if old.take(name) is not None:
            move.lack(name, instead)


def _nhm_differences(move: Move, name: str, thumbnail: int, preview: int) -> None:
    image = f"/{name}:1.jpg"
    move.differ(
        "the base URI leads to info.json, and browsers to a viewer",
        image,
        f"{image}/full/!{preview},{preview}/0/default.jpg for the preview",
    )
    move.differ(
        "there are no short addresses for thumbnails and previews",
        f"{image}/thumbnail",
        f"{image}/full/!{thumbnail},{thumbnail}/0/default.jpg",
    )
    move.differ(
        "originals are not given out as files, nor as zips; max of a JPEG is the original",
        f"{image}/original, /originals?identifiers=...",
        f"{image}/full/max/0/default.jpg",
    )
    move.differ(
        "info.json says what viewers of 3.0 read: `id` only, sizes that ascend, tiles of "
        "512 pixels; viewers of 2.1 ask below /iiif/2",
        f"{image}/info.json with @id",
        f"/iiif/2{image}/info.json",
    )
    move.differ(
        "a box larger than the image is fitted, where it was refused",
        f"{image}/full/!9000,9000/0/default.jpg: 400",
        "the whole image",
    )
    move.differ(
        "pixels are the original's own wherever that can be, where they were compressed "
        "anew at quality 75",
        f"{image}/full/max/0/default.jpg",
        "the same, byte for byte",
    )


def _tell_rest(move: Move, old: Old) -> None:
    for name in old.rest():
        move.lack(name, "this is not a setting that is known of that server")
