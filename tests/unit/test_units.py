"""Sizes, durations and pixels with units."""

import pytest
from pydantic import TypeAdapter, ValidationError

from iiif_server.units import (
    Pixels,
    PositiveSeconds,
    PositiveSize,
    Seconds,
    Size,
    WholeSeconds,
    show_duration,
    show_pixels,
    show_size,
)

SIZE: TypeAdapter[int] = TypeAdapter(Size)
POSITIVE_SIZE: TypeAdapter[int] = TypeAdapter(PositiveSize)
SECONDS: TypeAdapter[float] = TypeAdapter(Seconds)
POSITIVE_SECONDS: TypeAdapter[float] = TypeAdapter(PositiveSeconds)
WHOLE_SECONDS: TypeAdapter[int] = TypeAdapter(WholeSeconds)
PIXELS: TypeAdapter[int] = TypeAdapter(Pixels)


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("10GB", 10_000_000_000),
        ("10 gb", 10_000_000_000),
        ("500 MiB", 524_288_000),
        ("1.5 kB", 1500),
        (".5 MB", 500_000),
        ("2K", 2000),
        ("1 TiB", 1_099_511_627_776),
        ("12 bytes", 12),
        ("12", 12),
        (" 3 MB ", 3_000_000),
        (7, 7),
        (0, 0),
    ],
)
def test_sizes(text: object, count: int) -> None:
    assert SIZE.validate_python(text) == count


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("30 days", 2_592_000),
        ("12h", 43_200),
        ("90 s", 90),
        ("1 h 30 min", 5400),
        ("1h30m", 5400),
        ("2 weeks", 1_209_600),
        ("1 Year", 31_536_000),
        ("250 ms", 0.25),
        ("1.5 minutes", 90),
        ("45", 45),
        (0.5, 0.5),
    ],
)
def test_durations(text: object, seconds: float) -> None:
    assert SECONDS.validate_python(text) == seconds


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("400 MP", 400_000_000),
        ("1 GP", 1_000_000_000),
        ("1.5gp", 1_500_000_000),
        ("25 megapixels", 25_000_000),
        ("640 kP", 640_000),
        ("99 px", 99),
        ("99", 99),
    ],
)
def test_pixels(text: str, count: int) -> None:
    assert PIXELS.validate_python(text) == count


@pytest.mark.parametrize(
    ("adapter", "value"),
    [
        (SIZE, "plenty"),
        (SIZE, ""),
        (SIZE, "GB"),
        (SIZE, "-1 GB"),
        (SIZE, -1),
        (SIZE, "10 days"),
        (SIZE, "10 GBit"),
        (SIZE, "1.5 bytes"),
        (SIZE, "1,000"),
        (SIZE, "9999999 PB"),
        (SIZE, 10**30),
        (POSITIVE_SIZE, "0 GB"),
        (SECONDS, "soon"),
        (SECONDS, ""),
        (SECONDS, "30 dayz"),
        (SECONDS, "1 month"),
        (SECONDS, "1 h 30"),
        (SECONDS, "30 1 h"),
        (SECONDS, "h"),
        (SECONDS, "-1 s"),
        (SECONDS, -1),
        (SECONDS, "nan"),
        (SECONDS, "1000 years"),
        (POSITIVE_SECONDS, "0 s"),
        (WHOLE_SECONDS, "250 ms"),
        (PIXELS, "4 MB"),
        (PIXELS, "0 MP"),
        (PIXELS, "1e9"),
        (PIXELS, "0.5 px"),
        (PIXELS, "20000x20000"),
        (PIXELS, "9" * 31),
    ],
)
def test_what_is_refused(adapter: TypeAdapter[float], value: object) -> None:
    with pytest.raises(ValidationError):
        adapter.validate_python(value)


def test_values_are_shown_with_units() -> None:
    assert [show_size(n) for n in (0, 999, 1500, 10**10, 999_960)] == [
        "0 bytes",
        "999 bytes",
        "1.5 kB",
        "10 GB",
        "1 MB",
    ]
    assert [show_duration(n) for n in (0, 1, 90, 60, 3600, 7200, 86_400, 2_592_000)] == [
        "0 seconds",
        "1 second",
        "90 seconds",
        "1 minute",
        "1 hour",
        "2 hours",
        "1 day",
        "30 days",
    ]
    assert [show_pixels(n) for n in (99, 4_000_000, 10**9)] == ["99 pixels", "4 MP", "1 GP"]
