"""Decimal numbers as the Image API writes them, kept exact."""

from fractions import Fraction

DECIMAL = r"(?:\d{1,9}(?:\.\d{1,10})?|\.\d{1,10})"
"""A non-negative decimal of bounded length, as a regular expression."""


def decimal_text(value: Fraction) -> str:
    """The shortest decimal for a value that was read from one: no trailing zeros, a leading one."""
    if value.denominator == 1:
        return str(value.numerator)
    whole, rest = divmod(value, 1)
    return f"{whole}.{int(rest * 10**10):010d}".rstrip("0")
