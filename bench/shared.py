"""`python -m bench.shared`: replicas with a shared cache.

Two replicas compared with one, each with a share of a core (control groups; needs root); the cost
of the shared cache for a first tile; and a tile from the bucket. The store is moto's server.
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

from bench import load, requests, servers
from bench.cgroups import cpu_limit_prefix
from bench.delays import DelayProxy
from bench.images import BenchImage, make_image
from bench.objects import STORE, bucket_client
from bench.servers import Server

_ROOT = Path(__file__).parents[1]
_BUCKET = "bench"
_CORES = 0.4
_CONNECTIONS = 16
_SECONDS = 30
_COLD = 10_000
"""Originals of which a tile is requested; more than are reached."""
_DELAY = 0.05
"""Seconds that the store takes for a tile, at least."""
_TILE = "/0,0,512,512/512,/0/default.jpg"


class Replicas:
    """Servers on the same originals, and a store for their shared cache."""

    def __init__(self, work: Path, store: Server) -> None:
        self._work = work
        self.store_port = store.port
        self.source = work / "source"
        (self.source / "bench").mkdir(parents=True)
        bucket_client(f"http://127.0.0.1:{store.port}").create_bucket(Bucket=_BUCKET)

    def __repr__(self) -> str:
        return f"<Replicas at {self.store_port}>"

    def put(self, image: BenchImage, name: str) -> None:
        """Add an original with the same content."""
        os.link(image.jpeg, self.source / "bench" / name)

    def settings(self, prefix: str, *, port: int | None = None, max_bytes: str = "10 GB") -> str:
        """Return the settings of a replica that shares a prefix of the bucket with others."""
        return (
            'root_path = "/iiif"\nimage_pool_size = 2\n'
            f'cache.shared = "s3://{_BUCKET}/{prefix}"\ncache.max_bytes = "{max_bytes}"\n'
            f'cache_bucket.endpoint = "http://127.0.0.1:{port or self.store_port}"\n'
            'cache_bucket.access_key_id = "bench"\ncache_bucket.secret_access_key = "bench"\n'
        )

    def cold_rate(self, count: int, names: Sequence[str]) -> float:
        """Return requests per second of so many replicas behind nginx, each for a new image."""
        with ExitStack() as stack:
            started = []
            for number in range(count):
                limit = stack.enter_context(cpu_limit_prefix(f"iiif-bench-{number}", _CORES))
                settings = self.settings(f"cold-{count}")
                one = servers.running_iiif_server(
                    self.source, self._work, settings=settings, within=limit
                )
                started.append(stack.enter_context(one))
            front = stack.enter_context(
                servers.running_proxy(started, "iiif-server.conf", self._work, self._work)
            )
            paths = [front.path(name, _TILE) for name in names]
            load.request_concurrently(front, paths[:20], 4)  # warms up
            return load.run_wrk(front, paths[20:], _CONNECTIONS, _SECONDS, once=True).rate


def compare_replicas(replicas: Replicas, image: BenchImage) -> Iterator[str]:
    """Compare distinct cold tiles of two replicas and of one."""
    names = [f"cold-{number}.jpg" for number in range(_COLD)]
    for name in names:
        replicas.put(image, name)
    one, two = (replicas.cold_rate(count, names) for count in (1, 2))
    yield (
        f"cold tiles of {_CORES} core each: one replica {one:.1f}/s, two {two:.1f}/s, "
        f"{two / one:.2f} (at least 1.7)"
    )


def compare_first_tiles(replicas: Replicas, image: BenchImage, repeats: int) -> Iterator[str]:
    """Compare the first tile of a new image with and without the shared cache, in turns."""
    with ExitStack() as stack:
        kinds = {"without": "image_pool_size = 2\n", "with": replicas.settings("first")}
        found = {
            kind: stack.enter_context(
                servers.running_iiif_server(
                    replicas.source, replicas.source.parent, settings=settings
                )
            )
            for kind, settings in kinds.items()
        }
        taken: dict[str, list[float]] = {kind: [] for kind in kinds}
        for turn in range(repeats + 1):
            name = f"first-{turn}.jpg"
            replicas.put(image, name)
            for kind, server in found.items():
                (seconds,) = load.request_one_by_one(server, [f"/bench:{name}{_TILE}"])
                _wait_until_uploaded(server)
                if turn:  # the first one warms up
                    taken[kind].append(seconds)
    without, shared = (statistics.median(taken[kind]) * 1000 for kind in kinds)
    yield (
        f"first tile of a new image of {image.megapixels} MP: without {without:.0f} ms, "
        f"with the shared cache {shared:.0f} ms, {shared / without:.2f} (at most 1.2)"
    )


def measure_bucket_tiles(replicas: Replicas, image: BenchImage) -> Iterator[str]:
    """Measure tiles of a pyramid of another replica, each of which comes from the bucket."""
    replicas.put(image, "ready.jpg")
    tiles = [f"/bench:ready.jpg{tile}" for tile in requests.all_tiles(image)[:80]]
    with ExitStack() as stack:
        work = replicas.source.parent
        builder = stack.enter_context(
            servers.running_iiif_server(replicas.source, work, settings=replicas.settings("ready"))
        )
        load.request_one_by_one(builder, tiles[:1])
        _wait_until_uploaded(builder)
        proxy = stack.enter_context(DelayProxy(replicas.store_port, _DELAY).running())
        # Its cache is too small for a part, so that each tile is a request to the bucket.
        settings = replicas.settings("ready", port=proxy.port, max_bytes="4 MB")
        reader = stack.enter_context(
            servers.running_iiif_server(replicas.source, work, settings=settings)
        )
        load.request_one_by_one(reader, tiles[:1])
        proxy.ranges.clear()
        remote = statistics.median(load.request_one_by_one(reader, tiles[1:])) * 1000
        local = statistics.median(load.request_one_by_one(builder, tiles[1:])) * 1000
    if len(proxy.ranges) != len(tiles) - 1:
        raise RuntimeError(f"{len(proxy.ranges)} of {len(tiles) - 1} tiles came from the bucket")
    bucket = statistics.median(proxy.ranges) * 1000
    yield (
        f"ready tile from a bucket that takes {bucket:.1f} ms: {remote:.1f} ms, "
        f"{remote - bucket:.1f} ms more (at most 15); from the disk {local:.1f} ms"
    )


def _wait_until_uploaded(server: Server) -> None:
    """Wait until a server builds nothing and has no pending writes to the bucket."""
    servers.wait_until_idle(server)
    while (servers.fetch_status(server).get("shared") or {}).get("waiting"):
        time.sleep(0.1)


def main() -> None:
    """Measure, and print a line for each figure."""
    parser = argparse.ArgumentParser(prog="python -m bench.shared", description=__doc__)
    parser.add_argument("--build", type=Path, default=_ROOT / "build" / "bench")
    parser.add_argument("--repeats", type=int, default=11)
    arguments = parser.parse_args()
    folder = arguments.build.resolve() / "source" / "bench"
    small, large = make_image(folder, 2), make_image(folder, 24)
    # Beside the originals, of which there are links.
    with (
        tempfile.TemporaryDirectory(prefix="bench-shared-", dir=folder.parents[1]) as work,
        servers.running_program(STORE, work=Path(work)) as store,
    ):
        replicas = Replicas(Path(work), store)
        for lines in (
            measure_bucket_tiles(replicas, large),
            compare_first_tiles(replicas, large, arguments.repeats),
            compare_replicas(replicas, small),
        ):
            for line in lines:
                print(line, flush=True)


if __name__ == "__main__":
    main()
