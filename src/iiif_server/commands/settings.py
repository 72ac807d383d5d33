"""`iiif-server settings`: reference of all settings, generated from their models."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from iiif_server.configuration import models
from iiif_server.settings import ENV_NESTED, ENV_PREFIX, Settings
from iiif_server.sources.base import TypeOptions
from iiif_server.sources.registry import source_class

_INTRODUCTION = """# Settings

Settings come from a TOML or YAML file (`--config FILE` or `IIIF_CONFIG`) and from environment
variables, which override the file. `iiif-server check` reports all problems at once, and each
variable that overrides a value of the file. Unknown settings are rejected. This page is generated
by `iiif-server settings`.

**Units.** Sizes are written as `"10 GB"` or `"500 MiB"`, durations as `"30 days"`, `"12 h"`,
`"1 h 30 min"` or `"90 s"`, pixels as `"400 MP"` or `"1 GP"`. A number without a unit is in bytes,
seconds or pixels.

**Paths.** A relative path in the settings file is relative to the folder of that file; so are the
defaults of `source_path` and `cache_path`. A relative path in an environment variable or on the
command line is relative to the working directory. `~` is the home directory. Under systemd (and in
the container image) the default of `source_path` is `source` in `$STATE_DIRECTORY`, and that of
`cache_path` is `$CACHE_DIRECTORY`. `iiif-server check` prints absolute paths.

**Lists and tables in variables.** A list is written with commas or in JSON:
`IIIF_TRUSTED_PROXIES=10.0.0.0/8,192.168.0.1/32`. A table is written in JSON, or with one variable
for each setting in it: `IIIF_CACHE__MAX_BYTES=20GB`.

**Secrets in files.** Each secret (`admin.token`, `metrics.token`, `signing.keys`) and the `url` of
a type, which may have a password in it, can be read from a file of its own:

- `IIIF_ADMIN__TOKEN_FILE=/run/secrets/token`, or `token_file = "token"` in the settings file;
- a systemd credential with the name of the setting:
  `LoadCredential=admin.token:/etc/iiif-server/token`.

A line break at the end is removed. In a file for `signing.keys` each line is one key. A file that
is missing, empty or unreadable is an error; a file that all users may read is reported, except
below `/run/secrets`.
"""
_OWN_SOURCES = ("disk", "web", "trusted_web")


@click.command()
def settings() -> None:
    """Print the reference of all settings, in Markdown."""
    click.echo(settings_page(), nl=False)


def settings_page() -> str:
    """Return the reference of all settings, in Markdown."""
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
    """Return the names of the tables of settings, in the order of their declarations."""
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
    unit = models.unit(field)
    if unit is not None and field.default is not None:
        return f"`{unit.show(field.default)}`"
    return _shown(field.default)


def _shown(value: Any) -> str:
    if value is None:
        return "unset"
    if isinstance(value, Path):
        return f"`./{value}`" if not value.is_absolute() else f"`{value}`"
    if isinstance(value, (tuple, list)):
        return ", ".join(f"`{item}`" for item in value) or "none"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return f"`{value}`" if value != "" else "empty"
