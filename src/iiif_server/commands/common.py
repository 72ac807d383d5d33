"""Common parts of commands: options, settings, progress and error output."""

import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from functools import partial, wraps
from pathlib import Path
from typing import Any, NoReturn

import click
import httpx
from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress

from iiif_server.configuration.folders import adding, checked_folders
from iiif_server.errors import ConfigurationError, UnknownTypeError
from iiif_server.iiif.identifier import Identifier
from iiif_server.iiif.versions import V2, V3, ImageApiVersion
from iiif_server.images.originals import Originals
from iiif_server.settings import Loaded, Settings, load

Command = Callable[..., Any]
Advance = Callable[[], None]
"""Function that advances a progress bar by one step."""
ReadSettings = Callable[[], Loaded]
"""Function that loads the settings which the command line names."""

config_option = click.option(
    "--config",
    type=click.Path(path_type=Path, dir_okay=False),
    help="TOML or YAML file of settings; also IIIF_CONFIG.",
)


def settings_options(command: Command) -> Command:
    """Add the options `--config` and `--folder` as one `read`, which loads the settings."""

    @config_option
    @click.option(
        "--folder",
        "folders",
        multiple=True,
        help="A folder that is served by `serve FOLDER`; may be repeated.",
    )
    @wraps(command)
    def decorated(config: Path | None, folders: tuple[str, ...], **rest: Any) -> None:
        command(read=partial(read_settings, config, folders), **rest)

    added: Command = decorated
    return added


def _version(_: click.Context, __: click.Parameter, number: str) -> ImageApiVersion:
    return V2 if number == V2.number else V3


version_option = click.option(
    "--version",
    type=click.Choice([V2.number, V3.number]),
    default=V3.number,
    show_default=True,
    callback=_version,
    help="Version of the Image API.",
)


def identifier_options(verb: str) -> Callable[[Command], Command]:
    """Add the options that choose images: identifiers, `--identifiers FILE`, `--type NAME`."""

    def add(command: Command) -> Command:
        for option in (
            click.argument("identifiers", nargs=-1),
            click.option(
                "--identifiers",
                "listed",
                type=click.File(),
                help=f"{verb} the identifiers in this file, one a line; - is standard input.",
            ),
            click.option(
                "--type", "type_", help=f"{verb} all originals of this type, if it can list them."
            ),
        ):
            command = option(command)
        return command

    return add


def read_selection(
    type_: str | None,
    listed: Iterable[str] | None,
    identifiers: tuple[str, ...],
    manifests: tuple[str, ...] | None = None,
) -> list[str]:
    """Return the identifiers from the arguments or from a file.

    `manifests` is None for commands without the option `--manifest`. Raises UsageError unless
    exactly one of the ways to choose images is used.
    """
    if sum((type_ is not None, listed is not None, bool(identifiers), bool(manifests))) != 1:
        more = "" if manifests is None else ", or --manifest URL|FILE"
        raise click.UsageError(f"Give identifiers, or --identifiers FILE, or --type NAME{more}.")
    return [*read_lines(listed or ()), *identifiers]


def read_lines(listed: Iterable[str]) -> list[str]:
    """Return the lines of a file of identifiers; raises UsageError if it is not UTF-8."""
    try:
        return list(listed)
    except UnicodeDecodeError as error:
        raise click.UsageError("The file of identifiers is not text in UTF-8.") from error


def find_identifiers(
    settings: Settings, originals: Originals, type_: str | None, written: Iterable[str]
) -> list[Identifier]:
    """Return the identifiers of all originals of a type, or else parse those in `written`.

    Raises ConfigurationError if there are none, or if the type cannot list its originals; and the
    errors of `check_type` and `IdentifierReader.read_all`.
    """
    if type_ is not None:
        check_type(settings, type_)
        found = list(originals.identifiers(type_))
        empty_message = f"There are no images in the type {type_}: its folder is empty."
    else:
        found = settings.identifiers.read_all(written)
        empty_message = "No identifiers were given."
    if not found:
        raise ConfigurationError(empty_message)
    return found


def check_type(settings: Settings, name: str) -> None:
    """Raise UnknownTypeError, with the names of all types, unless the settings have this type."""
    if name not in settings.types:
        names = ", ".join(sorted(settings.types)) or "none"
        raise UnknownTypeError(f"There is no type {name!r} in the settings: they have {names}.")


def read_settings(config: Path | None, folders: Sequence[str] = ()) -> Loaded:
    """Load the settings, with the types of `folders`; exit with an error if they are invalid."""
    try:
        return load(config, adding(checked_folders(folders), config))
    except ConfigurationError as error:
        fail(str(error))


class ProgressLines:
    """Progress as lines for a log: finished steps, rate and remaining time."""

    def __init__(
        self,
        description: str,
        total: int | None,
        write: Callable[[str], object] = lambda text: click.echo(text, err=True),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._description = description
        self._total = total
        self._write = write
        self._clock = clock
        self._done = 0
        self._began = clock()
        self._next = self._began + _MIN_INTERVAL

    def advance(self) -> None:
        """Count one step; write a line if the interval has passed since the last one."""
        self._done += 1
        now = self._clock()
        if now < self._next or self._done == self._total:
            return
        self._next = now + min(_MAX_INTERVAL, max(_MIN_INTERVAL, (now - self._began) / 10))
        rate = self._done / (now - self._began)
        self._write(f"{self._description}: {self._text(rate)}")

    def _text(self, rate: float) -> str:
        if self._total is None:
            return f"{self._done:,}, {rate:.1f} per second"
        remaining = timedelta(seconds=round((self._total - self._done) / rate))
        return (
            f"{self._done:,} of {self._total:,} ({self._done * 100 // self._total} %), "
            f"{rate:.1f} per second, {remaining} left"
        )


_MIN_INTERVAL = 3.0
"""Seconds before the first line of progress."""
_MAX_INTERVAL = 60.0
"""Largest interval in seconds between two lines."""


@contextmanager
def show_progress(description: str, total: int | None) -> Iterator[Advance]:
    """Show progress on standard error: a bar on a terminal, else lines with rate and time.

    Yields the function that advances it.
    """
    if not sys.stderr.isatty():
        click.echo(description if total is None else f"{description}: {total:,}", err=True)
        lines = ProgressLines(description, total)
        yield lines.advance
        return
    columns = (*Progress.get_default_columns(), MofNCompleteColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(description, total=total)
        yield lambda: bar.advance(task)


def local_url(host: str, port: int) -> str:
    """Return the URL of the server on this machine; `localhost` if it listens on all addresses."""
    if host in {"", "0.0.0.0", "::"}:  # noqa: S104 - compared, not listened on
        host = "localhost"
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def fail(message: str) -> NoReturn:
    """Print an error and end the program with exit status 1."""
    click.echo(message, err=True)
    sys.exit(1)


def check_url(text: str) -> None:
    """Raise UsageError unless the text is an HTTP or HTTPS URL with a host."""
    try:
        url = httpx.URL(text)
    except httpx.InvalidURL as error:
        raise click.UsageError(f"{text} is not a URL: {error}") from error
    if url.scheme not in {"http", "https"} or not url.host:
        raise click.UsageError(f"{text} must begin with http:// or https:// and a host")
