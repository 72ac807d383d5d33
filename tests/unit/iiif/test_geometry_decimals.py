"""Floating point values (Image API 3.0, 4.7)."""

import re
from fractions import Fraction

import pytest

from iiif_server.iiif.geometry import DECIMAL, decimal_text


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
        # As programs print binary floating point numbers:
        ("33.333333333333336", "33.333333333333336"),
        ("0.30000000000000004", "0.30000000000000004"),
        ("0.0000012345678901234567", "0.0000012345678901234567"),
        ("1e-7", "0.0000001"),
        ("1e-07", "0.0000001"),
        ("5.684341886080802e-14", "0.00000000000005684341886080802"),
        ("25e-1", "2.5"),
        ("10e-1", "1"),
        ("0e-99", "0"),
        ("1e-99", "0." + "0" * 98 + "1"),
        (f"0.{'3' * 100}", f"0.{'3' * 100}"),
        (f"1.{'0' * 100}", "1"),
        (f".{'0' * 99}1e-99", "0." + "0" * 198 + "1"),
    ],
)
def test_a_decimal_is_written_with_a_leading_zero_and_without_trailing_ones(
    written: str, shortest: str
) -> None:
    assert re.fullmatch(DECIMAL, written, re.ASCII)
    assert decimal_text(Fraction(written)) == shortest


@pytest.mark.parametrize(
    "text",
    [
        *("", ".", "-1", "+0.9", "1e2", "1,5", "1.2.3", " 1", "0x1", "inf"),
        *("1.", "1.e-7", "1E-7", "1e7", "1e+7", "1e-", "1e-100", "e-7", ".e-7", "1e-7.5"),
        *("1_0", "\u0661", "1\n", "1" * 10, f"0.{'1' * 101}", "9" * 5000, f"0.{'0' * 5000}"),
    ],
)
def test_a_decimal_has_no_sign_and_a_bounded_number_of_digits(text: str) -> None:
    assert not re.fullmatch(DECIMAL, text, re.ASCII)
