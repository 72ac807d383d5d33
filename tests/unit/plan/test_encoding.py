"""Encoding options, also as text from environment variables."""

import pytest
from pydantic import ValidationError

from iiif_server.plan.encoding import EncodingOptions


@pytest.mark.parametrize("written", [16, "16"])
def test_the_depth_is_a_number(written: object) -> None:
    assert EncodingOptions.model_validate({"depth": written}).depth == 16


@pytest.mark.parametrize("written", [12, "12", "original", 16.5, None])
def test_other_depths_are_refused(written: object) -> None:
    with pytest.raises(ValidationError, match="8 or 16"):
        EncodingOptions.model_validate({"depth": written})
