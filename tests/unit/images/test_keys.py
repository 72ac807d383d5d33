"""What a derivative is kept under."""

import re
from dataclasses import replace
from fractions import Fraction

import pytest

from iiif_server.cache.entries import EntryKey
from iiif_server.iiif.formats import Format
from iiif_server.iiif.geometry import Box, Dimensions
from iiif_server.iiif.identifier import Identifier
from iiif_server.iiif.quality import Quality
from iiif_server.iiif.request import Rendition
from iiif_server.iiif.rotation import Rotation
from iiif_server.images.keys import derivative_key, digest, encoding_text, group_of
from iiif_server.plan.encoding import EncodingOptions
from iiif_server.plan.render_plan import Engine

RENDITION = Rendition(
    Box(10, 20, 30, 40),
    Dimensions(15, 20),
    Rotation(Fraction(0), mirror=False),
    Quality.DEFAULT,
    Format.JPG,
)


def key(
    rendition: Rendition = RENDITION,
    *,
    group: str = "0" * 32,
    fingerprint: str = "original",
    engine: Engine = Engine.RASTER,
    encoding: EncodingOptions | None = None,
) -> EntryKey:
    return derivative_key(
        group, fingerprint, rendition, engine, encoding_text(encoding or EncodingOptions())
    )


def test_a_digest_is_32_hexadecimal_digits() -> None:
    for parts in ((), ("",), ("a", "b"), ("\ud800",), ("x" * 10_000,)):
        assert re.fullmatch(r"[0-9a-f]{32}", digest(*parts))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("ab", "c"), ("a", "bc")),
        (("ab",), ("a", "b")),
        (("a", ""), ("a",)),
        (("", "a"), ("a", "")),
        (("a", "b"), ("b", "a")),
        ((), ("",)),
        (("\xe9",), ("e\u0301",)),
    ],
)
def test_a_digest_tells_where_one_text_ends(one: tuple[str, ...], other: tuple[str, ...]) -> None:
    assert digest(*one) != digest(*other)
    assert digest(*one) == digest(*one)


def test_a_group_is_all_that_is_made_of_one_identifier() -> None:
    assert group_of(Identifier("a", "b")) == group_of(Identifier("a", "b"))
    assert group_of(Identifier("a", "b")) != group_of(Identifier("a", "c"))
    assert group_of(Identifier("a", "b")) != group_of(Identifier("b", "b"))


def test_a_key_is_in_the_group_of_its_original() -> None:
    assert key(group="f" * 32).group == "f" * 32
    assert re.fullmatch(r"[0-9a-f]{32}", key().digest)


def test_the_same_rendition_has_the_same_key() -> None:
    again = replace(RENDITION, rotation=Rotation(Fraction("0.0"), mirror=False))
    assert key(again) == key()


@pytest.mark.parametrize(
    "other",
    [
        key(fingerprint="replaced"),
        key(replace(RENDITION, region=Box(11, 20, 30, 40))),
        key(replace(RENDITION, region=Box(10, 21, 30, 40))),
        key(replace(RENDITION, region=Box(10, 20, 31, 40))),
        key(replace(RENDITION, region=Box(10, 20, 30, 41))),
        key(replace(RENDITION, size=Dimensions(16, 20))),
        key(replace(RENDITION, size=Dimensions(15, 21))),
        key(replace(RENDITION, size=Dimensions(20, 15))),
        key(replace(RENDITION, rotation=Rotation(Fraction(90), mirror=False))),
        key(replace(RENDITION, rotation=Rotation(Fraction(0), mirror=True))),
        key(replace(RENDITION, rotation=Rotation(Fraction(1, 10**10), mirror=False))),
        key(replace(RENDITION, quality=Quality.GRAY)),
        key(replace(RENDITION, format=Format.PNG)),
        key(engine=Engine.JPEGTRAN),
        key(encoding=EncodingOptions(jpeg_quality=84)),
        key(encoding=EncodingOptions(webp_effort=3)),
    ],
)
def test_all_that_decides_the_bytes_decides_the_key(other: EntryKey) -> None:
    assert other.digest != key().digest


def test_all_pages_of_an_original_are_of_one_group() -> None:
    first = group_of(Identifier("t", "a.tif"))
    assert group_of(Identifier("t", "a.tif;2")) == first
    assert group_of(Identifier("t", "a.tif;x")) != first
