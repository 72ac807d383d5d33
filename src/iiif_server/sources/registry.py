"""Registry of sources, own and plug-ins, by the entry points `iiif_server.sources`."""

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
    """The names of all sources that are installed, sorted."""
    return tuple(sorted(entry_points(group=ENTRY_POINTS).names))


@cache
def source_class(name: str) -> type[Source[Any]]:
    """The source of this name; ConfigurationError if there is none or it cannot be loaded."""
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
    """The options of one type, checked by the source it names.

    Raises ConfigurationError without a source, ValidationError for what the source refuses.
    """
    if not isinstance(raw.get("source"), str):
        raise ConfigurationError('a type needs a source: for example source = "disk"')
    name = raw["source"]
    if name == "web" and "regex" in raw and "url" not in raw:
        # The seed's own example of a trusted_web type says `source: web`: it works as written.
        name = "trusted_web"
    return source_class(name).options_model.model_validate({**raw, "source": name})


def build_sources(
    types: Mapping[str, TypeOptions], context: Callable[[str], SourceContext]
) -> dict[str, Source[Any]]:
    """The source of each type. Raises ConfigurationError."""
    built: dict[str, Source[Any]] = {}
    for name, options in types.items():
        source = source_class(options.source)
        built[name] = source(replace(context(name), others=built), options)
    return built
