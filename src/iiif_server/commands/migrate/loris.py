"""Loris, 2 and 3. Pure."""

from collections.abc import Iterable, Mapping
from typing import Any

from iiif_server.commands.migrate.moves import (
    Kind,
    Move,
    Old,
    is_true,
    put_base_url,
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
    """What moving from Loris comes to: names are `section.subsection.name`."""
    move, old = Move(Kind.LORIS), Old(values)
    if path := old.take("loris.Loris.proxy_path"):
        put_base_url(move, "proxy_path", str(path))
    types = _resolver(move, old)
    templated = str(old.take("resolver.impl", "")).endswith("TemplateHTTPResolver")
    if types and not templated:
        move.put("default_type", types[0], "so that identifiers stay as they are")
    if path := old.take("img.ImageCache.cache_dp"):
        move.put("cache_path", f"{str(path).rstrip('/')}/iiif-server", "img.ImageCache.cache_dp")
        move.to_do.append(
            f"What Loris has kept in {path} is not used: it can be deleted, but for the folder "
            "iiif-server."
        )
    for name in ("redirect_canonical_image_request", "redirect_cannonical_image_request"):
        if is_true(old.take(f"loris.Loris.{name}")):
            move.put("canonical_redirect", value=True, comment=name)
    level = str(old.take("logging.log_level", "")).lower()
    if level in _LEVELS:
        move.put("log_level", _LEVELS[level], "logging.log_level")
    _differences(move, types[0] if types else "images", templated=templated)
    _tell_rest(move, old)
    return move


def _resolver(move: Move, old: Old) -> list[str]:
    """The types that take the resolver's place."""
    implementation = str(old.take("resolver.impl", "")).rpartition(".")[2]
    if implementation == "SimpleFSResolver":
        return _files(move, old)
    if implementation == "SimpleHTTPResolver":
        return _web(move, old)
    if implementation == "TemplateHTTPResolver":
        return _templates(move, old)
    if implementation:
        list(old.below("resolver."))
        move.lack(
            f"resolver.impl = {implementation}", "write a source as a plug-in: docs/plugins.md"
        )
    return []


def _files(move: Move, old: Old) -> list[str]:
    roots = _listed(old.take("resolver.src_img_roots")) or _listed(
        old.take("resolver.src_img_root")
    )
    old.take("resolver.src_img_root")
    if not roots:
        move.lack("resolver.src_img_root", "name the folder of the originals: source_path")
        return []
    for root in roots[1:]:
        move.lack(
            f"resolver.src_img_roots: {root}",
            "give it a type of its own: a folder, or a link to it, in source_path",
        )
    return [put_disk_type(move, roots[0], "resolver.src_img_root")]


def _web(move: Move, old: Old) -> list[str]:
    prefix, suffix = old.take("resolver.source_prefix"), old.take("resolver.source_suffix", "")
    _fetched(move, old)
    if is_true(old.take("resolver.uri_resolvable")):
        move.lack(
            "resolver.uri_resolvable",
            "whoever may name any URL can make the server ask "
            "anything: use a type trusted_web with a regex",
        )
        move.differ(
            "URLs as identifiers are written in base 64, and have to be trusted",
            "/https%3A%2F%2Fexample.org%2F1.jpg/info.json",
            "/TYPE:aHR0cHM6Ly9leGFtcGxlLm9yZy8xLmpwZw==/info.json",
        )
    if not prefix:
        return []
    put_web_type(move, "web", f"{prefix}{{name}}{suffix}", "resolver.source_prefix, source_suffix")
    return ["web"]


def _templates(move: Move, old: Old) -> list[str]:
    types = []
    _fetched(move, old)
    if old.take("resolver.delimiter"):
        move.lack("resolver.delimiter", "a URL has one {name} in it")
    for name in _listed(old.take("resolver.templates")):
        url = old.take(f"resolver.{name}.url") or old.take(f"resolver.{name}")
        list(old.below(f"resolver.{name}."))
        if not isinstance(url, str) or url.count("%s") != 1:
            move.lack(f"resolver.templates: {name}", "a URL needs one %s, and nothing else")
            continue
        put_web_type(move, name, url.replace("%s", "{name}"), f"resolver.templates: {name}")
        types.append(name)
    return types


def _fetched(move: Move, old: Old) -> None:
    secrets = [old.take(f"resolver.{name}") for name in ("user", "pw", "cert", "key")]
    if any(secrets):
        move.lack(
            "resolver.user, pw, cert, key", "nothing secret is sent upstream: docs/plugins.md"
        )
    if old.take("resolver.cache_root"):
        move.to_do.append("Originals are fetched anew, into source_path; none is lost.")
    for name in ("head_resolvable", "default_format", "ident_regex", "ssl_check"):
        if old.take(f"resolver.{name}") is not None:
            move.lack(f"resolver.{name}", "nothing to set")


def _differences(move: Move, type_: str, *, templated: bool) -> None:
    image = f"{type_}:1.jpg" if templated else "1.jpg"
    move.differ(
        "Image API 2.1 is below /iiif/2; at the top is 3.0, where `full` is `max`: let the "
        "proxy lead to /iiif/2",
        f"/{image}/full/full/0/default.jpg",
        f"/iiif/2/{image}/full/full/0/default.jpg",
    )
    if not templated:
        move.differ(
            "a name with a colon needs its type in front, as what stands before the first "
            "colon is one",
            "/ark:1234.jpg/info.json",
            f"/iiif/2/{type_}:ark:1234.jpg/info.json",
        )
    move.differ(
        "sizes above the original's are given up to the limits",
        f"/{image}/full/pct:250/...: 404",
        f"/iiif/2/{image}/full/pct:250/0/default.jpg",
    )


def _tell_rest(move: Move, old: Old) -> None:
    told: set[str] = set()
    for name in old.rest():
        start = next((start for start in _INSTEAD if name.startswith(start)), None)
        if old.take(name) is None or start in told:
            continue
        if start is None:
            move.lack(name, "this is not a setting that is known of Loris")
        else:
            told.add(start)
            move.lack(f"{start}*" if start != name else name, _INSTEAD[start])


def _listed(value: Any) -> list[str]:
    items: Iterable[Any] = value.split(",") if isinstance(value, str) else value or ()
    return [str(item).strip() for item in items if str(item).strip()]
