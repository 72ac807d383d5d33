"""The settings reference, written from the models that declare the settings."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ByteSize
from pydantic.fields import FieldInfo

from iiif_server.settings import ENV_NESTED, ENV_PREFIX, Settings
from iiif_server.sources.base import TypeOptions
from iiif_server.sources.registry import source_class

_INTRODUCTION = """# Settings

Settings come from a TOML or YAML file (`--config FILE` or `IIIF_CONFIG`) and from environment
variables, which win. `iiif-server check` says what is wrong with them; a name that is not here
is an error. This page is written by `iiif-server settings`.
"""
_OWN_SOURCES = ("disk", "web", "trusted_web")


def settings_page() -> str:
    """The reference of all settings, in Markdown."""
    return "\n".join([_INTRODUCTION, *_sections()]).rstrip() + "\n"


def _sections() -> Iterator[str]:
    yield from _table("At the top level", Settings, ENV_PREFIX, leave_out=_section_names())
    for name in _section_names():
        model = Settings.model_fields[name].annotation
        if isinstance(model, type) and issubclass(model, BaseModel):
            prefix = f"{ENV_PREFIX}{name.upper()}{ENV_NESTED}"
            yield from _table(f"`[{name}]`", model, prefix)
    type_prefix = f"{ENV_PREFIX}TYPES{ENV_NESTED}NAME{ENV_NESTED}"
    yield from _table("`[types.NAME]`, whatever the source", TypeOptions, type_prefix)
    for source in _OWN_SOURCES:
        model = source_class(source).options_model
        own = {name for name in model.model_fields if name not in TypeOptions.model_fields}
        if own:
            common = tuple(TypeOptions.model_fields)
            title = f'`[types.NAME]` with `source = "{source}"`'
            yield from _table(title, model, type_prefix, leave_out=common)


def _section_names() -> tuple[str, ...]:
    """The names of the tables of settings, in the order in which they are declared."""
    return tuple(
        name
        for name, field in Settings.model_fields.items()
        if name == "types"
        or (isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel))
    )


def _table(
    title: str, model: type[BaseModel], prefix: str, leave_out: tuple[str, ...] = ()
) -> Iterator[str]:
    yield f"## {title}\n"
    yield "| setting | meaning | default | environment |"
    yield "|---|---|---|---|"
    for name, field in model.model_fields.items():
        if name not in leave_out:
            meaning = " ".join((field.description or "").split())
            yield f"| `{name}` | {meaning} | {_default(field)} | `{prefix}{name.upper()}` |"
    yield ""


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    if field.default_factory is not None:
        return "none" if field.annotation is not int else "computed"
    return _shown(field.default)


def _shown(value: Any) -> str:
    if value is None:
        return "unset"
    if isinstance(value, ByteSize):
        return f"`{value.human_readable(decimal=True)}`"
    if isinstance(value, Path):
        return f"`./{value}`" if not value.is_absolute() else f"`{value}`"
    if isinstance(value, (tuple, list)):
        return ", ".join(f"`{item}`" for item in value) or "none"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return f"`{value}`" if value != "" else "empty"
