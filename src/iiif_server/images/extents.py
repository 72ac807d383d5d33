"""Parts of originals: what a header, a tile or a decoder needs is brought before it is read."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar

from iiif_server.images.originals import Original
from iiif_server.plan.extents import Extent, FromParts, length_of
from iiif_server.workers.pool import WorkerPool

ROUNDS = 8
"""How often a worker says what it needs, before it gets the whole file."""
AHEAD, MOST_AHEAD = 1 << 16, 1 << 18
"""Bytes that are brought with each extent that a parser needs of a header: more is likely to
follow. That is so much more behind the first directory, where libtiff writes its tile table: of
tiles of 8 KiB, it has a 512th of the size of the file."""
_END = 1 << 18
"""Bytes from the end of a file that are brought together: small levels and their directories."""
_MOST_METADATA = 64 << 20
"""Bytes besides pixels; whatever needs more gets the whole file, if that may be fetched."""

Result = TypeVar("Result")


async def from_parts(
    pool: WorkerPool,
    function: Callable[..., FromParts[Result]],
    original: Original,
    *,
    timeout: float,  # noqa: ASYNC109 - of the worker's job
    ahead: bool = False,
) -> Result:
    """What a worker makes of an original of which parts are present, and gets what it needs.

    `ahead`: more is brought than it needs. Raises what the worker or the source raises.
    """
    parts = original.parts
    if parts is None:
        raise ValueError(f"{original!r} is a whole file")
    left = _MOST_METADATA
    for turn in range(ROUNDS + 2):
        async with original.for_worker() as descriptors:
            work = partial(function, present=parts.present)
            found = await pool.run(work, original.file, timeout=timeout, descriptors=descriptors)
        if found.result is not None:
            return found.result
        left -= length_of(found.needs)
        if turn < ROUNDS and left >= 0:
            needs = read_ahead(found.needs, parts.size, turn) if ahead else found.needs
            await parts.bring(needs)
        else:
            await original.bring_whole()
    raise ValueError(f"{function!r} needs more than the whole file")


def read_ahead(extents: Sequence[Extent], size: int, turn: int) -> list[Extent]:
    """What is brought for extents that the parser of a header needs, in turn 0 or later."""
    ahead = AHEAD if turn else min(max(AHEAD, size >> 9), MOST_AHEAD)
    ends = ((start, stop + ahead) for start, stop in extents)
    return [(start, size if stop > size - _END else stop) for start, stop in ends]
