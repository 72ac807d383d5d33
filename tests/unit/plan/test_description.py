"""Plausible resolutions of originals, and those of derivatives."""

from dataclasses import replace

import pytest

from iiif_server.iiif.geometry import Dimensions
from iiif_server.plan.description import inches_per_pixel
from iiif_server.plan.original_format import OriginalFormat
from support import headers

HEADER = replace(
    headers.JPEG, format=OriginalFormat.TIFF, stored=Dimensions(600, 400), max_shrink=1, jpeg=None
)


@pytest.mark.parametrize(
    ("resolution", "expected"),
    [
        ((300.0, 300.0), 1 / 300),
        ((300.2, 299.9), 1 / 300.2),
        ((10.0, 10.0), 0.1),
        (None, None),
        ((9.0, 9.0), None),
        ((72.009, 72.009), None),
        ((96.012, 96.012), None),
        ((600.0, 300.0), None),
    ],
)
def test_resolutions_that_are_believed(
    resolution: tuple[float, float] | None, expected: float | None
) -> None:
    found = inches_per_pixel(replace(HEADER, resolution=resolution))
    assert found == (expected and pytest.approx(expected))


def test_the_resolution_of_a_pdf_is_chosen_here() -> None:
    pdf = replace(HEADER, format=OriginalFormat.PDF, resolution=(72.0, 72.0))
    assert inches_per_pixel(pdf) == pytest.approx(1 / 72)
