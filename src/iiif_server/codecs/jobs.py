"""The functions that worker processes run, by the names in `plan/jobs.py`.

All that they need is imported here: a worker imports this module before it enters its sandbox.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from iiif_server.cache.lru import Lru
from iiif_server.codecs import jpegtran, libturbojpeg, raster
from iiif_server.codecs.encode import supported_formats
from iiif_server.codecs.labels import Pieces, embed_description
from iiif_server.codecs.measure import measure_range
from iiif_server.codecs.metadata import read_metadata
from iiif_server.codecs.open_originals import OpenOriginal, OpenOriginals
from iiif_server.codecs.page_list import list_pages
from iiif_server.codecs.probe import probe_file, probe_partial
from iiif_server.codecs.pyramid_build import build
from iiif_server.codecs.tiles import Tiles
from iiif_server.errors import OriginalRefusedError, PartsMissingError, too_much_memory
from iiif_server.formats.bounded_file import BoundedFile
from iiif_server.formats.jpeg_rewriting import Rewriting, rewrite
from iiif_server.formats.pyramid_file import OpenPart
from iiif_server.formats.tiff_tables import read_partial_tile_tables, read_tile_tables
from iiif_server.iiif.geometry import Box
from iiif_server.iiif.quality import Quality
from iiif_server.plan.build_plan import BuildPlan
from iiif_server.plan.grid import Tile
from iiif_server.plan.jobs import Rendered, WorkerReport
from iiif_server.plan.render_plan import Engine, Level, PixelOperations, ProfileAction, RenderPlan
from iiif_server.telemetry.stages import Stages

__all__ = [
    "build_part",
    "list_pages",
    "measure_range",
    "prepare_process",
    "probe_file",
    "probe_partial",
    "read_metadata",
    "read_partial_tile_tables",
    "read_tile_tables",
    "render",
]

_MAX_OPEN_PARTS = 16


@dataclass(slots=True)
class _Process:
    """State of a worker process between jobs."""

    originals: OpenOriginals
    parts: Lru[Path, OpenPart] = field(
        default_factory=lambda: Lru(_MAX_OPEN_PARTS, on_remove=OpenPart.close)
    )
    """Open parts of pyramids, the most recently used."""

    def part(self, path: Path) -> OpenPart:
        """Return the open part at a path, which is unique to it. Raises OSError."""
        part = self.parts.get(path)
        if part is None or part.deleted:  # purged, and perhaps made again
            self.parts.remove(path)
            part = OpenPart(path)
            self.parts.put(path, part)
        return part


_process = _Process(OpenOriginals(1))


def prepare_process(originals: int, threads: int, turbojpeg: str | None = None) -> WorkerReport:
    """Set this process up as a worker with an LRU cache of open originals.

    `turbojpeg` is the value of `workers.turbojpeg`; None leaves what was chosen before.
    """
    raster.prepare_process(threads)
    if turbojpeg is not None:
        libturbojpeg.use(turbojpeg)
    _process.originals = OpenOriginals(originals)
    return WorkerReport(
        raster.library_versions(), supported_formats(), libturbojpeg.library_report()
    )


def render(plan: RenderPlan, descriptor: int | None = None) -> Rendered:
    """Make the derivative of a plan and write it to its target.

    The original is read by a descriptor if one is given.

    Raises DamagedOriginalError, TooMuchMemoryError, or OriginalChangedError if the file is not the
    one planned for.
    """
    stages = Stages()
    with translating_memory_error():
        engine, pieces = _render(plan, descriptor, stages)
    length = sum(map(len, pieces))
    if plan.target is None:
        return Rendered(engine, b"".join(pieces), None, length, stages.seconds)
    write_error = _write(pieces, plan.target)
    data = b"".join(pieces) if write_error else None
    return Rendered(engine, data, write_error, length, stages.seconds)


def build_part(plan: BuildPlan, descriptor: int | None = None) -> int:
    """Build a part of a pyramid; see `pyramid_build.build`.

    The original is read by a descriptor if one is given.
    """
    with translating_memory_error():
        original = _process.originals.get(plan.original, descriptor)
        with original.verify_unchanged():
            return build(plan, original)


@contextmanager
def translating_memory_error() -> Iterator[None]:
    """Translate a MemoryError into a TooMuchMemoryError."""
    try:
        yield
    except MemoryError as error:
        raise too_much_memory() from error


def _render(plan: RenderPlan, descriptor: int | None, stages: Stages) -> tuple[Engine, Pieces]:
    if plan.level is not None:
        with suppress(OSError, KeyError):  # evicted since planning: use the original
            return Engine.LEVEL, _with_description(plan, _render_level(plan, plan.level, stages))
    if plan.tile is not None:
        with suppress(jpegtran.LosslessFailedError), stages.measure("decode"):
            data = _transform(plan, plan.tile.operations, plan.tile.data)
            return Engine.JPEGTRAN, _with_description(plan, data)
    if plan.original.version.partial and (plan.level or plan.tile):
        raise PartsMissingError("The pixels of this image are not where they were planned to be.")
    with stages.measure("open"):
        original = _process.originals.get(plan.original, descriptor)
    return render_original(plan, original, stages)


def render_original(
    plan: RenderPlan, original: OpenOriginal, stages: Stages
) -> tuple[Engine, Pieces]:
    """Make a derivative from the original; return its pieces and the engine that was used.

    Raises what `render` raises, and MemoryError.
    """
    with original.verify_unchanged():
        if plan.engine is Engine.JPEGTRAN:
            # The data may contradict the header; its pixels may still be decoded.
            with suppress(jpegtran.LosslessFailedError), stages.measure("decode"):
                data = _transform(plan, plan.operations, original.bytes)
                return Engine.JPEGTRAN, _with_description(plan, data)
        if plan.engine is Engine.REWRITTEN:
            with suppress(OriginalRefusedError), stages.measure("decode"):
                return Engine.REWRITTEN, _rewrite_original(plan, original)
        with stages.measure("decode"):
            pixels = raster.pixels(original.descriptor, plan.header, plan.operations)
        with stages.measure("encode"):
            data = raster.encoded(
                pixels, plan.header, plan.operations, plan.encoding, plan.description
            )
            return Engine.RASTER, _with_description(plan, data)


def _with_description(plan: RenderPlan, data: bytes) -> Pieces:
    return embed_description(data, plan.operations.format, plan.description)


def _rewrite_original(plan: RenderPlan, original: OpenOriginal) -> Pieces:
    header = plan.header
    rewriting = Rewriting(
        location=header.treatment.strip_location,
        gain_map=header.jpeg is not None and header.jpeg.gain_map,
        profile=header.generated_profile,
    )
    with os.fdopen(os.dup(original.descriptor), "rb") as file:
        bounded = BoundedFile(file, header.format)
        return rewrite(bounded, memoryview(original.bytes), rewriting)


def _transform(plan: RenderPlan, operations: PixelOperations, jpeg: jpegtran.Buffer) -> bytes:
    return jpegtran.transform(
        jpeg,
        operations.box,
        operations.orientation,
        gray=operations.quality is Quality.GRAY,
        keep_profile=operations.profile is ProfileAction.KEEP,
        generated_profile=plan.header.generated_profile,
    )


def _render_level(plan: RenderPlan, level: Level, stages: Stages) -> bytes:
    with stages.measure("open"):
        tiles = _tiles(level, _process.part(level.path))
    with stages.measure("decode"):
        pixels = raster.pixels_of_tiles(tiles, plan.header, level.operations)
    with stages.measure("encode"):
        return raster.encoded(
            pixels, plan.header, level.operations, plan.encoding, plan.description
        )


def _tiles(level: Level, part: OpenPart) -> Tiles:
    """Read the tiles that the operations on a level touch. Raises KeyError or OSError."""
    grid, factor, box = level.grid, level.operations.shrink, level.operations.box
    full, whole = grid.tile, grid.level(factor)
    across, down = factor * full.width, factor * full.height
    image = grid.dimensions
    columns = range(box.x // across, -(-min(box.x + box.width, image.width) // across))
    rows = range(box.y // down, -(-min(box.y + box.height, image.height) // down))
    x, y = columns.start * full.width, rows.start * full.height
    right = min(columns.stop * full.width, whole.width)
    bottom = min(rows.stop * full.height, whole.height)
    return Tiles(
        data=[part.read(Tile(factor, column, row), grid) for row in rows for column in columns],
        across=len(columns),
        full=full,
        at=Box(x, y, right - x, bottom - y),
    )


def _write(pieces: Pieces, target: Path) -> OSError | None:
    """Write pieces to an existing file; return the error of the disk, or None."""
    try:
        # The file must exist: a file created here would remain if its owner has given up.
        with target.open("r+b", buffering=0) as file:
            file.truncate()
            for piece in pieces:
                rest = memoryview(piece)
                while rest:
                    rest = rest[file.write(rest) :]
    except OSError as error:
        return OSError(error.errno, error.strerror)
    return None
