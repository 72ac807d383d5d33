"""Cached derivatives and ready tiles, compared with nginx, which sends the same bytes as files."""

import statistics
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from bench import load, requests, servers
from bench.report import Check, Table
from bench.servers import Server

if TYPE_CHECKING:
    from bench.workloads import Bench

_CONNECTIONS = (16, 64)
_SECONDS = 2
_REPEATS = 3
_FILES = 64
_NO_MEMORY = "cache.memory_bytes = 0"
_PREFIXED = 'root_path = "/iiif"\ntrusted_proxies = ["127.0.0.1"]'
_ACCEL = f'{_PREFIXED}\ndelivery.accel_redirect = "/_derivatives"'
_PLAIN = """
import sys
from pathlib import Path
import uvicorn

body = Path(sys.argv[2]).read_bytes()
head = [(b"content-type", b"image/jpeg"), (b"content-length", str(len(body)).encode())]

async def app(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": head})
    await send({"type": "http.response.body", "body": body})

uvicorn.run(app, port=int(sys.argv[1]), lifespan="off", access_log=False, log_level="error")
"""


def measure_cached(bench: "Bench") -> None:
    """Measure all tiers of the cache, with and without nginx in front, and beside busy workers."""
    rates: dict[tuple[str, int], list[float]] = {}

    def measure(what: str, server: Server, paths: Sequence[str]) -> None:
        for connections in _CONNECTIONS:
            found = load.run_wrk(server, paths, connections, _SECONDS)
            rates.setdefault((what, connections), []).append(found.rate)

    image = bench.large
    tiles = requests.all_tiles(image)[:_FILES]
    derivatives = [f"/full/{width},/0/default.jpg" for width in range(400, 400 + _FILES)]
    for _ in range(_REPEATS):
        with ExitStack() as stack:
            work = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=bench.work)))
            with _running_server(bench, _NO_MEMORY) as server:
                for kind, asked in (("tile", tiles), ("derivative", derivatives)):
                    paths = [server.path(image.name, path) for path in asked]
                    for number, body in enumerate(load.fetch_bodies(server, paths)):
                        (work / f"{kind}{number}.jpg").write_bytes(body)
                    measure(f"{kind}, disk", server, paths)
            with servers.running_nginx(work, bench.work) as files:
                for kind in ("tile", "derivative"):
                    measure(f"{kind}, nginx", files, [f"/{kind}{n}.jpg" for n in range(_FILES)])
            for name, settings, processes in (("memory", "", 1), ("memory, 2", "", 2)):
                with _running_server(bench, settings, processes) as server:
                    for kind, asked in (("tile", tiles), ("derivative", derivatives)):
                        paths = [server.path(image.name, path) for path in asked]
                        load.request_concurrently(server, paths * 4, 8)
                        measure(f"{kind}, {name}", server, paths)
            for name, settings, configuration in (
                ("proxy cache", _PREFIXED, "iiif-server.conf"),
                ("accel", _ACCEL, "iiif-server-accel.conf"),
            ):
                with (
                    _running_server(bench, settings) as server,
                    servers.running_proxy(
                        [server], configuration, bench.cache, bench.work
                    ) as front,
                ):
                    paths = [front.path(image.name, path) for path in derivatives]
                    load.fetch_bodies(front, paths * 2)
                    measure(f"derivative, {name}", front, paths)
            with _running_plain(work / "tile0.jpg", bench.work) as plain:
                measure("plain", plain, ["/"])
    _add_results(bench, rates)
    bench.checks.append(_check_busy_workers(bench, derivatives))


def _add_results(bench: "Bench", rates: dict[tuple[str, int], list[float]]) -> None:
    found = {key: statistics.median(values) for key, values in rates.items()}
    for what, kind, tier, target in (
        ("hits from memory, one process", "derivative", "memory", 0.45),
        ("hits from disk, one process", "derivative", "disk", 0.25),
        ("ready tiles, one process, without memory", "tile", "disk", 0.25),
        ("behind nginx: X-Accel-Redirect", "derivative", "accel", 0.3),
        ("behind nginx: proxy cache", "derivative", "proxy cache", 0.9),
    ):
        for connections in _CONNECTIONS:
            mine = found[f"{kind}, {tier}", connections]
            limit = found[f"{kind}, nginx", connections]
            bench.checks.append(
                Check(
                    f"{what}, {connections} connections: requests/s / nginx",
                    mine / limit,
                    target,
                    f"{mine:,.0f} / {limit:,.0f}",
                    at_least=True,
                )
            )
    two, one = (found[f"derivative, {name}", 64] for name in ("memory, 2", "memory"))
    bench.checks.append(
        Check(
            "two server processes / one, 64 connections, from memory: requests/s",
            two / one,
            1.0,
            f"{two:,.0f} / {one:,.0f}; the load generator takes what it needs of the same 2 cores",
            at_least=True,
        )
    )
    names = sorted({what for what, _ in found})
    rows = [[what, *(f"{found[what, count]:,.0f}" for count in _CONNECTIONS)] for what in names]
    heads = ["requests/s", *(f"{count} connections" for count in _CONNECTIONS)]
    bench.tables.append(
        Table(
            "Asked for again (derivatives of 400 to 463 pixels; tiles of 512; `plain` is an ASGI "
            "function under uvicorn that returns the bytes of one tile, and does nothing else)",
            heads,
            rows,
        )
    )


def _check_busy_workers(bench: "Bench", derivatives: Sequence[str]) -> Check:
    """Compare the p99 of hits while two workers decode, and while two `djpeg` do."""
    image = bench.large
    command = ["djpeg", "-outfile", "/dev/null", str(image.jpeg)]
    mine, others = [], []
    for _ in range(_REPEATS):
        with servers.running_iiif_server(
            bench.source, bench.work, settings="pyramids.enabled = false"
        ) as server:
            paths = [server.path(bench.smallest.name, path) for path in derivatives]
            load.request_concurrently(server, paths * 4, 8)
            decode = partial(_decode_in_server, server, image.name, iter(range(1600, 2000)))
            with _running_in_threads(decode):
                mine.append(load.run_wrk(server, paths, 16, 3 * _SECONDS).p99)
            with _running_in_threads(partial(subprocess.run, command, check=True)):
                others.append(load.run_wrk(server, paths, 16, 3 * _SECONDS).p99)
    own, beside = statistics.median(mine), statistics.median(others)
    return Check(
        "p99 of hits while two image processes decode 108 megapixels / while two `djpeg` do",
        own / beside,
        3.0,
        f"{own * 1000:.1f} ms / {beside * 1000:.1f} ms",
    )


def _decode_in_server(server: Server, name: str, widths: Iterator[int]) -> None:
    client = load.Client(server)
    client.get(server.path(name, f"/full/{next(widths)},/0/default.jpg"))
    client.close()


@contextmanager
def _running_in_threads(work: Callable[[], object]) -> Iterator[None]:
    """Run a function repeatedly in two threads."""
    stop = threading.Event()

    def repeat() -> None:
        while not stop.is_set():
            work()

    threads = [threading.Thread(target=repeat) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()


@contextmanager
def _running_server(bench: "Bench", settings: str, processes: int = 1) -> Iterator[Server]:
    with servers.running_iiif_server(
        bench.source, bench.work, bench.cache, settings, processes
    ) as server:
        yield server


@contextmanager
def _running_plain(body: Path, work: Path) -> Iterator[Server]:
    with servers.running_program(_PLAIN, str(body), work=work) as server:
        yield server
