"""`python -m bench.costs`: peak memory of jobs, compared with its estimate."""

import argparse
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from bench.cost_originals import Originals
from bench.cost_process import JobFailedError, measure_in_process
from bench.rare_originals import RARE
from iiif_server.codecs import jpegtran
from iiif_server.codecs.jobs import build_part, render
from iiif_server.codecs.probe import probe
from iiif_server.iiif.formats import parse_format
from iiif_server.iiif.geometry import Limits, square
from iiif_server.iiif.quality import parse_quality
from iiif_server.iiif.region import parse_region
from iiif_server.iiif.request import ImageFacts, ImageRequest
from iiif_server.iiif.rotation import parse_rotation
from iiif_server.iiif.size import parse_size
from iiif_server.iiif.versions import V3
from iiif_server.plan.build_plan import BuildPlan, part_of
from iiif_server.plan.cost import Cost, cost_of_build, cost_of_render
from iiif_server.plan.encoding import EncodingOptions
from iiif_server.plan.engine_choice import choose_engine
from iiif_server.plan.grid import Grid, Part
from iiif_server.plan.header import Colour
from iiif_server.plan.local_file import LocalFile
from iiif_server.plan.original_format import Bounds, OriginalFormat
from iiif_server.plan.render_plan import (
    Level,
    PixelOperations,
    RenderPlan,
    operations_on_level,
    plan_operations,
    tile_profile,
)

_MB = 1_000_000
_TWICE = 2
"""By how much an estimate may be too high."""
_MAX_PIXELS = 10**9
_BOUNDS = replace(Bounds(), rare=True, formats=frozenset(OriginalFormat))
_TILE = "1024,1024,512,512/512,/0/default.png"
_REQUESTS: dict[str, tuple[str, ...]] = {
    "420.jpg": (
        "1024,1024,512,512/max/0/default.jpg",
        "full/max/90/default.jpg",
        "full/max/0/gray.jpg",
        "full/400,/0/default.jpg",
        _TILE,
        "full/max/0/color.png",
        "full/max/0/default.tif",
        "full/max/0/bitonal.png",
        "full/max/0/bitonal.tif",
        "full/max/0/default.gif",
        "full/max/0/default.webp",
        "full/max/0/default.avif",
        "full/max/0/default.jp2",
        "full/max/0/default.pdf",
        "full/pct:90/0/default.jpg",
        "full/pct:90/90/default.jpg",
        "full/pct:90/33/default.jpg",
        "full/pct:90/33/default.png",
        "0,0,400,300/^max/0/default.jpg",
        "0,0,400,300/^max/0/default.png",
    ),
    "444.jpg": ("full/max/90/default.jpg", "full/pct:90/0/default.jpg"),
    "progressive.jpg": (_TILE, "full/400,/0/default.jpg", "full/max/0/default.png"),
    "turned.jpg": (_TILE, "full/pct:90/0/default.jpg", "full/max/0/default.jpg"),
    "8.png": (_TILE, "full/max/0/default.jpg", "full/400,/0/default.jpg"),
    "16.png": (_TILE, "full/max/0/default.jpg"),
    "interlaced.png": (_TILE, "full/400,/0/default.jpg"),
    "alpha.png": (_TILE, "full/pct:90/33/default.png"),
    "striped.tif": (_TILE, "full/max/0/default.jpg"),
    "tiled.tif": (_TILE, "full/max/0/default.jpg"),
    "16.tif": (_TILE, "full/max/0/default.jpg"),
    "cmyk.jpg": (_TILE, "full/max/0/default.jpg"),
    "photo.webp": (_TILE, "full/400,/0/default.jpg"),
    "photo.gif": (_TILE, "full/400,/0/default.jpg"),
    "photo.jp2": (_TILE, "full/400,/0/default.jpg"),
    "photo.avif": (_TILE, "full/400,/0/default.jpg"),
    "photo.bmp": (_TILE, "full/400,/0/default.jpg"),
    "12.jpg": (_TILE, "full/400,/0/default.jpg"),
    "lossless.jpg": (_TILE, "full/400,/0/default.jpg"),
    "planar.tif": (_TILE, "full/400,/0/default.jpg"),
    "float.tif": (_TILE, "full/400,/0/default.jpg"),
    "16.jp2": (_TILE, "full/400,/0/default.jpg"),
    "5.jp2": (_TILE, "full/400,/0/default.jpg"),
    "photo.pdf": (_TILE, "full/400,/0/default.jpg"),
    **dict.fromkeys(RARE, (_TILE, "full/400,/0/default.jpg", "full/max/0/default.jpg")),
    "frames.dicom": ("full/400,/0/default.jpg", "full/max/0/default.jpg"),
}
_BUILDS = (
    "420.jpg", "444.jpg", "progressive.jpg", "turned.jpg", "8.png", "16.tif", "photo.jp2",
    "12.jpg", "planar.tif", "lossy.jxl", "photo.psd", "photo.bmp",
)  # fmt: skip
_LEVELS = ("full/max/0/default.png", "full/pct:40/0/default.jpg")


