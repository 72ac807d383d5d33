"""`iiif-server serve`: one server process, or several under a supervisor."""

import logging.config
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import click
import uvicorn

from iiif_server.app import create_app
from iiif_server.commands.common import config_option, fail, local_url
from iiif_server.commands.serve import supervision
from iiif_server.commands.serve.draining import DrainingServer
from iiif_server.commands.serve.reload import Reloading
from iiif_server.composition.sizing import share_of
from iiif_server.configuration.folders import adding, checked_folders
from iiif_server.errors import ConfigurationError
from iiif_server.exits import exit_in_words
from iiif_server.server import protocol
from iiif_server.server.readiness import Draining
from iiif_server.settings import Loaded, Settings, load
from iiif_server.sources.registry import type_options
from iiif_server.telemetry import metrics
from iiif_server.telemetry.events import SettingsWarning
from iiif_server.telemetry.logs import log_event, uvicorn_logging

_END_SECONDS = 10
"""Time for requests in progress, after the server has stopped accepting others."""
_CLOSE_SECONDS = 10
"""Time for a server process to close its services after that."""
_SAMPLE_TYPE = "sample"
_SAMPLE_NAME = "atlas.jpg"


@dataclass(frozen=True, slots=True)
class _SettingsSource:
    """Sources of the settings: settings file and options of the command line."""

    config: Path | None
    folders: tuple[Path, ...] = ()
    sample: bool = False

    def load(self) -> Loaded:
        """Load the settings, with a sample image if `--sample` is given or there are no types.

        Raises ConfigurationError.
        """
        loaded = load(self.config, adding(self.folders, self.config))
        if self.sample or (self.config is None and not loaded.settings.types):
            return replace(loaded, settings=_with_sample(loaded.settings))
        return loaded

    @property
    def options(self) -> list[str]:
        """Options for the command line of a further server process."""
        return [
            *(["--config", str(self.config)] if self.config else []),
            *(f"--folder={folder}" for folder in self.folders),
            *(["--sample"] if self.sample else []),
        ]


@click.command()
@click.argument("folders", nargs=-1)
@config_option
@click.option("--host", help="Address to listen on, instead of http_host.")
@click.option("--port", type=click.IntRange(0, 65535), help="Port, instead of http_port.")
@click.option(
    "--workers", type=click.IntRange(1, 256), help="Server processes, instead of http_processes."
)
@click.option("--sample", is_flag=True, help="Also serve a sample image, made if it is missing.")
def serve(
    folders: tuple[str, ...],
    config: Path | None,
    host: str | None,
    port: int | None,
    workers: int | None,
    *,
    sample: bool,
) -> None:
    """Serve images: those in FOLDERS, and those of the settings.

    The first folder is the default type, and the cache is in ~/.cache/iiif-server. Without folders
    and settings, the server creates and serves a large sample image. SIGHUP reloads the settings.
    """
    if workers is not None:
        os.environ["IIIF_HTTP_PROCESSES"] = str(workers)  # also when settings are reloaded
    try:
        source = _SettingsSource(config, checked_folders(folders), sample)
        loaded = source.load()
        settings = loaded.settings
        host, port = host or settings.http_host, settings.http_port if port is None else port
        sockets = supervision.bind(host, port, settings.http_processes)
    except ConfigurationError as error:
        fail(str(error))
    _configure_logging(settings)
    for text in loaded.warnings:
        log_event(SettingsWarning(text))
    for line in _addresses(settings, source.folders, host, sockets[0].getsockname()[1]):
        click.echo(line)
    if len(sockets) > 1:
        sys.exit(_supervise(sockets, source, settings))
    _run(sockets[0], source)


@click.command(hidden=True)
@config_option
@click.option("--folder", "folders", multiple=True, type=click.Path(path_type=Path))
@click.option("--sample", is_flag=True)
@click.argument("share")
@click.argument("descriptor", type=int)
@click.argument("supervisor", type=int)
def serve_share(
    config: Path | None,
    folders: tuple[Path, ...],
    share: str,
    descriptor: int,
    supervisor: int,
    *,
    sample: bool,
) -> None:
    """Serve as process SHARE (number/of) on an open socket; SUPERVISOR is a process id."""
    supervision.become_supervised(supervisor)
    number, _, processes = share.partition("/")
    source = _SettingsSource(config, folders, sample)
    try:
        _run(socket.socket(fileno=descriptor), source, int(number), int(processes))
    except ConfigurationError as error:  # the file has changed since other processes started
        click.echo(str(error), err=True)
        sys.exit(supervision.CANNOT_START)


