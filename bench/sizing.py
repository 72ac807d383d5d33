"""`python -m bench.sizing`: the figures of docs/scaling.md.

Requests per second of one core for each kind of work, the memory of a worker, and the disk space
of an original and its pyramid. The server runs on one core, and wrk on another (taskset).
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from bench import load, requests, servers
from bench.images import BenchImage, make_image
from bench.memory import process_tree, proportional_bytes
from bench.servers import Server

_ROOT = Path(__file__).parents[1]
_CONNECTIONS = 16
_SECONDS = 10
_MANY = 5_000
_SMALL, _MIDDLE, _LARGE = 2, 24, 108
_CORE = ("taskset", "-c", "0")
_TILE = "/0,0,512,512/512,/0/default.jpg"


@dataclass(frozen=True, slots=True)
class Sizing:
    """Originals, and a folder for everything."""

    images: dict[int, BenchImage]
    work: Path

    def put(self, megapixels: int, name: str) -> None:
        """Add an original with the same content."""
        os.link(self.images[megapixels].jpeg, self.work / "source" / "bench" / name)

    @contextmanager
    def server(self, settings: str = "") -> Iterator[Server]:
        """Run a server on one core."""
        own = f"image_pool_size = 2\nsize_pool_size = 1\n{settings}"
        with servers.running_iiif_server(
            self.work / "source", self.work, settings=own, within=_CORE
        ) as server:
            yield server

    def rates(self) -> Iterator[str]:
        """Return requests per second for each kind of work."""
        image = self.images[_MIDDLE]
        self.put(_MIDDLE, "ready.jpg")
        for number in range(_MANY):
            self.put(_SMALL, f"new-{number}.jpg")
        tiles = [f"/bench:ready.jpg{tile}" for tile in requests.all_tiles(image)]
        step = [(n * 37 % 4000, n * 53 % 2500) for n in range(_MANY)]
        each = {
            "regions": [f"/bench:ready.jpg/{x},{y},1500,1050/600,/0/default.jpg" for x, y in step],
            "thumbnails": [f"/bench:ready.jpg/full/{w},/0/default.jpg" for w in range(200, 600)],
            f"new images of {_SMALL} MP": [f"/bench:new-{n}.jpg{_TILE}" for n in range(_MANY)],
        }
        with self.server() as server:
            _build_pyramid(server, tiles)
            load.request_one_by_one(server, tiles)
            yield _format_rate("tiles from memory", partial(load.run_wrk, server, tiles))
        with self.server("cache.memory_bytes = 0\n") as server:
            _build_pyramid(server, tiles)
            yield _format_rate("tiles of a pyramid", partial(load.run_wrk, server, tiles))
            for kind, paths in each.items():
                load.request_one_by_one(server, paths[:5])
                yield _format_rate(kind, partial(load.run_wrk, server, paths[5:], once=True))

    def builds(self) -> Iterator[str]:
        """Return megapixels per second of pyramid builds, memory, and disk space."""
        for megapixels in (_MIDDLE, _LARGE):
            image, name = self.images[megapixels], f"build-{megapixels}.jpg"
            self.put(megapixels, name)
            with self.server() as server:
                rest = _measure_memory(server)
                started = time.perf_counter()
                _build_pyramid(
                    server, [f"/bench:{name}{tile}" for tile in requests.all_tiles(image)]
                )
                seconds = time.perf_counter() - started
                stored = sum(path.stat().st_size for path in self.work.rglob("*.szi"))
                after = _measure_memory(server)
            pixels = image.width * image.height / 1e6
            yield (
                f"{megapixels} MP: built in {seconds:.2f} s, {pixels / seconds:.0f} MP/s; original "
                f"{image.jpeg.stat().st_size / pixels / 1e3:.0f} kB, pyramid "
                f"{stored / pixels / 1e3:.0f} kB a megapixel; memory of the server process "
                f"{rest[0]:.0f} MB, of each worker {min(rest[1:]):.0f} MB at rest, up to "
                f"{max(after[1:]):.0f} MB afterwards"
            )


def _build_pyramid(server: Server, tiles: list[str]) -> None:
    """Build the whole pyramid of an image: its first and last tile are in different parts."""
    load.request_concurrently(server, [tiles[0], tiles[-1]], 2)
    servers.wait_until_idle(server)


def _measure_memory(server: Server) -> list[float]:
    """Return megabytes (PSS) of the server process, and of its workers."""
    found = [proportional_bytes(pid) / 1e6 for pid in process_tree(server.pid)]
    return [size for size in found if size]  # without those that have just been replaced


def _format_rate(kind: str, measure: Callable[[int, float], load.Load]) -> str:
    found = measure(_CONNECTIONS, _SECONDS)
    return f"{kind}: {found.rate:,.0f} requests/s, p50 {found.p50 * 1000:.1f} ms"


def main() -> None:
    """Measure, and print a line for each figure."""
    parser = argparse.ArgumentParser(prog="python -m bench.sizing", description=__doc__)
    parser.add_argument("--build", type=Path, default=_ROOT / "build" / "bench")
    folder = parser.parse_args().build.resolve() / "source" / "bench"
    images = {size: make_image(folder, size) for size in (_SMALL, _MIDDLE, _LARGE)}
    with tempfile.TemporaryDirectory(prefix="bench-sizing-", dir=folder.parents[1]) as work:
        sizing = Sizing(images, Path(work))
        (Path(work) / "source" / "bench").mkdir(parents=True)
        for lines in (sizing.builds(), sizing.rates()):
            for line in lines:
                print(line, flush=True)


if __name__ == "__main__":
    main()
