"""The functions that worker processes run."""

from dataclasses import dataclass
from pathlib import Path

from iiif_server.image_api.formats import Format
from iiif_server.image_api.quality import Quality
from iiif_server.imaging import jpegtran, raster
from iiif_server.imaging.originals import OpenOriginal, OpenOriginals
from iiif_server.imaging.plan import Engine, ProfileAction, RenderPlan


@dataclass(frozen=True, slots=True)
class Rendered:
    """A derivative that a worker made."""

    engine: Engine
    """What made it in the end."""
    data: bytes | None
    """Its bytes, where they could not be written to the plan's target; None: they are there."""
    length: int


@dataclass(slots=True)
class _Process:
    """What this process keeps between jobs."""

    originals: OpenOriginals


_process = _Process(OpenOriginals(1))


def prepare_process(originals: int, threads: int) -> None:
    """Set this process up as a worker that keeps so many originals open."""
    raster.prepare_process(threads)
    _process.originals = OpenOriginals(originals)


def output_formats(_: None) -> tuple[Format, ...]:
    """The formats that derivatives can be encoded in here."""
    return raster.supported_formats()


def render(plan: RenderPlan) -> Rendered:
    """Make the derivative of a plan and write it to its target.

    Raises DamagedOriginalError, or OriginalChangedError if the file is not the one planned for.
    """
    original = _process.originals.get(plan.original)
    engine, data = _made(plan, original)
    return Rendered(engine, None if _written(data, plan.target) else data, len(data))


def _made(plan: RenderPlan, original: OpenOriginal) -> tuple[Engine, bytes]:
    work = plan.work
    if plan.engine is Engine.JPEGTRAN:
        try:
            return Engine.JPEGTRAN, jpegtran.transform(
                original.bytes,
                work.box,
                work.turn,
                gray=work.quality is Quality.GRAY,
                keep_profile=work.profile is ProfileAction.KEEP,
            )
        except jpegtran.LosslessFailedError:
            # What the header promised the data does not keep; pixels may still be had of it.
            pass
    return Engine.RASTER, raster.make(original.descriptor, plan.header, work, plan.encoding)


def _written(data: bytes, target: Path | None) -> bool:
    if target is None:
        return False
    try:
        target.write_bytes(data)
    except OSError:
        return False  # a full or broken disk: the answer does not depend on it
    return True
