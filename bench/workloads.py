"""Workloads: each function runs one and returns its results."""

import random
import statistics
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from bench import answers, load, memory, quality, requests, servers
from bench.first_view import djpeg_command, measure, measure_first_view
from bench.images import TIFF_TILES, BenchImage, link_copies, tiffsave_command
from bench.report import Check, Curve, Table
from bench.servers import Server

Images = dict[int, BenchImage]

REPEATS = 3
_CONNECTIONS = 16
_ONCE_SECONDS = 4
"""Bound on asking for each tile once; iipimage-server comes as far as it comes."""
_ASKED = 12
_NEVER_SEEN = 12
_REGIONS = 24
_GB = 1_000_000_000
_MINE = "iiif-server, a process a core"
"""As iipimage-server runs, and iiif-processor's threads."""


@dataclass
class Bench:
    """Run: its folders, images and results."""

    images: Images
    source: Path
    """The root of our server's originals; `bench` below it holds the images."""
    work: Path
    checks: list[Check] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    growth: list[Curve] = field(default_factory=list)
    """Milliseconds by megapixels."""
    throughput: list[Curve] = field(default_factory=list)
    """Requests a second by connections."""
    latency: list[Curve] = field(default_factory=list)
    """Median milliseconds by connections."""

    @property
    def folder(self) -> Path:
        """Folder of the images."""
        return self.source / "bench"

    @property
    def large(self) -> BenchImage:
        """Image of most workloads: 108 megapixels."""
        return self.images[min(max(self.images), 108)]

    @property
    def largest(self) -> BenchImage:
        """Image of 320 megapixels."""
        return self.images[max(self.images)]

    @property
    def smallest(self) -> BenchImage:
        """Image of 2 megapixels."""
        return self.images[min(self.images)]

    @property
    def pyramidal(self) -> list[BenchImage]:
        """Images that get a pyramid."""
        return [image for size, image in self.images.items() if size >= 4]  # noqa: PLR2004

    @property
    def cache(self) -> Path:
        """Cache of our server with all pyramids built."""
        return self.work / "cache"


def run(bench: Bench) -> None:
    """Run all workloads, in the order of the table."""
    steps: Sequence[Callable[[Bench], None]] = (
        measure_cold,
        measure_first_views_beside_builds,
        measure_memory_of_a_pyramid,
        prepare_pyramids,
        measure_ready_tiles,
        measure_ready_others,
        answers.measure_cached,
        measure_fidelity,
        measure_memory,
        measure_concurrency,
    )
    for step in steps:
        print(f"{step.__name__.replace('_', ' ')} ...", flush=True)
        step(bench)


@dataclass
class _Cold:
    """Seconds that one image takes a server that has never seen it, one value per repeat."""

    info: list[float] = field(default_factory=list)
    first_view: list[float] = field(default_factory=list)
    thumbnail: list[float] = field(default_factory=list)
    pyramid: list[float] = field(default_factory=list)