@dataclass(frozen=True, slots=True)
class Measurement:
    """Estimated and measured cost of one job."""

    name: str
    engine: str
    estimated: Cost
    bytes: int
    seconds: float


def main() -> None:
    """Measure all jobs, and print one line per job. A failed job makes the exit status 1."""
    parser = argparse.ArgumentParser(prog="python -m bench.costs", description=__doc__)
    parser.add_argument("only", nargs="?", default="", help="jobs whose name has this in it")
    parser.add_argument("--megapixels", type=float, default=24)
    arguments = parser.parse_args()
    failed = 0
    with tempfile.TemporaryDirectory(prefix="costs-") as folder:
        originals = Originals(Path(folder), arguments.megapixels)
        print(f"{'job':58} {'engine':9} {'estimate':>9} {'peak':>9} {'ratio':>6} {'ns/px est':>9}")
        for name, plan in _all_jobs(originals):
            if arguments.only in name:
                try:
                    job = plan()
                    taken = measure_in_process(job.function, job.plan)
                except JobFailedError as error:
                    failed += 1
                    print(f"{name:58} FAILED: {error}", flush=True)
                else:
                    _print_line(Measurement(name, job.engine, job.cost, *taken))
    if failed:
        sys.exit(f"{failed} jobs failed.")


@dataclass(frozen=True, slots=True)
class _Job:
    engine: str
    cost: Cost
    function: Callable[[Any], Any]
    plan: Any


def _print_line(one: Measurement) -> None:
    ratio = one.estimated.bytes / max(one.bytes, 1)
    mark = " LOW" if ratio < 1 else " high" if ratio > _TWICE and one.bytes > 64 * _MB else ""
    pace = one.seconds * 1e9 / max(one.estimated.effort, 1)
    print(
        f"{one.name:58} {one.engine:9} {one.estimated.bytes / _MB:7.0f}MB {one.bytes / _MB:7.0f}MB "
        f"{ratio:6.2f} {pace:6.1f} {one.seconds:6.2f}s{mark}",
        flush=True,
    )


def _all_jobs(originals: Originals) -> Iterator[tuple[str, Callable[[], _Job]]]:
    """Yield the name of each job and a function that plans it, and may write an original first."""
    for name, requests in _REQUESTS.items():
        for request in requests:
            yield f"{name} {request}", partial(_rendering, originals, name, request)
    for name in _BUILDS:
        for part in Part:
            yield f"{name} {part}", partial(_building, originals, name, part)
    for request in _LEVELS:
        yield f"420.jpg level {request}", partial(_levelling, originals, "420.jpg", request)


def _rendering(originals: Originals, name: str, request: str) -> _Job:
    plan = _planned(originals.path(name), request)
    return _Job(plan.engine, cost_of_render(plan), render, plan)


def _building(originals: Originals, name: str, part: Part) -> _Job:
    plan = _build(originals.path(name), part)
    return _Job("build", cost_of_build(plan), build_part, plan)


def _levelling(originals: Originals, name: str, request: str) -> _Job:
    path = originals.path(name)
    factor, operations = _on_level(path, request)
    part = _build(path, part_of(probe(path, _MAX_PIXELS, _BOUNDS), factor))
    measure_in_process(build_part, part)
    plan = _planned(path, request, Level(part.target, part.grid, operations))
    return _Job("level", cost_of_render(plan), render, plan)


def _request(path: Path, request: str) -> tuple[Any, Any]:
    region, size, rotation, last = request.split("/")
    quality, _, format_ = last.partition(".")
    parsed = ImageRequest(
        parse_region(region),
        parse_size(size, V3),
        parse_rotation(rotation),
        parse_quality(quality),
        parse_format(format_),
    )
    header = probe(path, _MAX_PIXELS, _BOUNDS)
    facts = ImageFacts(header.dimensions, gray=header.colour is Colour.GRAY)
    return header, parsed.resolve(facts, Limits(max_area=header.stored.area))


def _planned(path: Path, request: str, level: Level | None = None) -> RenderPlan:
    header, rendition = _request(path, request)
    operations = plan_operations(header, rendition)
    engine = choose_engine(header, operations, lossless=jpegtran.available())
    target = path.with_suffix(".made")
    return RenderPlan(
        LocalFile.at(path), header, engine, operations, EncodingOptions(), target, level
    )


def _on_level(path: Path, request: str) -> tuple[int, PixelOperations]:
    header, rendition = _request(path, request)
    factor = 1 if rendition.size.area * 4 > header.stored.area else 2
    return factor, operations_on_level(header, rendition, factor)


def _build(path: Path, part: Part) -> BuildPlan:
    target = path.with_suffix(f".{part}")
    target.touch()  # a worker opens it, and creates none
    header = probe(path, _MAX_PIXELS, _BOUNDS)
    return BuildPlan(
        original=LocalFile.at(path),
        header=header,
        part=part,
        grid=Grid(header.dimensions, square(512)),
        profile=tile_profile(header),
        lossless=jpegtran.available(),
        reduced_quality=80,
        full_quality=85,
        target=target,
    )


if __name__ == "__main__":
    main()
