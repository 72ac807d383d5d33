"""`iiif-server migrate`: converts the configuration of another image server to settings."""

import sys
from dataclasses import dataclass
from pathlib import Path

import click

from iiif_server.commands.common import fail, read_settings
from iiif_server.commands.migrate.cantaloupe import from_cantaloupe
from iiif_server.commands.migrate.conversion import Kind
from iiif_server.commands.migrate.iipimage import from_iipimage
from iiif_server.commands.migrate.loris import from_loris
from iiif_server.commands.migrate.nhm import from_nhm, from_seed
from iiif_server.commands.migrate.reading import kind_of, values_of
from iiif_server.commands.migrate.writing import report, settings_text
from iiif_server.errors import ConfigurationError

INCOMPLETE = 3
"""Exit status if settings were written, but some old settings have no equivalent."""
_CONVERTERS = {
    Kind.SEED: from_seed,
    Kind.NHM: from_nhm,
    Kind.CANTALOUPE: from_cantaloupe,
    Kind.LORIS: from_loris,
    Kind.IIPIMAGE: from_iipimage,
}


@click.command()
@click.argument("source", metavar="FILE", type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "--to",
    "target",
    type=click.Path(path_type=Path, dir_okay=False),
    help="File to write, as settings.toml; default: standard output.",
)
@click.option(
    "--from",
    "kind",
    type=click.Choice([str(kind) for kind in Kind]),
    help="Server of the configuration; default: detected from its content.",
)
@click.option("--force", is_flag=True, help="Overwrite the file if it exists.")
def migrate(source: Path, target: Path | None, kind: str | None, *, force: bool) -> None:
    """Convert the configuration of another image server to settings of this one.

    FILE is a configuration of Cantaloupe, Loris or the servers of the Natural History Museum, or
    the environment of IIPImage. The report lists settings without an equivalent, and URLs that
    change. Exits with 3 if a setting has no equivalent.
    """
    try:
        converted = convert(source, Kind(kind) if kind else None)
        if target is not None:
            write(converted, target, force=force)
    except ConfigurationError as error:
        fail(str(error))
    if target is None:
        click.echo(converted.settings, nl=False)
        click.echo(converted.report, err=True)
    else:
        click.echo(converted.report)
        read_settings(target)  # reports invalid settings now instead of when the server starts
        click.echo(f"\n{target} is written. Now: iiif-server check --config {target}")
    if converted.is_partial:
        sys.exit(INCOMPLETE)


@dataclass(frozen=True, slots=True)
class ConvertedSettings:
    """Result of a migration."""

    settings: str
    """Settings file as TOML."""
    report: str
    """Settings without an equivalent, URLs that change, and remaining steps."""
    is_partial: bool
    """Whether some settings have no equivalent."""


def convert(path: Path, kind: Kind | None = None) -> ConvertedSettings:
    """Convert an old configuration to settings, as far as equivalents exist.

    Without `kind`, the content of the file decides. Raises ConfigurationError if the file cannot be
    read or parsed.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{path} is not a text in UTF-8.") from error
    try:
        found = kind or kind_of(text)
        conversion = _CONVERTERS[found](values_of(text, found))
    except ConfigurationError as error:
        raise ConfigurationError(f"{path}: {error}") from error
    return ConvertedSettings(
        settings_text(conversion, path.name), report(conversion), bool(conversion.unsupported)
    )


def write(converted: ConvertedSettings, target: Path, *, force: bool) -> None:
    """Write the settings file; raises ConfigurationError if it exists or cannot be written."""
    try:
        with target.open("w" if force else "x", encoding="utf-8") as file:
            file.write(converted.settings)
    except FileExistsError as error:
        raise ConfigurationError(f"{target} exists already: remove it, or add --force.") from error
    except OSError as error:
        raise ConfigurationError(f"{target} cannot be written: {error.strerror}") from error