def measure_cold(bench: Bench) -> None:
    """Measure info.json, first view, thumbnail and pyramid of new images, beside the commands."""
    found = {size: _Cold() for size in bench.images}
    decode: dict[int, list[float]] = {size: [] for size in bench.images}
    shrink: dict[int, list[float]] = {size: [] for size in bench.images}
    convert: dict[int, list[float]] = {size: [] for size in bench.images}
    decoded = 0
    for _ in range(REPEATS):
        with servers.running_iiif_server(bench.source, bench.work) as server:
            # Whatever a process does once, before it can do anything, is not what is compared.
            names = link_copies(bench.smallest, bench.folder, [f"warm{n}" for n in range(8)])
            load.request_concurrently(
                server, [server.path(n, "/full/300,/0/default.jpg") for n in names], 4
            )
            decoded += _measure_new_information(bench, server, found)
            for size, image in bench.images.items():
                decode[size].append(load.time_command(djpeg_command(image), 1))
                found[size].first_view.append(_measure_first_view(bench, server, image))
                shrink[size].append(load.time_command(_vipsthumbnail_command(bench, image), 1))
                found[size].thumbnail.append(_measure_thumbnail(bench, server, image))
                target = bench.work / "peer.tif"
                convert[size].append(
                    load.time_command(tiffsave_command(image.jpeg, target, 512), 1)
                )
                if image in bench.pyramidal:
                    found[size].pyramid.append(_measure_pyramid(bench, server, image))
    large, largest, smallest = (i.megapixels for i in (bench.large, bench.largest, bench.smallest))
    median = statistics.median
    bench.checks += [
        Check(
            f"info.json of a never-seen {largest}-megapixel JPEG / of one of {smallest}",
            median(found[largest].info) / median(found[smallest].info),
            2.0,
            f"{_format_ms(found[largest].info)} / {_format_ms(found[smallest].info)}",
        ),
        Check("... images decoded for it", decoded, 0, ""),
        Check(
            f"first view of a never-seen {large}-megapixel JPEG / one `djpeg` of it",
            median(found[large].first_view) / median(decode[large]),
            1.5,
            f"{_format_ms(found[large].first_view)} / {_format_ms(decode[large])}",
        ),
        Check(
            "a thumbnail of it, cold / `vipsthumbnail`",
            median(found[large].thumbnail) / median(shrink[large]),
            1.15,
            f"{_format_ms(found[large].thumbnail)} / {_format_ms(shrink[large])}",
        ),
        Check(
            "its whole pyramid / `vips tiffsave` pyramid",
            median(found[large].pyramid) / median(convert[large]),
            1.5,
            f"{_format_ms(found[large].pyramid)} / {_format_ms(convert[large])}",
        ),
    ]
    rows = [
        [
            str(size),
            *map(_format_ms, (one.info, one.first_view, decode[size], one.thumbnail, shrink[size])),
            *map(_format_ms, (one.pyramid, convert[size])),
        ]
        for size, one in found.items()
    ]
    heads = ["megapixels", "info.json", "first view", "`djpeg`", "thumbnail", "`vipsthumbnail`"]
    heads += ["whole pyramid", "`vips tiffsave`"]
    bench.tables.append(Table("An image never seen", heads, rows))
    bench.growth += [
        _make_curve("first view, never seen", {s: f.first_view for s, f in found.items()}),
        _make_curve("thumbnail, never seen", {s: f.thumbnail for s, f in found.items()}),
        _make_curve("whole pyramid", {s: f.pyramid for s, f in found.items() if f.pyramid}),
        _make_curve("djpeg: one full decode", decode, peer=True),
        _make_curve("vips tiffsave: a pyramidal TIFF", convert, peer=True),
    ]


def _measure_new_information(bench: Bench, server: Server, found: dict[int, _Cold]) -> int:
    """Return the number of jobs that workers got for new info.json documents."""
    before = servers.fetch_status(server)["pools"]["image"]["done"]
    for n in range(_NEVER_SEEN):  # alternately, so that what else the machine does meets all alike
        for size, image in bench.images.items():
            (name,) = link_copies(image, bench.folder, [f"info{n}"])
            found[size].info += load.request_one_by_one(server, [server.path(name, "/info.json")])
    after: int = servers.fetch_status(server)["pools"]["image"]["done"]
    return after - int(before)


def _measure_first_view(bench: Bench, server: Server, image: BenchImage) -> float:
    (name,) = link_copies(image, bench.folder, ["first"])
    taken = measure_first_view(server, image, name)
    servers.wait_until_idle(server)
    return taken


def _measure_thumbnail(bench: Bench, server: Server, image: BenchImage) -> float:
    (name,) = link_copies(image, bench.folder, ["thumbnail"])
    taken = sum(load.request_one_by_one(server, [server.path(name, "/full/400,/0/default.jpg")]))
    servers.wait_until_idle(server)
    return taken


def _measure_pyramid(bench: Bench, server: Server, image: BenchImage) -> float:
    """Return the seconds until the last level of both parts is answered."""
    (name,) = link_copies(image, bench.folder, ["pyramid"])
    taken = load.request_concurrently(
        server, [server.path(name, tile) for tile in _one_tile_per_level(image)], 16
    )
    servers.wait_until_idle(server)
    return taken


def _one_tile_per_level(image: BenchImage) -> list[str]:
    factors = sorted(requests.scale_factors(image), reverse=True)
    return [requests.tile_path(image, factor, 0, 0) for factor in factors]


