"""Sizes, durations and pixel counts with units, as in settings."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated

from pydantic import BeforeValidator, Field

_BYTES = {
    "": 1,
    "b": 1,
    **{
        f"{letter}{end}": 1000**power
        for power, letter in enumerate("kmgtp", 1)
        for end in ("", "b")
    },
    **{f"{letter}ib": 1024**power for power, letter in enumerate("kmgtp", 1)},
    "byte": 1,
    "bytes": 1,
}
_SECONDS: dict[str, Decimal | int] = {
    **dict.fromkeys(("ms", "millisecond", "milliseconds"), Decimal("0.001")),
    **dict.fromkeys(("", "s", "sec", "secs", "second", "seconds"), 1),
    **dict.fromkeys(("m", "min", "mins", "minute", "minutes"), 60),
    **dict.fromkeys(("h", "hr", "hrs", "hour", "hours"), 3600),
    **dict.fromkeys(("d", "day", "days"), 86_400),
    **dict.fromkeys(("w", "week", "weeks"), 604_800),
    **dict.fromkeys(("y", "year", "years"), 31_536_000),
}
_PIXELS = {
    **dict.fromkeys(("", "p", "px", "pixel", "pixels"), 1),
    **dict.fromkeys(("kp", "kpx", "kilopixel", "kilopixels"), 10**3),
    **dict.fromkeys(("mp", "mpx", "megapixel", "megapixels"), 10**6),
    **dict.fromkeys(("gp", "gpx", "gigapixel", "gigapixels"), 10**9),
}
_QUANTITY = re.compile(r"(\d{1,30}(?:\.\d{1,12})?|\.\d{1,12})\s*([a-z]*)", re.ASCII)
_LARGEST_SIZE = 2**62
_LONGEST = 100 * 31_536_000
_MAX_PIXELS = 10**14


@dataclass(frozen=True, slots=True)
class Unit:
    """Text for settings with a unit: accepted values in messages, defaults in documentation."""

    expected: str
    """Accepted values as text: "a size such as ..."."""
    show: Callable[[float], str]


def parse_size(value: object) -> object:
    """Parse "10 GB" (decimal) or "500 MiB" (binary) to bytes; return other types unchanged.

    Raises ValueError for any other text.
    """
    return _whole(value, _BYTES, SIZE)


def parse_pixels(value: object) -> object:
    """Parse "400 MP" or "1 GP" to a number of pixels; return other types unchanged.

    Raises ValueError for any other text.
    """
    return _whole(value, _PIXELS, PIXELS)


def parse_duration(value: object) -> object:
    """Parse "30 days", "12h" or "1 h 30 min" to seconds; return other types unchanged.

    Raises ValueError for any other text.
    """
    if not isinstance(value, str):
        return value
    text, total, position = value.strip().lower(), Decimal(0), 0
    for found in re.finditer(rf"{_QUANTITY.pattern}\s*", text, re.ASCII):
        several = position > 0 or found.end() < len(text)
        if found.start() != position or found[2] not in _SECONDS or (several and not found[2]):
            break
        total += Decimal(found[1]) * _SECONDS[found[2]]
        position = found.end()
    if not text or position < len(text):
        raise ValueError(f"must be {DURATION.expected}")
    return int(total) if total == int(total) else float(total)


def _whole(value: object, units: Mapping[str, int], unit: Unit) -> object:
    if not isinstance(value, str):
        return value
    found = _QUANTITY.fullmatch(value.strip().lower())
    if found is None or found[2] not in units:
        raise ValueError(f"must be {unit.expected}")
    amount = Decimal(found[1]) * units[found[2]]
    if amount != int(amount):
        raise ValueError(f"must be {unit.expected}, and whole in its smallest unit")
    return int(amount)


def show_size(count: float) -> str:
    """Format a number of bytes in decimal units: "10 GB", "1.5 MB"."""
    return _scaled(count, ("bytes", "kB", "MB", "GB", "TB", "PB"))


def show_pixels(count: float) -> str:
    """Format a number of pixels: "400 MP", "1 GP"."""
    return _scaled(count, ("pixels", "kP", "MP", "GP"))


def show_duration(seconds: float) -> str:
    """Format a duration in the largest unit that gives a whole number: "30 days"."""
    for name, length in (("day", 86_400), ("hour", 3600), ("minute", 60)):
        if seconds and seconds % length == 0:
            return f"{seconds // length:g} {name}{'' if seconds == length else 's'}"
    return f"{seconds:g} second{'' if seconds == 1 else 's'}"


def _scaled(count: float, names: tuple[str, ...]) -> str:
    power = 0
    while power < len(names) - 1 and round(count / 1000**power, 1) >= 1000:  # noqa: PLR2004
        power += 1
    amount = f"{count / 1000**power:.1f}".removesuffix(".0")
    return f"{amount} {names[power]}"


SIZE = Unit('a size such as "10 GB" or "500 MiB"', show_size)
DURATION = Unit('a duration such as "30 days", "12 h" or "90 s"', show_duration)
PIXELS = Unit('a number of pixels such as "400 MP" or "1 GP"', show_pixels)

Size = Annotated[int, Field(ge=0, le=_LARGEST_SIZE), BeforeValidator(parse_size), SIZE]
"""Field type of a number of bytes; 0 is allowed."""
PositiveSize = Annotated[int, Field(gt=0, le=_LARGEST_SIZE), BeforeValidator(parse_size), SIZE]
Pixels = Annotated[int, Field(gt=0, le=_MAX_PIXELS), BeforeValidator(parse_pixels), PIXELS]
Seconds = Annotated[float, Field(ge=0, le=_LONGEST), BeforeValidator(parse_duration), DURATION]
"""Field type of a duration in seconds; 0 is allowed."""
PositiveSeconds = Annotated[
    float, Field(gt=0, le=_LONGEST), BeforeValidator(parse_duration), DURATION
]
WholeSeconds = Annotated[int, Field(ge=0, le=_LONGEST), BeforeValidator(parse_duration), DURATION]
