"""Migration from Loris 2 and 3. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from iiif_server.commands.migrate.conversion import (
    Conversion,
    Kind,
    add_disk_type,
    add_web_type,
    colon_difference,
    is_true,
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


def from_loris(values: Mapping[str, Any]) -> Conversion:
    """Convert a configuration of Loris, with settings named `section.subsection.name`."""
    conversion = Conversion(Kind.LORIS, values)
    conversion.copy_base_url("loris.Loris.proxy_path")
    implementation = str(conversion.read("resolver.impl", "")).rpartition(".")[2]
    types = _RESOLVERS.get(implementation, _other)(conversion)
    templated = implementation == "TemplateHTTPResolver"
    if types and not templated:
        conversion.add("default_type", types[0], "so that identifiers stay as they are")
    conversion.copy_cache_path("img.ImageCache.cache_dp", "Loris")
    for name in ("redirect_canonical_image_request", "redirect_cannonical_image_request"):
        if is_true(conversion.read(f"loris.Loris.{name}")):
            conversion.add("canonical_redirect", value=True, comment=name)
    conversion.copy_level("logging.log_level", _LEVELS)
    _differences(conversion, types[0] if types else "images", templated=templated)
    conversion.add_rest_unsupported("Loris", _INSTEAD)
    return conversion


def _files(conversion: Conversion) -> list[str]:
    old = conversion.read("resolver.src_img_root")
    roots = _listed(conversion.read("resolver.src_img_roots")) or _listed(old)
    if not roots:
        conversion.add_unsupported(
            "resolver.src_img_root", "name the folder of the originals: source_path"
        )
        return []
    name = add_disk_type(conversion, roots[0], "resolver.src_img_root")
    if roots[1:]:
        conversion.settings[-1] = replace(conversion.settings[-1], value=roots)
    if conversion.read("resolver.extension_map"):
        conversion.add_unsupported(
            "resolver.extension_map", "see extensions of the type: docs/sources/disk.md"
        )
    return [name]


def _copied(conversion: Conversion) -> list[str]:
    """Add a type for the originals on a slow disk, which Loris copies to a fast one."""
    root = conversion.read("resolver.source_root")
    if conversion.read("resolver.cache_root"):
        conversion.to_do.append("Originals are read where they are: the copies can be deleted.")
    if not root:
        conversion.add_unsupported(
            "resolver.source_root", "name the folder of the originals: path of the type"
        )
        return []
    return [add_disk_type(conversion, str(root), "resolver.source_root")]


def _web(conversion: Conversion) -> list[str]:
    prefix, suffix = (
        conversion.read("resolver.source_prefix"),
        conversion.read("resolver.source_suffix", ""),
    )
    _fetched(conversion)
    if is_true(conversion.read("resolver.uri_resolvable")):
        conversion.add_unsupported(
            "resolver.uri_resolvable",
            "it would let anybody have the server request any URL: add a type trusted_web with "
            "prefixes or a regex, and URLs as identifiers stay the same",
        )
    if not prefix:
        return []
    add_web_type(
        conversion, "web", f"{prefix}{{name}}{suffix}", "resolver.source_prefix, source_suffix"
    )
    _access(conversion, "web", "resolver")
    return ["web"]


def _templates(conversion: Conversion) -> list[str]:
    types = []
    _fetched(conversion)
    if conversion.read("resolver.delimiter"):
        conversion.add_unsupported("resolver.delimiter", "a URL has one {name} in it")
    for name in _listed(conversion.read("resolver.templates")):
        url = conversion.read(f"resolver.{name}.url") or conversion.read(f"resolver.{name}")
        if not isinstance(url, str) or url.count("%s") != 1:
            conversion.add_unsupported(
                f"resolver.templates: {name}", "a URL needs one %s, and nothing else"
            )
            continue
        add_web_type(conversion, name, url.replace("%s", "{name}"), f"resolver.templates: {name}")
        own = any(f"resolver.{name}.{key}" in conversion.old for key in ("user", "cert"))
        _access(conversion, name, f"resolver.{name}" if own else "resolver")
        types.append(name)
    return types


def _other(conversion: Conversion) -> list[str]:
    implementation = str(conversion.read("resolver.impl", "")).rpartition(".")[2]
    if implementation:
        conversion.read_prefix("resolver.")
        advice = "write a source as a plug-in: docs/plugins.md"
        conversion.add_unsupported(f"resolver.impl = {implementation}", advice)
    return []


_RESOLVERS = {
    "SimpleFSResolver": _files,
    "ExtensionNormalizingFSResolver": _files,
    "SourceImageCachingResolver": _copied,
    "SimpleHTTPResolver": _web,
    "TemplateHTTPResolver": _templates,
}


def _fetched(conversion: Conversion) -> None:
    if conversion.read("resolver.cache_root"):
        conversion.to_do.append("Originals are fetched again, into source_path; none is lost.")
    if conversion.read("resolver.ssl_check", default=True) in {False, "False"}:
        conversion.add_unsupported(
            "resolver.ssl_check", "certificates are always checked; see ca_file of the type"
        )
    for name in ("head_resolvable", "default_format", "ident_regex"):
        if conversion.read(f"resolver.{name}") is not None:
            conversion.add_unsupported(f"resolver.{name}", "nothing to set")


def _access(conversion: Conversion, type_: str, section: str) -> None:
    """Add the client certificate for the upstream; passwords are not copied."""
    conversion.copy(
        {
            f"{section}.cert": f"types.{type_}.client_certificate",
            f"{section}.key": f"types.{type_}.client_key",
        }
    )
    if user := conversion.read(f"{section}.user"):
        conversion.read(f"{section}.pw")
        conversion.to_do.append(
            f'Add to [types.{type_}]: username = "{user}" and password_file = "FILE", a file with '
            f"{section}.pw in it. Passwords are not copied."
        )


def _differences(conversion: Conversion, type_: str, *, templated: bool) -> None:
    image = f"{type_}:1.jpg" if templated else "1.jpg"
    conversion.add_differences((
        "2.1 is below /iiif/2, the root serves 3.0 (`full` is `max`): let the proxy use /iiif/2",
        f"/{image}/full/full/0/default.jpg",
        f"/iiif/2/{image}/full/full/0/default.jpg",
    ))  # fmt: skip
    if not templated:
        conversion.add_differences(colon_difference(type_, ""))
    what = "sizes above the original's are served up to the limits"
    now = f"/iiif/2/{image}/full/pct:250/0/default.jpg"
    conversion.add_differences((what, f"/{image}/full/pct:250/...: 404", now))


def _listed(value: Any) -> list[str]:
    items: Iterable[Any] = value.split(",") if isinstance(value, str) else value or ()
    return [str(item).strip() for item in items if str(item).strip()]