def _vipsthumbnail_command(bench: Bench, image: BenchImage) -> list[str]:
    target = bench.work / "peer.jpg"
    return ["vipsthumbnail", str(image.jpeg), "-s", "400x", "-o", f"{target}[Q=85]"]


def measure_first_views_beside_builds(bench: Bench) -> None:
    """Measure first views while full-resolution parts of other pyramids are built."""
    small = bench.pyramidal[0]
    bench.checks += measure(bench.source, bench.work, small, bench.large, REPEATS)


def measure_memory_of_a_pyramid(bench: Bench) -> None:
    """Measure the peak memory of a worker that builds the pyramid of a large image."""
    with servers.running_iiif_server(bench.source, bench.work) as server:
        _measure_pyramid(bench, server, bench.large)
        peak = max(memory.peak_bytes(pid) for pid in memory.process_tree(server.pid))
    detail = "highest resident size of any process, mapped files included"
    bench.checks.append(Check("... peak memory of the worker, GB", peak / _GB, 1.0, detail))


def prepare_pyramids(bench: Bench) -> None:
    """Build the pyramids that the following workloads need."""
    with servers.running_iiif_server(bench.source, bench.work, bench.cache) as server:
        for image in bench.pyramidal:
            tiles = [server.path(image.name, tile) for tile in _one_tile_per_level(image)]
            load.request_concurrently(server, tiles, _CONNECTIONS)
            servers.wait_until_idle(server)


def measure_ready_tiles(bench: Bench) -> None:
    """Request each tile of each level once, of images whose info.json is known; then once more."""
    found: dict[str, list[load.Load]] = {}
    again: list[load.Load] = []
    originals = [(image, image.name) for image in bench.pyramidal]
    for seed in range(REPEATS):
        for name, processes in (("iiif-server, one process", 1), (_MINE, servers.CORES)):
            with servers.running_iiif_server(
                bench.source, bench.work, bench.cache, processes=processes
            ) as server:
                paths = _shuffled_tiles(server, originals, seed)
                _request_information(server, originals)
                result = load.run_wrk(server, paths, _CONNECTIONS, _ONCE_SECONDS, once=True)
                _add_result(found, name, result)
                if name == _MINE:
                    result = load.run_wrk(server, paths, _CONNECTIONS, _ONCE_SECONDS, once=True)
                    again.append(result)
        for tile in TIFF_TILES:
            tiffs = [(image, image.tiff(tile).name) for image in bench.pyramidal]
            with servers.running_iipimage(bench.folder, bench.work) as server:
                paths = _shuffled_tiles(server, tiffs, seed)
                _request_information(server, tiffs)
                result = load.run_wrk(server, paths, _CONNECTIONS, _ONCE_SECONDS, once=True)
                _add_result(found, f"iipimage-server, {tile} px TIFF", result)
    with ExitStack() as stack:
        server = stack.enter_context(servers.running_processor(bench.folder, bench.work))
        paths = _shuffled_tiles(server, [(bench.large, bench.large.name)], 0)
        result = load.run_wrk(server, paths, _CONNECTIONS, 15)
        _add_result(found, f"iiif-processor, JPEG of {bench.large.megapixels} megapixels", result)
    found["iiif-server, asked again"] = again
    found["nginx, the same tiles as files"] = [_measure_static_tiles(bench)]
    mine = found[_MINE]
    peer = max(
        statistics.median(one.rate for one in loads)
        for name, loads in found.items()
        if name.startswith("iipimage")
    )
    rate = statistics.median(one.rate for one in mine)
    p50, cached = (statistics.median(one.p50 for one in loads) for loads in (mine, again))
    bench.checks += [
        Check(
            "first requests for tiles, ready, 16 connections: requests/s / iipimage-server",
            rate / peer,
            6.0,
            f"{rate:,.0f} / {peer:,.0f}",
            at_least=True,
        ),
        Check(
            "... p50 / of a cached tile",
            p50 / cached,
            2.0,
            f"{_format_ms([p50])} / {_format_ms([cached])}",
        ),
    ]
    rows = [
        [
            name,
            f"{statistics.median(one.requests for one in loads):,.0f}",
            f"{statistics.median(one.rate for one in loads):,.0f}",
            *(
                _format_ms([statistics.median(getattr(one, part) for one in loads)])
                for part in ("p50", "p95", "p99")
            ),
            f"{sum(one.bytes for one in loads) / sum(one.requests for one in loads) / 1000:.0f}",
        ]
        for name, loads in found.items()
    ]
    heads = ["", "requests", "requests/s", "p50", "p95", "p99", "kB an answer"]
    title = "512 px tiles at 16 connections, each once, from all levels of all images"
    bench.tables.append(Table(title, heads, rows))


