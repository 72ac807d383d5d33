"""`Cache-Control` as values."""

import pytest

from iiif_server.server.headers import Caching, strictest

HOUR, DAY = Caching(3600), Caching(86_400, immutable=True)


@pytest.mark.parametrize(
    ("caching", "text"),
    [
        (Caching(0), "max-age=0"),
        (HOUR, "max-age=3600"),
        (DAY, "max-age=86400, immutable"),
        (Caching(60, private=True), "private, max-age=60"),
        (Caching(0, private=True, immutable=True), "private, max-age=0, immutable"),
    ],
)
def test_it_is_written_as_rfc_9111_and_8246_have_it(caching: Caching, text: str) -> None:
    assert str(caching) == text


@pytest.mark.parametrize(
    ("parts", "whole"),
    [
        ([DAY], DAY),
        ([DAY, DAY], DAY),
        ([DAY, HOUR], HOUR),
        ([HOUR, DAY], HOUR),
        ([Caching(10, private=True), HOUR], Caching(10, private=True)),
        # Nobody may cache the whole for longer than its shortest part, private or not.
        ([Caching(600, private=True), Caching(5)], Caching(5, private=True)),
        ([Caching(5, immutable=True), Caching(600)], Caching(5)),
        ([Caching(5, immutable=True), Caching(600, immutable=True)], Caching(5, immutable=True)),
    ],
)
def test_several_parts_are_cached_as_the_strictest_of_them(
    parts: list[Caching], whole: Caching
) -> None:
    assert strictest(parts) == whole
