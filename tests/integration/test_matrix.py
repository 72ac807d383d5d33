"""The matrix of originals: each kind, in all views, without and with a pyramid.

Upright, with the right dimensions, every patch within Delta E 2000 of 2, and of 3 in JPEG.
"""

from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest
import pytest_asyncio

from support.apps import Server
from support.matrix.chart import Kind
from support.matrix.colours import delta_e
from support.matrix.every import KINDS
from support.matrix.views import find_faults, running_servers


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def pair(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[Server, Server]]:
    """The application without pyramids, and with a pyramid of every original."""
    folder: Path = tmp_path_factory.mktemp("matrix")
    async with running_servers(folder) as both:
        yield both


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("kind", KINDS, ids=str)
async def test_the_chart_is_right_in_every_view(kind: Kind, pair: tuple[Server, Server]) -> None:
    assert await find_faults(*pair, kind) == []


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ((50, 2.6772, -79.7751), (50, 0, -82.7485), 2.0425),
        ((50, -1, 2), (50, 0, 0), 2.3669),
        ((50, 2.49, -0.001), (50, -2.49, 0.0011), 7.2195),
        ((50, 2.5, 0), (73, 25, -18), 27.1492),
        ((60.2574, -34.0099, 36.2677), (60.4626, -34.1751, 39.4387), 1.2644),
        ((2.0776, 0.0795, -1.135), (0.9033, -0.0636, -0.5514), 0.9082),
    ],
)
def test_the_distance_of_colours_is_that_of_the_published_pairs(
    one: tuple[float, ...], other: tuple[float, ...], expected: float
) -> None:
    """Sharma, Wu and Dalal, 2005, table 1."""
    assert np.abs(delta_e(one, other) - expected) < 0.0001
