"""What several commands need: their options, the settings, and output for people."""

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, NoReturn

import click
import httpx
from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress

from iiif_server.errors import ConfigurationError
from iiif_server.iiif.identifier import Identifier
from iiif_server.iiif.versions import V2, V3, ImageApiVersion
from iiif_server.images.originals import Originals
from iiif_server.settings import Loaded, Settings, load

Command = Callable[..., Any]
Advance = Callable[[], None]
"""Moves a progress bar by one step."""
ShowProgress = Callable[[str, int | None], AbstractContextManager[Advance]]
"""Opens a progress bar with a description and a number of steps, if that is known."""

config_option = click.option(
    "--config",
    type=click.Path(path_type=Path, dir_okay=False),
    help="TOML or YAML file of settings; also IIIF_CONFIG.",
)


def _version(_: click.Context, __: click.Parameter, number: str) -> ImageApiVersion:
    return V2 if number == V2.number else V3


version_option = click.option(
    "--version",
    type=click.Choice([V2.number, V3.number]),
    default=V3.number,
    show_default=True,
    callback=_version,
    help="Of the Image API.",
)


def identifier_options(verb: str) -> Callable[[Command], Command]:
    """The options that choose images: identifiers, `--identifiers FILE` or `--type NAME`."""

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


def choose(
    type_: str | None,
    listed: Iterable[str] | None,
    identifiers: tuple[str, ...],
    manifests: tuple[str, ...] | None = None,
) -> list[str]:
    """The identifiers that were given as arguments or in a file; a usage error for several ways.

    `manifests` are those of a command that takes some.
    """
    if sum((type_ is not None, listed is not None, bool(identifiers), bool(manifests))) != 1:
        more = "" if manifests is None else ", or --manifest URL|FILE"
        raise click.UsageError(f"Give identifiers, or --identifiers FILE, or --type NAME{more}.")
    return [*lines_of(listed or ()), *identifiers]


def lines_of(listed: Iterable[str]) -> list[str]:
    """The lines of a file of identifiers; a usage error if it is not UTF-8."""
    try:
        return list(listed)
    except UnicodeDecodeError as error:
        raise click.UsageError("The file of identifiers is not text in UTF-8.") from error


def find_identifiers(
    settings: Settings, originals: Originals, type_: str | None, written: Iterable[str]
) -> list[Identifier]:
    """The identifiers of a type's originals, or those that were written.

    Raises ConfigurationError if there are none or the type cannot list its originals, and what
    `IdentifierReader.read_all` raises.
    """
    if type_ is not None:
        found = list(originals.identifiers(type_))
        empty = f"There are no images in the type {type_}: its folder is empty."
    else:
        found = settings.identifiers.read_all(written)
        empty = "No identifiers were given."
    if not found:
        raise ConfigurationError(empty)
    return found


def read_settings(
    config: Path | None, add: Callable[[dict[str, Any]], None] = lambda _: None
) -> Loaded:
    """The settings, completed by `add`, and warnings; ends the program if they are invalid."""
    try:
        return load(config, add)
    except ConfigurationError as error:
        fail(str(error))


class ProgressLines:
    """Progress as lines for a log: how many are done, how fast, and how long it takes yet."""

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
        self._next = self._began + _FIRST_LINE

    def advance(self) -> None:
        """Count one, and write a line if the last one was a while ago."""
        self._done += 1
        now = self._clock()
        if now < self._next or self._done == self._total:
            return
        self._next = now + min(_RARELY, max(_FIRST_LINE, (now - self._began) / 10))
        rate = self._done / (now - self._began)
        self._write(f"{self._description}: {self._text(rate)}")

    def _text(self, rate: float) -> str:
        if self._total is None:
            return f"{self._done:,}, {rate:.1f} per second"
        left = timedelta(seconds=round((self._total - self._done) / rate))
        return (
            f"{self._done:,} of {self._total:,} ({self._done * 100 // self._total} %), "
            f"{rate:.1f} per second, {left} left"
        )


_FIRST_LINE = 3.0
"""Seconds until the first line about progress."""
_RARELY = 60.0
"""Seconds between two lines, at most."""


@contextmanager
def show_progress(description: str, total: int | None) -> Iterator[Advance]:
    """A progress bar on a terminal, lines with rate and remaining time elsewhere.

    Yields what advances it.
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
    """The URL of the server on this machine, also where it listens on all addresses."""
    if host in {"", "0.0.0.0", "::"}:  # noqa: S104 - compared, not listened on
        host = "localhost"
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def fail(message: str) -> NoReturn:
    """Print an error and end the program with exit status 1."""
    click.echo(message, err=True)
    sys.exit(1)


def check_url(text: str) -> None:
    """A usage error for what is not the URL of a web server."""
    try:
        url = httpx.URL(text)
    except httpx.InvalidURL as error:
        raise click.UsageError(f"{text} is not a URL: {error}") from error
    if url.scheme not in {"http", "https"} or not url.host:
        raise click.UsageError(f"{text} must begin with http:// or https:// and a host")
