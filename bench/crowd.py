"""`python -m bench.crowd`: a crawler of full-size images beside people who look at tiles.

Passes if every response is 200 or 503, those of the readers are 200, 95 of 100 of them take less
than a second, and the whole tree of processes stays below 3 GB.
"""

import argparse
import http.client
import itertools
import random
import shutil
import signal
import statistics
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from bench import servers
from bench.images import BenchImage, link_copies, make_image
from bench.memory import MemoryWatch
from bench.servers import Server

_ROOT = Path(__file__).parents[1]
_CRAWLED = (
    "full/max/0/default.jpg",
    "full/max/90/default.jpg",
    "full/max/0/color.png",
    "full/max/0/gray.jpg",
    "full/max/0/default.webp",
    "0,0,300,200/^max/0/default.jpg",
)
"""Of each original, in turn: passed through, turned without loss, and made of pixels."""
_ORIGINALS = 32
_READERS = 6
_PAUSE = 0.5
"""Seconds after a refusal: no crawler that we know waits as long as it is told."""
_MAX_BYTES = 3_000_000_000
_MAX_SECONDS = 1.0
_TILE = 512
_TIMEOUT = 120


@dataclass
class Tally:
    """Statuses and durations of the responses to some clients."""

    statuses: Counter[int] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)

    def percentile(self, percent: int) -> float:
        """Return the duration that so many percent of the responses do not exceed, in seconds."""
        return statistics.quantiles(self.seconds, n=100, method="inclusive")[percent - 1]


def main() -> int:
    """Run all clients; return 1 if a promise is broken."""
    parser = argparse.ArgumentParser(prog="python -m bench.crowd", description=__doc__)
    parser.add_argument("--megapixels", type=int, default=108, choices=(2, 24, 108))
    parser.add_argument("--crawlers", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--build", type=Path, default=_ROOT / "build" / "crowd")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that the server is ended
    build: Path = arguments.build.resolve()
    work = build / "work"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    folder = build / "source" / "bench"
    image = make_image(folder, arguments.megapixels)
    names = link_copies(image, folder, map(str, range(_ORIGINALS)))
    try:
        with servers.running_iiif_server(build / "source", work) as server:
            return _run_clients(server, image, names, arguments.crawlers, arguments.seconds)
    finally:
        shutil.rmtree(work, ignore_errors=True)
        for name in names:
            (folder / name).unlink()


def _run_clients(
    server: Server, image: BenchImage, names: list[str], crawlers: int, seconds: float
) -> int:
    crawled, tiles, thumbnails, opening = Tally(), Tally(), Tally(), Tally()
    _request(server, server.path(image.name, _tile(image)), Tally())  # its pyramid is made
    servers.wait_until_idle(server)
    until = time.monotonic() + seconds
    clients: list[Callable[[], None]] = [
        *[lambda n=n: _crawl(server, names, n, crawled, until) for n in range(crawlers)],
        *[lambda n=n: _request_tiles(server, image, n, tiles, until) for n in range(_READERS)],
        lambda: _request_thumbnails(server, image, thumbnails, until),
        lambda: _open_images(server, names, image, opening, until),
    ]
    with MemoryWatch(server.pid) as watch:
        threads = [threading.Thread(target=client) for client in clients]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    print(f"{crawlers} crawlers of {image.megapixels} megapixels: {dict(crawled.statuses)}")
    for what, tally in (
        ("tiles", tiles),
        ("small images", thumbnails),
        ("first tiles", opening),
    ):
        print(
            f"{what}: {dict(tally.statuses)}, median {tally.percentile(50) * 1000:.0f} ms, "
            f"p95 {tally.percentile(95) * 1000:.0f} ms, longest {max(tally.seconds) * 1000:.0f} ms"
        )
    print(f"highest memory of all processes: {watch.peak / 1e9:.2f} GB")
    print(f"lanes: {servers.fetch_status(server)['lanes']}")
    promises = {
        "every answer is 200 or 503": set(crawled.statuses) <= {200, 503},
        "every tile and small image is served": set(tiles.statuses + thumbnails.statuses) == {200},
        "95 of 100 tiles take less than a second": tiles.percentile(95) < _MAX_SECONDS,
        "all processes take less than 3 GB": watch.peak < _MAX_BYTES,
    }
    for promise, kept in promises.items():
        print(f"{'ok  ' if kept else 'FAIL'}  {promise}")
    return int(not all(promises.values()))


def _crawl(server: Server, names: list[str], number: int, tally: Tally, until: float) -> None:
    """Request every image of every original, each crawler from another one on."""
    for step in itertools.count(number):
        if time.monotonic() >= until:
            return
        kind = _CRAWLED[(step // len(names) + step) % len(_CRAWLED)]
        status = _request(server, server.path(names[step % len(names)], f"/{kind}"), tally)
        if status != http.HTTPStatus.OK:
            time.sleep(_PAUSE)


def _request_tiles(
    server: Server, image: BenchImage, seed: int, tally: Tally, until: float
) -> None:
    """Request tiles of the open image at random, as a reader who moves about in it."""
    chance = random.Random(seed)
    while time.monotonic() < until:
        column, row = (chance.randrange(side // _TILE) for side in (image.width, image.height))
        _request(server, server.path(image.name, _tile(image, column, row)), tally)
        time.sleep(0.05)


def _request_thumbnails(server: Server, image: BenchImage, tally: Tally, until: float) -> None:
    """Request small images that nobody has requested before."""
    for width in itertools.count(200):
        if time.monotonic() >= until:
            return
        _request(server, server.path(image.name, f"/full/{width},/0/default.jpg"), tally)
        time.sleep(0.2)


def _open_images(
    server: Server, names: list[str], image: BenchImage, tally: Tally, until: float
) -> None:
    """Request the first tile of images that nobody has opened, which starts pyramid builds."""
    for name in names:
        if time.monotonic() >= until:
            return
        _request(server, server.path(name, _overview(image)), tally)
        time.sleep(3)


def _tile(image: BenchImage, column: int = 0, row: int = 0) -> str:
    width = min(_TILE, image.width - column * _TILE)
    height = min(_TILE, image.height - row * _TILE)
    return f"/{column * _TILE},{row * _TILE},{width},{height}/{width},{height}/0/default.jpg"


def _overview(image: BenchImage) -> str:
    factor = 1
    while max(image.width, image.height) > _TILE * factor:
        factor *= 2
    size = f"{-(-image.width // factor)},{-(-image.height // factor)}"
    return f"/0,0,{image.width},{image.height}/{size}/0/default.jpg"


def _request(server: Server, path: str, tally: Tally) -> int:
    """Send a request and read the whole response; return its status, or 0 on an error."""
    started, status = time.perf_counter(), 0
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=_TIMEOUT)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        for _ in _chunks(response):
            pass
        status = response.status
    except (OSError, http.client.HTTPException) as error:
        print(f"{path}: {error!r}")
    finally:
        connection.close()
    tally.statuses[status] += 1
    tally.seconds.append(time.perf_counter() - started)
    return status


def _chunks(response: http.client.HTTPResponse) -> Iterator[bytes]:
    while chunk := response.read(1 << 16):
        yield chunk


if __name__ == "__main__":
    sys.exit(main())
