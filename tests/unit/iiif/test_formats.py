"""The format parameter (Image API 3.0, 4.5; 2.1.1, 4.5)."""

import pytest

from iiif_server.errors import MalformedParameterError, UnsupportedFormatError
from iiif_server.iiif.formats import FORMAT_FACTS, Format, parse_format, unsupported_format_error


@pytest.mark.parametrize(
    ("extension", "media_type"),
    [
        ("jpg", "image/jpeg"),
        ("tif", "image/tiff"),
        ("png", "image/png"),
        ("gif", "image/gif"),
        ("jp2", "image/jp2"),
        ("pdf", "application/pdf"),
        ("webp", "image/webp"),
        ("avif", "image/avif"),
    ],
)
def test_an_extension_is_read_and_has_its_media_type(extension: str, media_type: str) -> None:
    format_ = parse_format(extension)
    assert format_ == extension
    assert FORMAT_FACTS[format_].media_type == media_type


@pytest.mark.parametrize("text", ["bmp", "jpeg", "JPG", "Png", "html", "exe", "0", "a" * 16])
def test_a_well_formed_extension_of_no_format_here_is_unsupported(text: str) -> None:
    with pytest.raises(UnsupportedFormatError) as refused:
        parse_format(text)
    assert text in str(refused.value)
    assert "jpg" in str(refused.value)


@pytest.mark.parametrize(
    "text",
    ["", ".", ".jpg", "jpg ", " jpg", "jpg\n", "jp/g", "jpg?x", "../x", "j\xf6g", "\x00", "\ud800"],
)
def test_what_can_be_no_extension_is_malformed(text: str) -> None:
    with pytest.raises(MalformedParameterError) as refused:
        parse_format(text)
    assert refused.value.parameter == "format"


def test_a_refusal_names_the_formats_that_are_made_here() -> None:
    message = str(unsupported_format_error("jp2", (Format.JPG, Format.PNG)))
    assert '"jp2"' in message
    assert "jpg, png" in message


def test_every_format_has_facts() -> None:
    assert set(FORMAT_FACTS) == set(Format)


@pytest.mark.parametrize(
    ("format_", "side"), [(Format.JPG, 65_500), (Format.GIF, 65_535), (Format.WEBP, 16_383)]
)
def test_the_longest_side_is_what_the_file_format_and_its_encoder_can_hold(
    format_: Format, side: int
) -> None:
    assert FORMAT_FACTS[format_].max_side == side


@pytest.mark.parametrize("format_", [Format.JPG, Format.PDF])
def test_formats_without_transparency_are_known(format_: Format) -> None:
    assert not FORMAT_FACTS[format_].transparent


@pytest.mark.parametrize("format_", [Format.PNG, Format.GIF, Format.WEBP])
def test_formats_with_transparency_are_known(format_: Format) -> None:
    assert FORMAT_FACTS[format_].transparent
