"""Starting workers as `serve` does and having them make an image; for `iiif-server check`."""

import os
import struct
import tempfile
import zlib
from contextlib import AsyncExitStack
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import IO

from iiif_server.composition import Reach, open_pool, open_store
from iiif_server.errors import RenderFailedError
from iiif_server.iiif.formats import Format
from iiif_server.iiif.geometry import Box, Dimensions
from iiif_server.iiif.quality import Quality
from iiif_server.iiif.request import Rendition
from iiif_server.iiif.rotation import Rotation
from iiif_server.plan.header import ImageHeader
from iiif_server.plan.jobs import READ_HEADER, RENDER, Rendered, WorkerReport
from iiif_server.plan.local_file import FileVersion, LocalFile
from iiif_server.plan.render_plan import Engine, RenderPlan, plan_operations
from iiif_server.settings import Settings
from iiif_server.workers.pool import WorkerPool
from iiif_server.workers.sandbox.confinement import InForce

_SECONDS = 60.0
_SIDE = 64


@dataclass(frozen=True, slots=True)
class Trial:
    """A worker that was started and did its job."""

    pool: str
    pid: int
    did: str
    """What its job was."""
    in_force: InForce
    problems: tuple[str, ...]
    """Why parts of its sandbox are missing."""
    report: WorkerReport


async def try_workers(settings: Settings) -> list[Trial]:
    """Start a worker of each pool in its sandbox, and have them read and make a test image.

    The image comes as originals do, as an open file, and what is made of it is written into the
    cache. Raises WorkerDiedError with the cause, or another of `errors`.
    """
    store = open_store(settings, lambda _: None)
    async with AsyncExitStack() as stack:
        file = stack.enter_context(tempfile.TemporaryFile())  # noqa: SIM115 - the stack closes it
        file.write(_test_image(_SIDE))
        file.flush()
        original = LocalFile(Path("test image"), FileVersion.of(os.fstat(file.fileno())))
        size = await open_pool(stack, settings, lambda _: None, "size", Reach(), workers=1)
        file.seek(0)
        probe = partial(READ_HEADER, max_pixels=settings.limits.max_source_pixels)
        header = await size.run(probe, original, timeout=_SECONDS, descriptors=[file.fileno()])
        target = _target(stack, store.incoming)
        reach = Reach(store.root, store.incoming)
        image = await open_pool(stack, settings, lambda _: None, "image", reach, workers=1)
        file.seek(0)
        plan = _plan(original, header, settings, Path(target.name) if target else None)
        made = await image.run(RENDER, plan, timeout=_SECONDS, descriptors=[file.fileno()])
        _check(made, made.data or (target.read(2) if target else b""), store.incoming)
        where = " and wrote it into the cache" if made.data is None else ""
        return [
            _trial("size", size, "read the header of a test image"),
            _trial("image", image, f"made a JPEG of a test image{where}"),
        ]


def _target(stack: AsyncExitStack, folder: Path) -> IO[bytes] | None:
    """A file for the result; None where there is no cache yet, or it cannot be written.

    Why it cannot is reported elsewhere, and no folder is made.
    """
    try:
        return stack.enter_context(tempfile.NamedTemporaryFile(dir=folder))
    except OSError:
        return None


def _trial(name: str, pool: WorkerPool, did: str) -> Trial:
    return Trial(name, pool.pids[0], did, pool.in_force, tuple(pool.problems), pool.report)


def _plan(
    original: LocalFile, header: ImageHeader, settings: Settings, target: Path | None
) -> RenderPlan:
    rendition = Rendition(
        Box(0, 0, _SIDE, _SIDE),
        Dimensions(_SIDE // 2, _SIDE // 2),
        Rotation(Fraction(0), mirror=False),
        Quality.DEFAULT,
        Format.JPG,
    )
    work = plan_operations(header, rendition)
    return RenderPlan(original, header, Engine.RASTER, work, settings.encoding, target)


def _check(made: Rendered, beginning: bytes, folder: Path) -> None:
    """Raise RenderFailedError unless a worker has written a JPEG."""
    if made.refusal is not None:
        raise RenderFailedError(f"A worker cannot write into {folder}: {made.refusal.strerror}.")
    if not beginning.startswith(b"\xff\xd8"):
        raise RenderFailedError("What a worker made of a test image is not a JPEG.")


def _test_image(side: int) -> bytes:
    """A PNG of a gradient, made without an imaging library."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    rows = b"".join(
        b"\0" + bytes(v for x in range(side) for v in (4 * x % 256, 4 * y % 256, 128))
        for y in range(side)
    )
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )
