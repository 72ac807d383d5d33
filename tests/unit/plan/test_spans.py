"""Which originals have a range of samples that can be chosen."""

from dataclasses import replace

import pytest

from iiif_server.plan.header import Colour, ImageHeader, Reader, Treatment
from iiif_server.plan.original_format import OriginalFormat
from iiif_server.plan.spans import has_range, is_measured, span_in_words, treated
from support import headers

WORDS = replace(
    headers.JPEG,
    format=OriginalFormat.TIFF,
    colour=Colour.GRAY,
    max_shrink=1,
    jpeg=None,
    bits=16,
)
CHOSEN, MEASURED = Treatment(span=(0.0, 9.0)), Treatment(measured=True)


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
    assert is_measured(header, MEASURED) is expected
    assert treated(header, CHOSEN).span == (CHOSEN.span if expected else None)


def test_a_range_is_measured_once_and_only_where_it_is_asked_for() -> None:
    known = replace(WORDS, span=(1.0, 2.0))
    assert not is_measured(known, MEASURED)
    assert not is_measured(WORDS, CHOSEN)
    assert treated(known, MEASURED).span == (1.0, 2.0)
    assert treated(known, Treatment()).span is None, "as another replica measured it"


def test_samples_of_12_bits_are_spread_over_16_before() -> None:
    header = replace(WORDS, bits=12, span=(0.0, 4095.0))
    assert span_in_words(header) == pytest.approx((0, 65_535))
    assert span_in_words(replace(header, reader=Reader.ARRAYS)) is None
    assert span_in_words(WORDS) is None
