"""Originals to which the setting `range` applies."""

from dataclasses import replace

import pytest

from iiif_server.plan.header import Colour, ImageHeader, Reader, Treatment
from iiif_server.plan.original_format import OriginalFormat
from iiif_server.plan.sample_ranges import (
    has_range,
    needs_measuring,
    range_in_16_bits,
    with_treatment,
)
from support import headers

WORDS = replace(
    headers.JPEG,
    format=OriginalFormat.TIFF,
    colour=Colour.GRAY,
    max_shrink=1,
    jpeg=None,
    bits=16,
)
CHOSEN, MEASURED = Treatment(sample_range=(0.0, 9.0)), Treatment(measured=True)


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (WORDS, True),
        (replace(WORDS, bits=9, colour=Colour.RGB), True),
        (replace(WORDS, bits=32, reader=Reader.ARRAYS), True),
        (replace(WORDS, bits=32, reader=Reader.LIBJXL), False),
        (replace(WORDS, bits=8), False),
        (replace(WORDS, colour=Colour.OTHER), False),
        (replace(WORDS, reader=Reader.PILLOW), False),
    ],
)
def test_which_originals_have_one(header: ImageHeader, *, expected: bool) -> None:
    assert has_range(header) is expected
    assert needs_measuring(header, MEASURED) is expected
    assert with_treatment(header, CHOSEN).sample_range == (
        CHOSEN.sample_range if expected else None
    )


def test_a_range_is_measured_once_and_only_where_it_is_asked_for() -> None:
    known = replace(WORDS, sample_range=(1.0, 2.0))
    assert not needs_measuring(known, MEASURED)
    assert not needs_measuring(WORDS, CHOSEN)
    assert with_treatment(known, MEASURED).sample_range == (1.0, 2.0)
    assert with_treatment(known, Treatment()).sample_range is None, "as another replica measured it"


def test_samples_of_12_bits_are_spread_over_16_before() -> None:
    header = replace(WORDS, bits=12, sample_range=(0.0, 4095.0))
    assert range_in_16_bits(header) == pytest.approx((0, 65_535))
    assert range_in_16_bits(replace(header, reader=Reader.ARRAYS)) is None
    assert range_in_16_bits(WORDS) is None