def _request_information(server: Server, named: Sequence[tuple[BenchImage, str]]) -> None:
    """Request info.json of each image, often enough to reach every process."""
    paths = [server.path(name, "/info.json") for _, name in named]
    load.request_concurrently(server, paths * _ASKED, _CONNECTIONS)


def _measure_static_tiles(bench: Bench) -> load.Load:
    """Measure nginx on files that are the tiles: the upper limit."""
    with tempfile.TemporaryDirectory(dir=bench.work, prefix="tiles-") as name:
        with servers.running_iiif_server(bench.source, bench.work, bench.cache) as server:
            tiles = [server.path(bench.large.name, t) for t in requests.all_tiles(bench.large)]
            for number, body in enumerate(load.fetch_bodies(server, tiles)):
                Path(name, f"{number}.jpg").write_bytes(body)
        with servers.running_nginx(Path(name), bench.work) as server:
            return load.run_wrk(server, [f"/{n}.jpg" for n in range(len(tiles))], _CONNECTIONS, 3)


def measure_ready_others(bench: Bench) -> None:
    """Measure regions, thumbnails and rotations, one at a time, with the pyramids ready."""
    kinds: dict[str, Callable[[BenchImage, int], list[str]]] = {
        "regions": lambda image, seed: requests.regions(image, _REGIONS, seed),
        "thumbnails": lambda _, seed: requests.thumbnails(_REGIONS, seed),
        "rotations": lambda image, seed: requests.rotations(image, _REGIONS, seed),
    }
    taken: dict[tuple[str, str, int], list[float]] = {}
    for seed in range(REPEATS):
        with (
            servers.running_iiif_server(bench.source, bench.work, bench.cache) as mine,
            servers.running_iipimage(bench.folder, bench.work) as peer,
        ):
            load.request_one_by_one(
                mine, [mine.path(bench.smallest.name, p) for p in _warm_up_paths(seed)]
            )
            for kind, make in kinds.items():
                for image in bench.pyramidal:
                    paths = make(image, seed)
                    asked = [("iiif-server", mine, image.name)]
                    asked += [
                        (f"iipimage-server, {t} px", peer, image.tiff(t).name) for t in TIFF_TILES
                    ]
                    for who, server, name in asked:
                        requested = [server.path(name, path) for path in paths]
                        lost = 0 if server is mine else _REGIONS // 2
                        times = load.request_one_by_one(server, requested, may_fail=lost)
                        key = (kind, who, image.megapixels)
                        taken.setdefault(key, []).append(statistics.median(times))
    servers_named = ["iiif-server", *(f"iipimage-server, {tile} px" for tile in TIFF_TILES)]
    p50 = {key: statistics.median(values) for key, values in taken.items()}
    small, large, largest = (
        image.megapixels for image in (bench.pyramidal[0], bench.large, bench.largest)
    )
    for kind in kinds:
        own = p50[kind, "iiif-server", large]
        best = min(p50[kind, who, large] for who in servers_named[1:])
        bench.checks.append(
            Check(
                f"{kind}, ready: p50 / iipimage-server",
                own / best,
                1.2,
                f"{_format_ms([own])} / {_format_ms([best])}",
            )
        )
    for kind in kinds:
        big, little = p50[kind, "iiif-server", largest], p50[kind, "iiif-server", small]
        bench.checks.append(
            Check(
                f"{kind}, ready: p50 at {largest} megapixels / at {small}",
                big / little,
                1.3,
                f"{_format_ms([big])} / {_format_ms([little])}",
            )
        )
    rows = [
        [kind, str(image.megapixels)]
        + [_format_ms([p50[kind, who, image.megapixels]]) for who in servers_named]
        for kind in kinds
        for image in bench.pyramidal
    ]
    heads = ["", "megapixels", *servers_named]
    bench.tables.append(Table("p50 one at a time, pyramids ready", heads, rows))
    bench.growth += [
        _make_curve(
            f"{kind}, ready",
            {i.megapixels: [p50[kind, "iiif-server", i.megapixels]] for i in bench.pyramidal},
        )
        for kind in ("regions", "thumbnails")
    ]
    _measure_single_tiles(bench)


