"""Partial fetching: bytes of an original that a header, tile or decoder needs are fetched first."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar

from iiif_server.images.originals import Original
from iiif_server.plan.extents import Extent, PartialResult, total_length
from iiif_server.workers.pool import WorkerPool

ROUNDS = 8
"""Maximum rounds in which a worker requests extents, before the whole file is fetched."""
AHEAD, MAX_AHEAD = 1 << 16, 1 << 18
"""Bytes that are fetched after each extent that a header parser needs, as it likely needs more.
After the first directory it is up to `MAX_AHEAD`: there libtiff writes the tile table, which has a
512th of the file size if tiles have 8 KiB."""
_END = 1 << 18
"""Bytes at the end of a file that are fetched together: small levels and their directories."""
_MAX_METADATA = 64 << 20
"""Maximum bytes besides pixels; if a worker needs more, the whole file is fetched, if allowed."""

Result = TypeVar("Result")


async def from_parts(
    pool: WorkerPool,
    function: Callable[..., PartialResult[Result]],
    original: Original,
    *,
    timeout: float,  # noqa: ASYNC109 - of the worker's job
    ahead: bool = False,
) -> Result:
    """Result of a worker's function on a partial original; fetches the bytes that it needs.

    `timeout` is in seconds, for each job of the worker. `ahead`: fetch more than it needs. Raises
    the errors of the worker and of the source.
    """
    parts = original.parts
    if parts is None:
        raise ValueError(f"{original!r} is a whole file")
    left = _MAX_METADATA
    for turn in range(ROUNDS + 2):
        async with original.for_worker() as descriptors:
            work = partial(function, present=parts.present)
            found = await pool.run(work, original.file, timeout=timeout, descriptors=descriptors)
        if found.result is not None:
            return found.result
        left -= total_length(found.needs)
        if turn < ROUNDS and left >= 0:
            needs = read_ahead(found.needs, parts.size, turn) if ahead else found.needs
            await parts.fetch(needs)
        else:
            await original.fetch_whole()
    raise ValueError(f"{function!r} needs more than the whole file")


def read_ahead(extents: Sequence[Extent], size: int, turn: int) -> list[Extent]:
    """Extents to fetch for those that a header parser needs, in round 0 or later."""
    ahead = AHEAD if turn else min(max(AHEAD, size >> 9), MAX_AHEAD)
    ends = ((start, stop + ahead) for start, stop in extents)
    return [(start, size if stop > size - _END else stop) for start, stop in ends]
