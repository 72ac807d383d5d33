"""Introspection of the models of settings: names, accepted values, secrets."""

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from enum import Enum
from pathlib import Path as FilePath
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from iiif_server.configuration.problems import Path
from iiif_server.errors import ConfigurationError
from iiif_server.options import Expects
from iiif_server.sources.base import TypeOptions
from iiif_server.sources.registry import source_class, source_names
from iiif_server.units import Unit

Model = type[BaseModel]
TYPES = "types"
_CREDENTIALS_IN = frozenset({"url"})
"""Settings of types that are URLs and may contain a password."""


def section(field: FieldInfo | None) -> Model | None:
    """Return the model of a setting that is a table of settings; None for other settings."""
    annotation: Any = field.annotation if field else None
    return annotation if _is_a(annotation, BaseModel) else None


def type_models() -> Iterator[type[TypeOptions]]:
    """Yield the options model of every source that can be loaded."""
    for name in source_names():
        with suppress(ConfigurationError):  # a plug-in cannot be loaded
            yield source_class(name).options_model


def known_names(root: Model, parents: Path) -> set[str]:
    """Return the names of the settings in a table."""
    if not parents:
        return set(root.model_fields)
    if parents[0] == TYPES:
        return {name for model in type_models() for name in model.model_fields}
    model = section(root.model_fields.get(str(parents[0])))
    return set(model.model_fields) if model else set()


def find(root: Model, path: Path, raw: Mapping[str, Any]) -> tuple[FieldInfo | None, int]:
    """Find the setting at a path or above it; return it, and the length of its own path.

    `raw` is the content of the settings, with the source of each type. The setting is None if it
    does not exist.
    """
    if path[:1] == (TYPES,):
        return (_of_type(path[2], path[1], raw), 3) if len(path) > 2 else (None, len(path))  # noqa: PLR2004
    field = root.model_fields.get(str(path[0])) if path else None
    model = section(field)
    if model is not None and len(path) > 1:
        return model.model_fields.get(str(path[1])), 2
    return field, min(len(path), 1)


def _of_type(key: str | int, name: str | int, raw: Mapping[str, Any]) -> FieldInfo | None:
    types = raw.get(TYPES)
    options = types.get(name) if isinstance(types, Mapping) else None
    source = options.get("source") if isinstance(options, Mapping) else None
    with suppress(ConfigurationError):
        field = source_class(str(source)).options_model.model_fields.get(str(key))
        if field is not None:
            return field
    fields = (model.model_fields.get(str(key)) for model in type_models())
    return next((field for field in fields if field is not None), None)


def names(root: Model) -> Iterator[Path]:
    """Yield the paths of all settings except those of types."""
    for name, field in root.model_fields.items():
        model = section(field)
        if model is not None:
            yield from ((name, nested) for nested in model.model_fields)
        elif name != TYPES:
            yield (name,)


