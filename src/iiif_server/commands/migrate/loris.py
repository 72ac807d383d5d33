"""Loris, 2 and 3. Pure."""

from collections.abc import Iterable, Mapping
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
"""What to do instead of settings that begin like this; the first that fits counts."""


def from_loris(values: Mapping[str, Any]) -> Move:
    """The migration from Loris, whose settings are named `section.subsection.name`."""
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
    for root in roots[1:]:
        instead = "give it a type of its own: a folder, or a link to it, in source_path"
        move.lack(f"resolver.src_img_roots: {root}", instead)
    return [put_disk_type(move, roots[0], "resolver.src_img_root")]


def _web(move: Move) -> list[str]:
    prefix, suffix = move.take("resolver.source_prefix"), move.take("resolver.source_suffix", "")
    _fetched(move)
    if is_true(move.take("resolver.uri_resolvable")):
        move.lack(
            "resolver.uri_resolvable",
            "it would let anybody have the server request any URL: use a type trusted_web "
            "with a regex",
        )
        move.differ((
            "URLs as identifiers are written in base 64, and have to be trusted",
            "/https%3A%2F%2Fexample.org%2F1.jpg/info.json",
            "/TYPE:aHR0cHM6Ly9leGFtcGxlLm9yZy8xLmpwZw==/info.json",
        ))  # fmt: skip
    if not prefix:
        return []
    put_web_type(move, "web", f"{prefix}{{name}}{suffix}", "resolver.source_prefix, source_suffix")
    return ["web"]


def _templates(move: Move) -> list[str]:
    types = []
    _fetched(move)
    if move.take("resolver.delimiter"):
        move.lack("resolver.delimiter", "a URL has one {name} in it")
    for name in _listed(move.take("resolver.templates")):
        url = move.take(f"resolver.{name}.url") or move.take(f"resolver.{name}")
        move.below(f"resolver.{name}.")
        if not isinstance(url, str) or url.count("%s") != 1:
            move.lack(f"resolver.templates: {name}", "a URL needs one %s, and nothing else")
            continue
        put_web_type(move, name, url.replace("%s", "{name}"), f"resolver.templates: {name}")
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
    "SimpleHTTPResolver": _web,
    "TemplateHTTPResolver": _templates,
}


def _fetched(move: Move) -> None:
    if any([move.take(f"resolver.{name}") for name in ("user", "pw", "cert", "key")]):  # noqa: C419
        instead = "nothing secret is sent upstream: docs/plugins.md"
        move.lack("resolver.user, pw, cert, key", instead)
    if move.take("resolver.cache_root"):
        move.to_do.append("Originals are fetched again, into source_path; none is lost.")
    for name in ("head_resolvable", "default_format", "ident_regex", "ssl_check"):
        if move.take(f"resolver.{name}") is not None:
            move.lack(f"resolver.{name}", "nothing to set")


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