def _warm_up_paths(seed: int) -> list[str]:
    return [f"/{n},{seed},700,600/350,/0/default.jpg" for n in range(8)]


def _measure_single_tiles(bench: Bench) -> None:
    """Measure one tile at a time: ours ready, and iiif-processor's from the plain original."""
    own: dict[int, list[float]] = {}
    peer: dict[int, list[float]] = {}
    with (
        servers.running_iiif_server(bench.source, bench.work, bench.cache) as mine,
        servers.running_processor(bench.folder, bench.work) as other,
    ):
        for image in bench.pyramidal:
            tiles = requests.all_tiles(image)
            random.Random(1).shuffle(tiles)
            asked = [mine.path(image.name, tile) for tile in tiles[:200]]
            own[image.megapixels] = load.request_one_by_one(mine, asked)
            asked = [other.path(image.name, tile) for tile in tiles[:REPEATS]]
            peer[image.megapixels] = load.request_one_by_one(other, asked)
    bench.growth += [
        _make_curve("tile, ready", own),
        _make_curve("iiif-processor: a tile", peer, peer=True),
    ]


def measure_fidelity(bench: Bench) -> None:
    """Measure SSIM and bytes of reduced tiles, beside iiif-processor's from the plain original."""
    image = bench.large
    original = quality.read_pixels(image.jpeg)
    rows = []
    with (
        servers.running_iiif_server(bench.source, bench.work, bench.cache) as mine,
        servers.running_processor(bench.folder, bench.work) as other,
    ):
        for factor in (2, 4, 8, 16):
            step = requests.TILE * factor
            places = [
                (column, row)
                for row in range(image.height // step)
                for column in range(image.width // step)
            ]
            chosen = random.Random(factor).sample(places, min(6, len(places)))
            if not chosen:
                continue  # too small an image for whole tiles at this factor
            tiles = [requests.tile_path(image, factor, *place) for place in chosen]
            wanted = [quality.reference_tile(original, factor, *p, requests.TILE) for p in chosen]
            scores, sizes = [], []
            for server in (mine, other):
                answers = load.fetch_bodies(
                    server, [server.path(image.name, tile) for tile in tiles]
                )
                pairs = zip(answers, wanted, strict=True)
                scores.append(statistics.mean(quality.similarity(*pair) for pair in pairs))
                sizes.append(sum(map(len, answers)) / len(answers))
            rows.append(
                [f"1/{factor}"]
                + [f"{score:.4f}" for score in scores]
                + [f"{size / 1000:.1f}" for size in sizes]
            )
            bench.checks += [
                Check(
                    f"reduced tiles, 1/{factor}: SSIM / iiif-processor's",
                    scores[0] / scores[1],
                    1.0,
                    f"{scores[0]:.4f} / {scores[1]:.4f}",
                    at_least=True,
                ),
                Check(
                    f"reduced tiles, 1/{factor}: bytes / iiif-processor's",
                    sizes[0] / sizes[1],
                    1.0,
                    f"{sizes[0] / 1000:.1f} kB / {sizes[1] / 1000:.1f} kB",
                ),
            ]
    heads = ["scale", "SSIM", "iiif-processor's", "kB a tile", "iiif-processor's"]
    title = (
        f"Reduced tiles of {image.megapixels} megapixels against Lanczos-3 of the whole original"
    )
    bench.tables.append(Table(title, heads, rows))


def measure_memory(bench: Bench) -> None:
    """Measure the peak of the process tree at the largest image, cold and ready, and of peers."""
    image = bench.largest
    rows = []
    with servers.running_iiif_server(bench.source, bench.work) as server:
        with memory.MemoryWatch(server.pid) as cold_watch:
            _measure_thumbnail(bench, server, image)
            _measure_first_view(bench, server, image)
            _measure_pyramid(bench, server, image)
        worker = max(memory.peak_bytes(pid) for pid in memory.process_tree(server.pid))
        (name,) = link_copies(image, bench.folder, ["pyramid"])
        with memory.MemoryWatch(server.pid) as ready_watch:
            paths = [server.path(name, tile) for tile in requests.all_tiles(image)]
            paths += [server.path(name, path) for path in requests.regions(image, 32, 7)]
            paths += [server.path(name, path) for path in requests.rotations(image, 32, 8)]
            paths += [server.path(name, path) for path in requests.thumbnails(32, 9)]
            load.run_wrk(server, paths, _CONNECTIONS, _ONCE_SECONDS, once=True)
        rows.append(
            [
                "iiif-server",
                _format_gb(cold_watch.peak),
                _format_gb(ready_watch.peak),
                _format_gb(worker),
            ]
        )
    with servers.running_processor(bench.folder, bench.work) as server:
        paths = [server.path(image.name, tile) for tile in requests.all_tiles(image)]
        with memory.MemoryWatch(server.pid) as watch:
            load.run_wrk(server, paths, _CONNECTIONS, 10)
        rows.append(
            [
                "iiif-processor",
                _format_gb(watch.peak),
                "",
                _format_gb(memory.peak_bytes(server.pid)),
            ]
        )
    peak = max(cold_watch.peak, ready_watch.peak)
    what = f"{image.megapixels}-megapixel JPEG, cold and ready: memory of the process tree, GB"
    detail = (
        f"cold {_format_gb(cold_watch.peak)}, ready {_format_gb(ready_watch.peak)} (sum of PSS)"
    )
    bench.checks.append(Check(what, peak / _GB, 3.0, detail))
    heads = ["", "process tree, cold", "process tree, ready", "largest process"]
    title = f"Peak memory at {image.megapixels} megapixels, in GB"
    bench.tables.append(Table(title, heads, rows))


def measure_concurrency(bench: Bench) -> None:
    """Measure requests per second and median latency of tiles, by the number of connections."""
    connections = (1, 2, 4, 8, 16, 32, 64)
    tile = TIFF_TILES[0]
    with ExitStack() as stack:
        mine = stack.enter_context(
            servers.running_iiif_server(bench.source, bench.work, bench.cache)
        )
        peer = stack.enter_context(servers.running_iipimage(bench.folder, bench.work))
        other = stack.enter_context(servers.running_processor(bench.folder, bench.work))
        image = bench.large
        lines: list[tuple[Server, str, Sequence[int], float]] = [
            (mine, image.name, connections, 2),
            (peer, image.tiff(tile).name, connections, 3),
            (other, image.name, (1, 4, 16), 8),
        ]
        for server, name, counts, seconds in lines:
            rates, medians = [], []
            for count in counts:
                paths = _shuffled_tiles(server, [(image, name)], count)
                measured = load.run_wrk(server, paths, count, seconds)
                rates.append((count, measured.rate))
                medians.append((count, measured.p50 * 1000))
            is_peer = server is not mine
            bench.throughput.append(Curve(server.name, rates, is_peer))
            bench.latency.append(Curve(server.name, medians, is_peer))


def _shuffled_tiles(
    server: Server, named: Sequence[tuple[BenchImage, str]], seed: int
) -> list[str]:
    """Return all tiles of some images, under the names that the server knows, in random order."""
    paths = [server.path(name, tile) for image, name in named for tile in requests.all_tiles(image)]
    random.Random(seed).shuffle(paths)
    return paths


def _add_result(found: dict[str, list[load.Load]], name: str, result: load.Load) -> None:
    found.setdefault(name, []).append(result)


def _make_curve(label: str, values: dict[int, list[float]], *, peer: bool = False) -> Curve:
    points = [(size, statistics.median(taken) * 1000) for size, taken in values.items()]
    return Curve(label, points, peer)


def _format_ms(seconds: Sequence[float]) -> str:
    """Return the seconds as text in milliseconds."""
    if not seconds:
        return ""
    value = statistics.median(seconds) * 1000
    return f"{value:,.0f} ms" if value >= 100 else f"{value:.3g} ms"  # noqa: PLR2004


def _format_gb(count: int) -> str:
    return f"{count / _GB:.2f}"