def tables(
    content: Mapping[str, Any], parents: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield path and table of the content itself, of its sections and of its types."""
    yield parents, content
    for name, value in content.items():
        if isinstance(value, Mapping) and len(parents) < 2:  # noqa: PLR2004 - deeper are values
            yield from tables(value, (*parents, str(name)))


def annotations(annotation: Any) -> Iterator[Any]:
    """Yield an annotation and all its parts."""
    yield annotation
    for part in get_args(annotation):
        yield from annotations(part)


def is_secret(field: FieldInfo | None) -> bool:
    """Whether a setting contains a secret, so that its value is never shown; True if unknown."""
    if field is None:
        return True
    for part in annotations(field.annotation):
        if part is SecretStr:
            return True
        nested = part.model_fields.values() if _is_a(part, BaseModel) else ()
        if any(map(is_secret, nested)):
            return True
    return False


def is_secret_setting(root: Model, path: Path, raw: Mapping[str, Any]) -> bool:
    """Whether a path leads to a setting that is known to be secret."""
    field, _ = find(root, path, raw)
    return field is not None and is_secret(field)


def is_path(field: FieldInfo | None) -> bool:
    """Whether a setting is a file system path."""
    return field is not None and _bare(field.annotation) is FilePath


def is_paths(field: FieldInfo | None) -> bool:
    """Whether a setting is a list of file system paths."""
    return field is not None and is_list(field) and FilePath in annotations(field.annotation)


def from_file(root: Model, path: Path, raw: Mapping[str, Any]) -> FieldInfo | None:
    """Return the setting at a path if it may be in a secret file: it contains a secret."""
    field, depth = find(root, path, raw)
    if field is None or depth != len(path) or section(field) is not None:
        return None
    has_credentials = path[0] == TYPES and path[-1] in _CREDENTIALS_IN
    return field if has_credentials or is_secret(field) else None


def holds_any(field: FieldInfo) -> bool:
    """Whether a setting is a table with arbitrary names, as `info` of a type."""
    return get_origin(_bare(field.annotation)) is dict


def unit(field: FieldInfo) -> Unit | None:
    """Return the unit of a setting, if it has one."""
    _, metadata = _unwrapped(field.annotation, tuple(field.metadata))
    return next((mark for mark in metadata if isinstance(mark, Unit)), None)


def is_list(field: FieldInfo) -> bool:
    """Whether a setting is a list."""
    return get_origin(_bare(field.annotation)) in {tuple, list, set, frozenset}


def is_text(field: FieldInfo | None) -> bool:
    """Whether a setting is text, so that its value is not parsed as JSON."""
    return field is not None and _bare(field.annotation) in {str, SecretStr, FilePath}


def expected(field: FieldInfo, inside: Path = ()) -> str:
    """Describe the accepted values of a setting or its items: "a whole number from 0 to 65535"."""
    return _expected(field.annotation, tuple(field.metadata), inside)


def _expected(annotation: Any, metadata: tuple[Any, ...], inside: Path = ()) -> str:
    annotation, metadata = _unwrapped(annotation, metadata)
    for mark in metadata:
        if isinstance(mark, Expects):
            return mark.expected
        if isinstance(mark, Unit):
            return ", ".join([mark.expected, *_limits(metadata, mark.show)])
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Literal or _is_a(annotation, Enum):
        return _one_of(arguments or tuple(member.value for member in annotation))
    if origin in {tuple, list, set, frozenset}:
        one = _expected(arguments[0], ())
        return one if inside else f"a list in which each item is {one}"
    if origin is dict or _is_a(annotation, BaseModel):
        return "a table of settings"
    simple = _SIMPLE.get(annotation, "another value")
    return " ".join([simple, *_limits(metadata, str)])


_SIMPLE: dict[Any, str] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "text",
    SecretStr: "text",
    FilePath: "a path",
}


def _is_a(annotation: Any, kind: type) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, kind)


def _one_of(values: tuple[Any, ...]) -> str:
    *first, last = (f'"{value}"' for value in values)
    return f"{', '.join(first)} or {last}" if first else last


def _limits(metadata: tuple[Any, ...], show: Callable[[float], str]) -> Iterator[str]:
    """Yield the limits of a number, or of the length of text, in words."""

    def limit(name: str) -> Any:
        found = [value for mark in metadata if (value := getattr(mark, name, None)) is not None]
        return found[-1] if found else None

    least, above, most, below = (limit(name) for name in ("ge", "gt", "le", "lt"))
    if most is not None and least is not None:
        yield f"from {show(least)} to {show(most)}"
        return
    words = [
        *([f"of at least {show(least)}"] if least is not None else []),
        *([f"greater than {show(above)}"] if above is not None else []),
        *([f"at most {show(most)}"] if most is not None else []),
        *([f"below {show(below)}"] if below is not None else []),
    ]
    if words:
        yield " and ".join(words)
    if (longest := limit("max_length")) is not None:
        yield f"of {limit('min_length') or 0} to {longest} characters"
    if (pattern := limit("pattern")) is not None:
        yield f"that matches {pattern}"


def _bare(annotation: Any) -> Any:
    return _unwrapped(annotation, ())[0]


def _unwrapped(annotation: Any, metadata: tuple[Any, ...]) -> tuple[Any, tuple[Any, ...]]:
    """Strip `Annotated` and `| None` from an annotation; return it and its metadata."""
    while True:
        if get_origin(annotation) is Annotated:
            annotation, *more = get_args(annotation)
            metadata = (*_flat(more), *metadata)
            continue
        parts = [part for part in get_args(annotation) if part is not NoneType]
        if get_origin(annotation) in {Union, UnionType} and len(parts) == 1:
            annotation = parts[0]
            continue
        return annotation, metadata


def _flat(marks: list[Any]) -> Iterator[Any]:
    for mark in marks:
        yield from mark.metadata if isinstance(mark, FieldInfo) else (mark,)


def secret_words(root: Model) -> re.Pattern[str]:
    """Return a pattern of words in lines that may have secrets, as names of secret settings."""
    own = {str(path[-1]) for path in names(root) if is_secret_setting(root, path, {})}
    of_types = {
        name
        for model in type_models()
        for name, field in model.model_fields.items()
        if is_secret(field)
    }
    words = sorted(own | of_types | {"token", "key", "password", "secret", "credential"})
    return re.compile("|".join(words), re.IGNORECASE)
