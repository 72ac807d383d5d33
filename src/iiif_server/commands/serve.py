"""`iiif-server serve`: one server process, or several under a supervisor."""

import logging.config
import os
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

import uvicorn

from iiif_server.app import create_app
from iiif_server.commands.reload import Reloading
from iiif_server.commands.supervision import Supervisor
from iiif_server.composition import share_of
from iiif_server.server import protocol
from iiif_server.settings import Loaded, Settings
from iiif_server.telemetry import metrics
from iiif_server.telemetry.events import SettingsWarning
from iiif_server.telemetry.logs import log_event, uvicorn_logging

_END_SECONDS = 10


def run(
    listener: socket.socket, read: Callable[[], Settings], number: int = 0, of: int = 1
) -> None:
    """Serve on a socket until the process is told to end; it exits by itself then.

    `read` gives the settings, at once and whenever they are to be read again.
    """

    def share() -> Settings:
        return share_of(read(), number, of) if of > 1 else read()

    protocol.allow_many_files()
    # uvicorn ends gracefully and then raises the signal again: being asked to end is no failure.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    numbers = metrics.Metrics()  # the process's, whatever its settings are
    app = Reloading(share, partial(create_app, metrics=numbers), log_event, _configure_logging)
    config = uvicorn.Config(
        app,
        log_config=None,  # `_configure_logging` sets it, and again when settings are reloaded
        lifespan="on",
        proxy_headers=False,  # `trusted_proxies` decides, in routes/addresses.py
        server_header=False,
        access_log=False,  # routes/front.py writes one, without signatures
        http=protocol.Listener,
        ws="none",
        limit_concurrency=app.settings.http_connections,
        timeout_keep_alive=protocol.KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=_END_SECONDS,
    )
    with suppress(KeyboardInterrupt):
        uvicorn.Server(config).run(sockets=[listener])


def supervise(
    sockets: Sequence[socket.socket], config: Path | None, settings: Settings, *, sample: bool
) -> int:
    """Have a process serve on each of the sockets; the exit code, when all have ended."""
    _configure_logging(settings)

    def command(number: int, descriptor: int) -> list[str]:
        share = f"{number}/{len(sockets)}"
        named = [] if config is None else ["--config", str(config)]
        named += ["--sample"] if sample else []
        program = [sys.executable, "-m", "iiif_server", "serve-share"]
        return [*program, *named, share, str(descriptor), str(os.getpid())]

    with metrics.folder():
        return Supervisor(sockets, command, log_event, metrics.forget).run()


def warn(loaded: Loaded) -> None:
    """Log what an operator should know about the settings."""
    _configure_logging(loaded.settings)
    for text in loaded.warnings:
        log_event(SettingsWarning(text))


def _configure_logging(settings: Settings) -> None:
    logging.config.dictConfig(uvicorn_logging(settings.log_level, settings.log_format))
