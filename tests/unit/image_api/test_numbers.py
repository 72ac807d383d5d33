"""Floating point values (Image API 3.0, 4.7)."""

import re
from fractions import Fraction

import pytest

from iiif_server.image_api.numbers import DECIMAL, decimal_text


@pytest.mark.parametrize(
    ("written", "shortest"),
    [
        ("0", "0"),
        ("90", "90"),
        ("090", "90"),
        ("22.5", "22.5"),
        ("22.50", "22.5"),
        ("90.0", "90"),
        (".9", "0.9"),
        ("0.90", "0.9"),
        ("0.05", "0.05"),
        ("100", "100"),
        ("33.3333333333", "33.3333333333"),
        ("0.0000000001", "0.0000000001"),
        ("999999999.9999999999", "999999999.9999999999"),
    ],
)
def test_a_decimal_is_written_with_a_leading_zero_and_without_trailing_ones(
    written: str, shortest: str
) -> None:
    assert re.fullmatch(DECIMAL, written)
    assert decimal_text(Fraction(written)) == shortest


@pytest.mark.parametrize("text", ["", ".", "-1", "+0.9", "1e2", "1,5", "1.2.3", " 1", "0x1", "inf"])
def test_a_decimal_consists_of_digits_and_one_point_only(text: str) -> None:
    assert not re.fullmatch(DECIMAL, text)