def _run(
    listener: socket.socket, source: _SettingsSource, number: int = 0, processes: int = 1
) -> None:
    """Serve on a socket until the process receives SIGTERM or SIGINT."""

    def share() -> Settings:
        settings = source.load().settings
        return share_of(settings, number, processes) if processes > 1 else settings

    protocol.allow_many_files()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # until uvicorn replaces the handler
    draining = Draining()
    # Metrics and draining outlive a reload of the settings.
    make = partial(create_app, metrics=metrics.Metrics(), draining=draining)
    app = Reloading(share, make, log_event, _configure_logging)
    config = uvicorn.Config(
        app,
        log_config=None,  # `_configure_logging` sets it, and again when settings are reloaded
        lifespan="on",
        proxy_headers=False,  # `trusted_proxies` decides, in server/addresses.py
        server_header=False,
        access_log=False,  # server/access_log.py writes one, without signatures
        http=protocol.Listener,
        ws="none",
        limit_concurrency=app.settings.http_connections,
        timeout_keep_alive=protocol.KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=_END_SECONDS,
    )
    server = DrainingServer(config, draining, app.settings.http_drain, log_event)
    with suppress(KeyboardInterrupt):
        server.run(sockets=[listener])


def _supervise(
    sockets: Sequence[socket.socket], source: _SettingsSource, settings: Settings
) -> int:
    """Run a server process on each socket; return the exit code when all have ended."""
    _configure_logging(settings)

    def command(number: int, descriptor: int) -> list[str]:
        share = f"{number}/{len(sockets)}"
        program = [sys.executable, "-m", "iiif_server", "serve-share"]
        return [*program, *source.options, share, str(descriptor), str(os.getpid())]

    end_seconds = settings.http_drain + _END_SECONDS + _CLOSE_SECONDS
    with metrics.folder():
        return supervision.Supervisor(
            sockets, command, log_event, metrics.forget, end_seconds
        ).run()


def _configure_logging(settings: Settings) -> None:
    logging.config.dictConfig(uvicorn_logging(settings.log_level, settings.log_format))


def _with_sample(settings: Settings) -> Settings:
    """Add a type with one large image to the settings; create the image if it is missing."""
    sample = {"source": "disk", "original": "download"}
    options = settings.types.get(_SAMPLE_TYPE) or type_options(sample)
    if options.source != "disk":
        raise ConfigurationError(
            f"There is a type {_SAMPLE_TYPE} already, and it is not on disk: leave out --sample."
        )
    path = settings.source_path / _SAMPLE_TYPE / _SAMPLE_NAME
    if not path.exists():
        click.echo("Making a sample image, which takes some seconds ...")
        # In a separate process, because the server process loads no imaging library.
        program = [sys.executable, "-m", "iiif_server.commands.sample", str(path)]
        done = subprocess.run(program, stderr=subprocess.PIPE, text=True, check=False)  # noqa: S603
        if done.returncode:
            lines = done.stderr.splitlines() or [exit_in_words(done.returncode)]
            raise ConfigurationError(f"The sample image cannot be written to {path}: {lines[-1]}")
    return settings.model_copy(update={"types": {**settings.types, _SAMPLE_TYPE: options}})


def _addresses(settings: Settings, folders: Sequence[Path], host: str, port: int) -> list[str]:
    """Return lines for the terminal: URLs of the server, and the folder of the cache."""
    local = local_url(host, port)
    base = settings.base_url or f"{local}{settings.root_path}"
    lines = [
        f"{base}/         the gallery",
        *(f"{base}/?folder={name}   {folder}" for name, folder in _shown(settings, folders)),
        f"{base}/docs     the API documentation",
        f"{base}/status   the status of the server",
    ]
    if _SAMPLE_TYPE in settings.types:
        image = f"{base}/{_SAMPLE_TYPE}:{_SAMPLE_NAME}"
        lines = [
            f"{image}/view   the viewer",
            f"{image}/info.json",
            f"{image}/full/!1200,1200/0/default.jpg   the whole image",
            f"{image}/4096,3072,512,512/max/0/default.jpg   a tile at full resolution",
            *lines,
        ]
    if folders:
        lines.append(f"{settings.cache_path}   the cache")
    if settings.base_url is not None:
        lines.append(f"{local}   where this process listens")
    return ["", *(f"  {line}" for line in lines), ""]


def _shown(settings: Settings, folders: Sequence[Path]) -> Iterator[tuple[str, Path]]:
    """Yield type and path of the folders from the command line."""
    for name, options in settings.types.items():
        for folder in getattr(options, "path", None) or ():
            if folder in folders:
                yield name, folder
