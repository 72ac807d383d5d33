"""Headers over which processes are lost."""

from pathlib import Path
from typing import Any, cast

import pytest

from iiif_server.errors import (
    IiifServerError,
    QuarantinedError,
    RenderTimedOutError,
    WorkerDiedError,
)
from iiif_server.iiif.identifier import Identifier
from iiif_server.images.headers import Headers
from iiif_server.images.originals import Original
from iiif_server.images.quarantine import Quarantine
from iiif_server.plan.bounds import Bounds
from iiif_server.plan.local_file import LocalFile
from iiif_server.workers.pool import WorkerPool


class Losing:
    """A pool that fails at each job, and counts them."""

    def __init__(self, error: IiifServerError) -> None:
        self.jobs = 0
        self._error = error

    async def run(self, *_: Any, **__: Any) -> None:
        self.jobs += 1
        raise self._error


def here() -> LocalFile:
    """A file that is what it was."""
    return LocalFile.at(Path(__file__))


@pytest.mark.parametrize("error", [WorkerDiedError("It died."), RenderTimedOutError("Late.")])
async def test_a_header_that_costs_a_process_is_not_read_again_soon(error: IiifServerError) -> None:
    pool = Losing(error)
    headers = Headers(cast("WorkerPool", pool), Quarantine(300, lambda _: None), 8, 1000, Bounds())
    original = Original(Identifier("disk", "a"), here())
    with pytest.raises(type(error)):
        await headers.of(original)
    for _ in range(3):
        with pytest.raises(QuarantinedError):
            await headers.of(original)
    assert pool.jobs == 1


async def test_a_header_that_takes_too_long_is_named_as_such() -> None:
    pool = Losing(RenderTimedOutError("Ask for a smaller image."))
    headers = Headers(cast("WorkerPool", pool), Quarantine(300, lambda _: None), 8, 1000, Bounds())
    original = Original(Identifier("disk", "a"), here())
    with pytest.raises(RenderTimedOutError, match="header of the original takes longer than 20"):
        await headers.of(original)
