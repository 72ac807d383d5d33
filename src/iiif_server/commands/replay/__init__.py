"""`iiif-server replay`: sends the requests of an access log to a server."""

import asyncio
import json
import math
import os
import sys
import time
from collections.abc import AsyncIterator, Coroutine
from contextlib import aclosing
from typing import Any, BinaryIO

import click
import httpx

from iiif_server.background import completed
from iiif_server.cache.threads import StorageThreads
from iiif_server.commands.bulk.running import interrupted_by_sigterm
from iiif_server.commands.common import check_url, show_progress
from iiif_server.commands.replay.log_lines import LoggedRequest, Skipped, read_log
from iiif_server.commands.replay.pacing import FixedRate, OriginalTiming
from iiif_server.commands.replay.report import Report

_TIMEOUT = 120.0
_INTERRUPTED = 130


@click.command()
@click.argument("log", type=click.File("rb"), metavar="ACCESS_LOG")
@click.option("--against", "url", required=True, help="URL of the server that gets the requests.")
@click.option(
    "--rate",
    type=click.FloatRange(0, min_open=True),
    help="Requests per second at most, `inf` for as many as possible; default: as in the log.",
)
@click.option(
    "--parallel",
    default=32,
    show_default=True,
    type=click.IntRange(1, 1000),
    help="Requests at the same time, at most.",
)
@click.option("--json", "as_json", is_flag=True, help="Write the report as JSON.")
def replay(log: BinaryIO, url: str, rate: float | None, parallel: int, *, as_json: bool) -> None:
    """Send the requests of an access log to a server, and report its responses.

    Only GET and HEAD are sent. The format of the log is common, combined, or one of this server; -
    is standard input. Requests are sent at a rate, or with the timing of the log, in which pauses
    are shortened to a minute. Exits with 1 if nothing was sent, a request failed, or a status was
    500 or more.
    """
    check_url(url)
    report = Report()
    status = 0
    try:
        with interrupted_by_sigterm():
            asyncio.run(_Replay(url, report, parallel).run(log, rate))
    except KeyboardInterrupt:
        status = _INTERRUPTED
    click.echo(json.dumps(report.document()) if as_json else str(report))
    if status:
        sys.stdout.flush()
        os._exit(status)  # a thread may still wait for the next line of a pipe
    sys.exit(int(report.failed))


class _Replay:
    """Sends requests to one server, and counts its responses."""

    def __init__(self, url: str, report: Report, parallel: int) -> None:
        self._url = httpx.URL(url)
        self._prefix = self._url.raw_path.partition(b"?")[0].rstrip(b"/")
        self._report = report
        self._parallel = parallel
        self._began = 0.0

    async def run(self, log: BinaryIO, rate: float | None) -> None:
        """Send the requests of a log, at a rate or with the timing of the log."""
        limits = httpx.Limits(max_connections=self._parallel)
        self._began = time.perf_counter()
        async with httpx.AsyncClient(timeout=_TIMEOUT, limits=limits) as client:
            with show_progress("Replaying", None) as advance:
                jobs = self._jobs(client, log, rate)
                async with aclosing(completed(jobs, self._parallel)) as done:
                    async for _ in done:
                        self._report.seconds = time.perf_counter() - self._began
                        advance()

    async def _jobs(
        self, client: httpx.AsyncClient, log: BinaryIO, rate: float | None
    ) -> AsyncIterator[Coroutine[Any, Any, None]]:
        pace = OriginalTiming() if rate is None else FixedRate(rate)
        lines, threads = read_log(log), StorageThreads("the log", size=1)
        # In a daemon thread: reading a pipe may block, while responses arrive, and an interrupt
        # must end the command.
        while (line := await threads.run(next, lines, None, timeout=math.inf)) is not None:
            if isinstance(line, Skipped):
                self._report.skipped[line] += 1
            else:
                yield self._send(client, line, pace.due(line.time))

    async def _send(self, client: httpx.AsyncClient, line: LoggedRequest, due: float) -> None:
        delay = due - (time.perf_counter() - self._began)
        if delay > 0:
            await asyncio.sleep(delay)
        began = time.perf_counter()
        if due:  # 0: as soon as possible
            self._report.late = max(self._report.late, began - self._began - due)
        # The path is sent as it was logged; httpx would normalize it in a URL.
        target = {"target": self._prefix + line.target.encode("ascii")}
        size = 0
        try:
            async with client.stream(line.method, self._url, extensions=target) as response:
                async for part in response.aiter_raw():
                    size += len(part)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            self._report.failure(type(error).__name__)
            return
        seconds = time.perf_counter() - began
        timing = response.headers.get("server-timing", "")
        self._report.answered(response.status_code, size, seconds, timing)
