"""`iiif-server serve`: one server process, or several under a supervisor."""

import logging.config
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial

import uvicorn
from fastapi import FastAPI

from iiif_server import listening
from iiif_server.app import create_app
from iiif_server.context import share_of
from iiif_server.reloading import Reloading
from iiif_server.settings import Settings
from iiif_server.supervision import Supervisor
from iiif_server.telemetry.logs import log_event, uvicorn_logging
from iiif_server.telemetry.metrics import Metrics, folder, forget

_END_SECONDS = 10


def run(
    listener: socket.socket, read: Callable[[], Settings], number: int = 0, of: int = 1
) -> None:
    """Serve on a socket until the process is told to end; it exits by itself then.

    `read` gives the settings, at once and whenever they are to be read again.
    """

    def share() -> Settings:
        return share_of(read(), number, of) if of > 1 else read()

    listening.allow_many_files()
    # uvicorn ends gracefully and then raises the signal again: being asked to end is no failure.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    metrics = Metrics()  # of the process, whatever its settings are
    app = Reloading(share, partial(_application, metrics), log_event)
    config = uvicorn.Config(
        app,
        log_config=None,  # `_application` sets it, and again when settings are reloaded
        lifespan="on",
        proxy_headers=False,  # `trusted_proxies` decides, in routes/addresses.py
        server_header=False,
        access_log=False,  # routes/front.py writes one, without signatures
        http=listening.Listener,
        ws="none",
        limit_concurrency=app.settings.http_connections,
        timeout_keep_alive=listening.KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=_END_SECONDS,
    )
    with suppress(KeyboardInterrupt):
        uvicorn.Server(config).run(sockets=[listener])


def supervise(
    sockets: Sequence[socket.socket], arguments: Sequence[str], settings: Settings
) -> int:
    """Have a process serve on each of the sockets; the exit code, when all have ended.

    `arguments` are what each is to be told besides.
    """
    logging.config.dictConfig(uvicorn_logging(settings.log_level, settings.log_format))

    def command(number: int, descriptor: int) -> list[str]:
        share = f"{number}/{len(sockets)}"
        program = [sys.executable, "-m", "iiif_server", "serve-share"]
        return [*program, *arguments, share, str(descriptor)]

    with folder():
        return Supervisor(sockets, command, log_event, forget).run()


def _application(metrics: Metrics, settings: Settings) -> FastAPI:
    logging.config.dictConfig(uvicorn_logging(settings.log_level, settings.log_format))
    return create_app(settings, metrics=metrics)
