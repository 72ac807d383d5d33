"""The limits that hold where no settings are given."""

import pytest

from iiif_server.iiif.geometry import square
from iiif_server.iiif.size import parse_size, resolve_size
from iiif_server.iiif.versions import V3
from iiif_server.images.limits import LimitsOptions


@pytest.mark.parametrize(
    ("side", "area"),
    [
        (1, 25_000_000),
        (200, 25_000_000),
        (5000, 25_000_000),
        (5001, 5001**2),
        (20_000, 400_000_000),
        (30_000, 400_000_000),
    ],
)
def test_upscaling_ends_at_25_megapixels_or_at_the_original(side: int, area: int) -> None:
    assert LimitsOptions().output.of(square(side)).max_area == area


@pytest.mark.parametrize("size", ["^!99999,99999", "^max"])
def test_a_small_original_makes_no_huge_image(size: str) -> None:
    limits = LimitsOptions().output.of(square(200))
    assert resolve_size(parse_size(size, V3), square(200), limits) == square(5000)
