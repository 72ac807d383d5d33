"""Migration from Loris 2 and 3. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from iiif_server.commands.migrate.moves import (
    Kind,
    Move,
    colon_difference,
    is_true,
    put_disk_type,
    put_web_type,
)

_LEVELS = {"debug": "debug", "info": "info", "warning": "warning", "error": "error",
           "critical": "error"}  # fmt: skip
_INSTEAD = {
    "loris.Loris.run_as": "the service manager says who runs it",
    "loris.Loris.cors": "every origin may read images: nothing to set",
    "loris.Loris.max_size_above_full": "see limits.max_upscale_area",
    "loris.Loris.": "nothing to set",
    "logging.": "logs go to standard error; see log_level",
    "img_info.": "headers are kept in memory: info_cache_size",
    "img.": "see [cache]",
    "transforms": "what does least to the pixels is chosen for each request; formats that can be "
    "made are in /status",
    "resolver.": "nothing here corresponds to it",
    "authorizer.": "see signed types: docs/security.md",
}
"""Advice by prefix of an old setting; the first matching prefix counts."""


def from_loris(values: Mapping[str, Any]) -> Move:
    """Convert a configuration of Loris, with settings named `section.subsection.name`."""
    move = Move(Kind.LORIS, values)
    move.copy_base_url("loris.Loris.proxy_path")
    implementation = str(move.take("resolver.impl", "")).rpartition(".")[2]
    types = _RESOLVERS.get(implementation, _other)(move)
    templated = implementation == "TemplateHTTPResolver"
    if types and not templated:
        move.put("default_type", types[0], "so that identifiers stay as they are")
    move.copy_cache_path("img.ImageCache.cache_dp", "Loris")
    for name in ("redirect_canonical_image_request", "redirect_cannonical_image_request"):
        if is_true(move.take(f"loris.Loris.{name}")):
            move.put("canonical_redirect", value=True, comment=name)
    move.copy_level("logging.log_level", _LEVELS)
    _differences(move, types[0] if types else "images", templated=templated)
    move.lack_rest("Loris", _INSTEAD)
    return move


def _files(move: Move) -> list[str]:
    old = move.take("resolver.src_img_root")
    roots = _listed(move.take("resolver.src_img_roots")) or _listed(old)
    if not roots:
        move.lack("resolver.src_img_root", "name the folder of the originals: source_path")
        return []
    name = put_disk_type(move, roots[0], "resolver.src_img_root")
    if roots[1:]:
        move.settings[-1] = replace(move.settings[-1], value=roots)
    if move.take("resolver.extension_map"):
        move.lack("resolver.extension_map", "see extensions of the type: docs/sources/disk.md")
    return [name]


def _copied(move: Move) -> list[str]:
    """Add a type for the originals on a slow disk, which Loris copies to a fast one."""
    root = move.take("resolver.source_root")
    if move.take("resolver.cache_root"):
        move.to_do.append("Originals are read where they are: the copies can be deleted.")
    if not root:
        move.lack("resolver.source_root", "name the folder of the originals: path of the type")
        return []
    return [put_disk_type(move, str(root), "resolver.source_root")]


def _web(move: Move) -> list[str]:
    prefix, suffix = move.take("resolver.source_prefix"), move.take("resolver.source_suffix", "")
    _fetched(move)
    if is_true(move.take("resolver.uri_resolvable")):
        move.lack(
            "resolver.uri_resolvable",
            "it would let anybody have the server request any URL: add a type trusted_web with "
            "prefixes or a regex, and URLs as identifiers stay the same",
        )
    if not prefix:
        return []
    put_web_type(move, "web", f"{prefix}{{name}}{suffix}", "resolver.source_prefix, source_suffix")
    _access(move, "web", "resolver")
    return ["web"]


def _templates(move: Move) -> list[str]:
    types = []
    _fetched(move)
    if move.take("resolver.delimiter"):
        move.lack("resolver.delimiter", "a URL has one {name} in it")
    for name in _listed(move.take("resolver.templates")):
        url = move.take(f"resolver.{name}.url") or move.take(f"resolver.{name}")
        if not isinstance(url, str) or url.count("%s") != 1:
            move.lack(f"resolver.templates: {name}", "a URL needs one %s, and nothing else")
            continue
        put_web_type(move, name, url.replace("%s", "{name}"), f"resolver.templates: {name}")
        own = any(f"resolver.{name}.{key}" in move.old for key in ("user", "cert"))
        _access(move, name, f"resolver.{name}" if own else "resolver")
        types.append(name)
    return types


def _other(move: Move) -> list[str]:
    implementation = str(move.take("resolver.impl", "")).rpartition(".")[2]
    if implementation:
        move.below("resolver.")
        instead = "write a source as a plug-in: docs/plugins.md"
        move.lack(f"resolver.impl = {implementation}", instead)
    return []


_RESOLVERS = {
    "SimpleFSResolver": _files,
    "ExtensionNormalizingFSResolver": _files,
    "SourceImageCachingResolver": _copied,
    "SimpleHTTPResolver": _web,
    "TemplateHTTPResolver": _templates,
}


def _fetched(move: Move) -> None:
    if move.take("resolver.cache_root"):
        move.to_do.append("Originals are fetched again, into source_path; none is lost.")
    if move.take("resolver.ssl_check", default=True) in {False, "False"}:
        move.lack("resolver.ssl_check", "certificates are always checked; see ca_file of the type")
    for name in ("head_resolvable", "default_format", "ident_regex"):
        if move.take(f"resolver.{name}") is not None:
            move.lack(f"resolver.{name}", "nothing to set")


def _access(move: Move, type_: str, section: str) -> None:
    """Add the client certificate for the upstream; passwords are not copied."""
    move.copy(
        {
            f"{section}.cert": f"types.{type_}.client_certificate",
            f"{section}.key": f"types.{type_}.client_key",
        }
    )
    if user := move.take(f"{section}.user"):
        move.take(f"{section}.pw")
        move.to_do.append(
            f'Add to [types.{type_}]: username = "{user}" and password_file = "FILE", a file with '
            f"{section}.pw in it. Passwords are not copied."
        )


def _differences(move: Move, type_: str, *, templated: bool) -> None:
    image = f"{type_}:1.jpg" if templated else "1.jpg"
    move.differ((
        "2.1 is below /iiif/2, the root serves 3.0 (`full` is `max`): let the proxy use /iiif/2",
        f"/{image}/full/full/0/default.jpg",
        f"/iiif/2/{image}/full/full/0/default.jpg",
    ))  # fmt: skip
    if not templated:
        move.differ(colon_difference(type_, ""))
    what = "sizes above the original's are served up to the limits"
    now = f"/iiif/2/{image}/full/pct:250/0/default.jpg"
    move.differ((what, f"/{image}/full/pct:250/...: 404", now))


def _listed(value: Any) -> list[str]:
    items: Iterable[Any] = value.split(",") if isinstance(value, str) else value or ()
    return [str(item).strip() for item in items if str(item).strip()]
