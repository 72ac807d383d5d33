"""Decimal numbers as the Image API writes them, kept exact."""

from fractions import Fraction

DECIMAL = r"(?:(?:\d{1,9}(?:\.\d{1,100})?|\.\d{1,100})(?:e-\d{1,2})?)"
"""A non-negative decimal of bounded length, as a regular expression; `Fraction` reads it.

Programs print binary floating point numbers with 17 significant digits (33.333333333333336), with
up to 100 decimals if told to, and those below a millionth with an exponent (JavaScript: 1e-7,
Python: 1e-07). All these are read as they stand. Image API 3.0, 4.7, knows no exponent: answers
write out all decimals.
"""


def decimal_text(value: Fraction) -> str:
    """The shortest decimal for a value that was read from one: no trailing zeros, a leading one."""
    if value.denominator == 1:
        return str(value.numerator)
    whole, rest = divmod(value, 1)
    places = rest.denominator.bit_length()  # it divides 10 to the power of its number of bits
    return f"{whole}.{int(rest * 10**places):0{places}d}".rstrip("0")
