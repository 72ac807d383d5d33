"""Grammar of the five parameters: parsing inverts formatting, and other texts are refused."""

from fractions import Fraction

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from iiif_server.errors import MalformedParameterError, UnsupportedFormatError
from iiif_server.iiif.formats import Format, parse_format
from iiif_server.iiif.quality import Quality, parse_quality
from iiif_server.iiif.region import (
    FullRegion,
    PercentRegion,
    PixelRegion,
    Region,
    SquareRegion,
    parse_region,
)
from iiif_server.iiif.rotation import Rotation, parse_rotation
from iiif_server.iiif.size import (
    ConfinedSize,
    ExactSize,
    HeightSize,
    MaxSize,
    PercentSize,
    Size,
    WidthSize,
    parse_size,
    size_text,
)
from iiif_server.iiif.versions import V2, V3, ImageApiVersion

pixels = st.integers(0, 999_999_999)
extents = st.integers(1, 999_999_999)
decimals = st.builds(
    lambda whole, places, digits: Fraction(whole) + Fraction(digits % 10**places, 10**places),
    st.integers(0, 999_999_999),
    st.integers(0, 100),
    st.integers(0, 10**100),
)
positive_decimals = decimals.filter(bool)

printed = st.one_of(
    st.floats(0, 100, allow_subnormal=False).filter(lambda value: value == 0 or value > 1e-80),
    st.floats(0, 1e-6, exclude_min=True).filter(lambda value: value > 1e-80),
)
"""Numbers that viewers compute with."""

regions: st.SearchStrategy[Region] = st.one_of(
    st.just(FullRegion()),
    st.just(SquareRegion()),
    st.builds(PixelRegion, pixels, pixels, extents, extents),
    st.builds(PercentRegion, decimals, decimals, positive_decimals, positive_decimals),
)
rotations = st.builds(Rotation, decimals.map(lambda degrees: degrees % 360), st.booleans())


@st.composite
def sizes(draw: st.DrawFn, version: ImageApiVersion) -> Size:
    caret = draw(st.booleans()) if version.caret_upscales else False
    may_exceed = caret or not version.caret_upscales
    forms: st.SearchStrategy[Size] = st.one_of(
        st.builds(MaxSize, st.just(caret)),
        st.builds(WidthSize, extents, st.just(may_exceed)),
        st.builds(HeightSize, extents, st.just(may_exceed)),
        st.builds(PercentSize, positive_decimals, st.just(may_exceed)),
        st.builds(ExactSize, extents, extents, st.just(may_exceed)),
        st.builds(ConfinedSize, extents, extents, st.just(caret)),
    )
    return draw(forms)


# Anything at all, and things that look almost right.
garbage = st.one_of(
    st.text(),
    st.text(st.characters(categories=["Cs", "Cc", "Nd", "No", "Zs", "Po"])),
    st.text(alphabet="0123456789.,:!^pctfulsqarexm%+-e \n", max_size=24),
    st.from_regex(r"(pct:)?[!^]*[\d.]*(,[\d.]*)*"),
)


@given(regions)
def test_parsed_region_equals_the_formatted_one(region: Region) -> None:
    assert parse_region(str(region)) == region


@pytest.mark.parametrize("version", [V2, V3], ids=["2.1", "3.0"])
@given(data=st.data())
def test_parsed_size_equals_the_formatted_one(
    version: ImageApiVersion, data: st.DataObject
) -> None:
    size = data.draw(sizes(version))
    assert parse_size(size_text(size, version), version) == size


@given(rotations)
def test_parsed_rotation_equals_the_formatted_one(rotation: Rotation) -> None:
    assert parse_rotation(str(rotation)) == rotation


@given(rotations)
def test_rotation_is_formatted_as_short_as_possible(rotation: Rotation) -> None:
    # "an integer if possible, otherwise a floating point value [...] with a leading 0 if less than
    #  1 [...] and SHOULD NOT include trailing zeros" -- Image API 3.0, 4.7 and 4.8
    number = str(rotation).removeprefix("!")
    whole, point, rest = number.partition(".")
    assert str(int(whole)) == whole
    assert bool(point) is (rotation.degrees.denominator != 1)
    assert not rest.endswith("0")
    assert Fraction(number) == rotation.degrees


@given(garbage)
@example("0,0,1,1\n")
@example("\u0661,\u0661,\u0661,\u0661")
@example("9" * 5000 + ",0,1,1")
def test_any_text_is_a_region_or_malformed(text: str) -> None:
    try:
        region = parse_region(text)
    except MalformedParameterError:
        return
    assert parse_region(str(region)) == region


@pytest.mark.parametrize("version", [V2, V3], ids=["2.1", "3.0"])
@given(text=garbage)
@example(text="max\n")
@example(text="\u0661,")
@example(text="9" * 5000 + ",")
def test_any_text_is_a_size_or_malformed(version: ImageApiVersion, text: str) -> None:
    try:
        size = parse_size(text, version)
    except MalformedParameterError:
        return
    assert parse_size(size_text(size, version), version) == size


@given(garbage)
@example("90\n")
@example("\u0669\u0660")
@example("9" * 5000)
def test_any_text_is_a_rotation_or_malformed(text: str) -> None:
    try:
        rotation = parse_rotation(text)
    except MalformedParameterError:
        return
    assert 0 <= rotation.degrees < 360
    assert parse_rotation(str(rotation)) == rotation


@given(garbage | st.sampled_from(Quality).map(str))
@example("default\n")
def test_any_text_is_a_quality_or_malformed(text: str) -> None:
    try:
        quality = parse_quality(text)
    except MalformedParameterError:
        assert text not in set(Quality)
        return
    assert quality == text


@given(garbage | st.sampled_from(Format).map(str) | st.from_regex(r"[A-Za-z0-9]{1,17}\n?"))
@example("jpg\n")
def test_any_text_is_a_format_or_unsupported_or_malformed(text: str) -> None:
    try:
        format_ = parse_format(text)
    except (MalformedParameterError, UnsupportedFormatError):
        assert text not in set(Format)
        return
    assert format_ == text


@given(garbage)
def test_error_of_any_text_is_one_printable_line(text: str) -> None:
    with pytest.raises(MalformedParameterError) as refused:
        parse_region("\n" + text)
    assert str(refused.value).isprintable()


@given(printed, printed)
def test_float_is_parsed_exactly_as_programs_print_it(left: float, top: float) -> None:
    region = parse_region(f"pct:{left!r},{top!r},50,50")
    assert region == PercentRegion(
        Fraction(repr(left)), Fraction(repr(top)), Fraction(50), Fraction(50)
    )
    assert parse_rotation(repr(left)).degrees == Fraction(repr(left))
