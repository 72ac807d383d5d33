"""`python -m bench.costs`: peak memory of jobs, compared with its estimate."""

import argparse
import multiprocessing
import multiprocessing.connection
import os
import struct
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pyvips
import tifffile
from numpy.typing import NDArray
from PIL import Image

from bench import memory
from bench.images import pixels
from iiif_server.codecs import jpegtran
from iiif_server.codecs.jobs import build_part, prepare_process, render
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
    "lossy.jxl": (_TILE, "full/400,/0/default.jpg"),
    "16.jxl": (_TILE, "full/400,/0/default.jpg"),
    "photo.psd": (_TILE, "full/400,/0/default.jpg"),
    "16.psd": (_TILE, "full/400,/0/default.jpg"),
    "photo.pdf": (_TILE, "full/400,/0/default.jpg"),
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
    """Measure all jobs, and print one line per job."""
    parser = argparse.ArgumentParser(prog="python -m bench.costs", description=__doc__)
    parser.add_argument("--megapixels", type=float, default=24)
    parser.add_argument("--only", default="", help="jobs whose name has this in it")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="costs-") as folder:
        originals = _Originals(Path(folder), arguments.megapixels)
        print(f"{'job':58} {'engine':9} {'estimate':>9} {'peak':>9} {'ratio':>6} {'ns/px est':>9}")
        for name, plan in _all_jobs(originals):
            if arguments.only in name:
                job = plan()
                taken = _measure_in_process(job.function, job.plan)
                _print_line(Measurement(name, job.engine, job.cost, *taken))


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


def _all_jobs(originals: "_Originals") -> Iterator[tuple[str, Callable[[], _Job]]]:
    """Yield the name of each job and a function that plans it, and may write an original first."""
    for name, requests in _REQUESTS.items():
        for request in requests:
            yield f"{name} {request}", partial(_rendering, originals, name, request)
    for name in _BUILDS:
        for part in Part:
            yield f"{name} {part}", partial(_building, originals, name, part)
    for request in _LEVELS:
        yield f"420.jpg level {request}", partial(_levelling, originals, "420.jpg", request)


def _rendering(originals: "_Originals", name: str, request: str) -> _Job:
    plan = _planned(originals.path(name), request)
    return _Job(plan.engine, cost_of_render(plan), render, plan)


def _building(originals: "_Originals", name: str, part: Part) -> _Job:
    plan = _build(originals.path(name), part)
    return _Job("build", cost_of_build(plan), build_part, plan)


def _levelling(originals: "_Originals", name: str, request: str) -> _Job:
    path = originals.path(name)
    factor, operations = _on_level(path, request)
    part = _build(path, part_of(probe(path, _MAX_PIXELS), factor))
    _measure_in_process(build_part, part)
    plan = _planned(path, request, Level(part.target, part.grid, operations))
    return _Job("level", cost_of_render(plan), render, plan)


def _measure_in_process(function: Callable[[Any], Any], plan: Any) -> tuple[int, float]:
    """Return by how many bytes a fresh process grew during a job, and its duration in seconds."""
    context = multiprocessing.get_context("spawn")
    mine, theirs = context.Pipe()
    process = context.Process(target=_run_and_report, args=(theirs, function, plan))
    process.start()
    theirs.close()
    try:
        taken: tuple[int, float] = mine.recv()
    except EOFError:
        taken = (0, 0.0)
    process.join()
    return taken


def _run_and_report(
    report: multiprocessing.connection.Connection, function: Callable[[Any], Any], plan: Any
) -> None:
    prepare_process(1, 1)
    pyvips.Image.black(8, 8).jpegsave_buffer()
    before = memory.peak_bytes(os.getpid())
    started = time.perf_counter()
    try:
        function(plan)
    finally:
        seconds = time.perf_counter() - started
        report.send((memory.peak_bytes(os.getpid()) - before, seconds))


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
    header = probe(path, _MAX_PIXELS)
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
    header = probe(path, _MAX_PIXELS)
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


