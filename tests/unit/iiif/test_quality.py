"""The quality parameter (Image API 3.0, 4.4; 2.1.1, 4.4)."""

import pytest

from iiif_server.errors import MalformedParameterError
from iiif_server.iiif.quality import Quality, parse_quality


@pytest.mark.parametrize("text", ["default", "color", "gray", "bitonal"])
def test_the_qualities_of_the_specification_are_read(text: str) -> None:
    assert parse_quality(text) == text


def test_there_is_no_quality_that_the_specification_does_not_name() -> None:
    assert set(Quality) == {"default", "color", "gray", "bitonal"}


@pytest.mark.parametrize(
    "text",
    ["", "native", "grey", "colour", "Default", "GRAY", "default ", "default\n", "\x00", "\ud800"],
)
def test_any_other_quality_is_malformed(text: str) -> None:
    with pytest.raises(MalformedParameterError) as refused:
        parse_quality(text)
    assert refused.value.parameter == "quality"
