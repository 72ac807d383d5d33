"""Reading the old configuration, and writing the new one."""

from dataclasses import dataclass
from pathlib import Path

from iiif_server.commands.migrate.cantaloupe import from_cantaloupe
from iiif_server.commands.migrate.loris import from_loris
from iiif_server.commands.migrate.moves import Kind
from iiif_server.commands.migrate.nhm import from_nhm, from_seed
from iiif_server.commands.migrate.reading import kind_of, values_of
from iiif_server.commands.migrate.writing import report, settings_text
from iiif_server.errors import ConfigurationError

_MOVES = {
    Kind.SEED: from_seed,
    Kind.NHM: from_nhm,
    Kind.CANTALOUPE: from_cantaloupe,
    Kind.LORIS: from_loris,
}


@dataclass(frozen=True, slots=True)
class Moved:
    """What was made of an old configuration."""

    settings: str
    """As TOML."""
    report: str
    """What has no equivalent, which addresses differ, and what is to do, for people."""


def migrate(path: Path, kind: Kind | None = None) -> Moved:
    """The settings that say the same as an old configuration, as far as that can be said here.

    Without a `kind` it is told by the content. Raises ConfigurationError for what cannot be read.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{path} is not a text in UTF-8.") from error
    try:
        found = kind or kind_of(text)
        move = _MOVES[found](values_of(text, found))
    except ConfigurationError as error:
        raise ConfigurationError(f"{path}: {error}") from error
    return Moved(settings_text(move, path.name), report(move))


def write(moved: Moved, target: Path, *, force: bool) -> None:
    """Write the settings; ConfigurationError where that cannot be, or would overwrite a file."""
    try:
        with target.open("w" if force else "x", encoding="utf-8") as file:
            file.write(moved.settings)
    except FileExistsError as error:
        raise ConfigurationError(
            f"{target} is there already: remove it, or say --force."
        ) from error
    except OSError as error:
        raise ConfigurationError(f"{target} cannot be written: {error.strerror}") from error
