"""Registry of sources, built-in and plug-ins, by the entry points `iiif_server.sources`."""

import difflib
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache
from importlib.metadata import entry_points
from typing import Any

from iiif_server.errors import ConfigurationError
from iiif_server.sources.base import Source, SourceContext, TypeOptions

ENTRY_POINTS = "iiif_server.sources"


def source_names() -> tuple[str, ...]:
    """Names of all installed sources, sorted."""
    return tuple(sorted(entry_points(group=ENTRY_POINTS).names))


@cache
def source_class(name: str) -> type[Source[Any]]:
    """Class of a source. Raises ConfigurationError if it does not exist or cannot be loaded."""
    found = {entry.name: entry for entry in entry_points(group=ENTRY_POINTS)}
    if name not in found:
        near = difflib.get_close_matches(name, found, 1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise ConfigurationError(
            f"there is no source called {name!r}: there are {', '.join(sorted(found))}{hint}"
        )
    try:
        loaded = found[name].load()
    except Exception as error:
        raise ConfigurationError(f"the source {name!r} cannot be loaded: {error}") from error
    if not (isinstance(loaded, type) and issubclass(loaded, Source)):
        raise ConfigurationError(f"the source {name!r} is not a subclass of Source")
    return loaded


def type_options(raw: Mapping[str, Any]) -> TypeOptions:
    """Validate the settings of one type with the model of its source.

    Raises ConfigurationError without a known source, ValidationError for invalid settings.
    """
    if not isinstance(raw.get("source"), str):
        raise ConfigurationError('a type needs a source: for example source = "disk"')
    name = raw["source"]
    if name == "web" and "regex" in raw and "url" not in raw:
        # Existing settings name a trusted_web type `web`: they work as written.
        name = "trusted_web"
    return source_class(name).options_model.model_validate({**raw, "source": name})


def build_sources(
    types: Mapping[str, TypeOptions], context: Callable[[str], SourceContext]
) -> dict[str, Source[Any]]:
    """Build the source of each type. Raises ConfigurationError."""
    built: dict[str, Source[Any]] = {}
    for name, options in types.items():
        source = source_class(options.source)
        built[name] = source(replace(context(name), others=built), options)
    return built