class _Originals:
    """One picture in every format and sample type, each written on first use."""

    def __init__(self, folder: Path, megapixels: float) -> None:
        self._folder = folder
        side = megapixels**0.5 * 1000
        self._size = (round(side * 1.2247) // 16 * 16, round(side / 1.2247) // 16 * 16)
        self._raw = folder / "raw.tif"

    def path(self, name: str) -> Path:
        """Return the file of a variant."""
        path = self._folder / name
        if not path.exists():
            if not self._raw.exists():
                pixels(*self._size).write_to_file(str(self._raw))
            _measure_in_process(_write, (self._raw, path))
        return path


def _write(job: tuple[Path, Path]) -> None:
    raw, path = job
    image = pyvips.Image.new_from_file(str(raw), access="sequential")
    _FLAVOURS.get(path.name, _by_name)(image, str(path))


def _by_name(image: pyvips.Image, path: str) -> None:
    image.write_to_file(path)


def _turned(image: pyvips.Image, path: str) -> None:
    image = image.copy()
    image.set_type(pyvips.GValue.gint_type, "orientation", 6)
    image.jpegsave(path, Q=88)


def _deep(image: pyvips.Image) -> pyvips.Image:
    return (image * 257).cast("ushort").copy(interpretation="rgb16")


def _by_pillow(image: pyvips.Image, path: str) -> None:
    size = (image.width, image.height)
    Image.frombuffer("RGB", size, image.write_to_memory()).save(path)


def _write_samples(
    write: Callable[[NDArray[Any]], bytes], *, deep: bool = False
) -> Callable[[pyvips.Image, str], None]:
    """Return a variant that a function writes from an array."""

    def flavour(image: pyvips.Image, path: str) -> None:
        values = np.ndarray(
            (image.height, image.width, image.bands), np.uint8, image.write_to_memory()
        )
        Path(path).write_bytes(write(values.astype(np.uint16) * 257 if deep else values))

    return flavour


def _psd(values: NDArray[Any]) -> bytes:
    height, width, channels = values.shape
    bits = 8 * values.itemsize
    head = struct.pack(">4sH6xHIIHH12xH", b"8BPS", 1, channels, height, width, bits, 3, 0)
    return head + values.transpose(2, 0, 1).astype(f">u{bits // 8}").tobytes()


def _tiff(values: NDArray[Any], **options: Any) -> bytes:
    file = BytesIO()
    tifffile.imwrite(file, values, photometric="rgb", **options)
    return file.getvalue()


_FLAVOURS: dict[str, Callable[[pyvips.Image, str], None]] = {
    "420.jpg": lambda image, path: image.jpegsave(path, Q=88, subsample_mode="on"),
    "444.jpg": lambda image, path: image.jpegsave(path, Q=88, subsample_mode="off"),
    "progressive.jpg": lambda image, path: image.jpegsave(path, Q=88, interlace=True),
    "turned.jpg": _turned,
    "cmyk.jpg": lambda image, path: image.colourspace("cmyk").jpegsave(path, Q=88),
    "16.png": lambda image, path: _deep(image).pngsave(path, compression=1),
    "interlaced.png": lambda image, path: image.pngsave(path, compression=1, interlace=True),
    "alpha.png": lambda image, path: image.bandjoin(image[0]).pngsave(path, compression=1),
    "striped.tif": lambda image, path: image.tiffsave(path, compression="lzw"),
    "tiled.tif": lambda image, path: image.tiffsave(path, compression="deflate", tile=True),
    "16.tif": lambda image, path: _deep(image).tiffsave(path, compression="deflate"),
    "photo.jp2": _by_pillow,
    "photo.bmp": _by_pillow,
    "photo.pdf": _by_pillow,
    "12.jpg": _write_samples(
        lambda values: bytes(imagecodecs.jpeg8_encode(values >> 4, 95, bitspersample=12)),
        deep=True,
    ),
    "lossless.jpg": _write_samples(
        lambda values: bytes(imagecodecs.jpeg8_encode(values, lossless=True)),
    ),
    "planar.tif": _write_samples(
        lambda values: _tiff(
            np.ascontiguousarray(values.transpose(2, 0, 1)),
            planarconfig="separate",
            compression="zlib",
            rowsperstrip=64,
        )
    ),
    "float.tif": _write_samples(
        lambda values: _tiff(values.astype(np.float32) / 255, rowsperstrip=64),
    ),
    "16.jp2": _write_samples(
        lambda values: bytes(imagecodecs.jpeg2k_encode(values, level=40)), deep=True
    ),
    "5.jp2": _write_samples(
        lambda values: bytes(
            imagecodecs.jpeg2k_encode(
                np.dstack((values, values[:, :, :2])), level=40, codecformat="J2K", mct=False
            )
        )
    ),
    "lossy.jxl": _write_samples(
        lambda values: bytes(imagecodecs.jpegxl_encode(values, distance=1.0, effort=3))
    ),
    "16.jxl": _write_samples(
        lambda values: bytes(imagecodecs.jpegxl_encode(values, lossless=True, effort=1)),
        deep=True,
    ),
    "photo.psd": _write_samples(_psd),
    "16.psd": _write_samples(_psd, deep=True),
}


if __name__ == "__main__":
    main()
