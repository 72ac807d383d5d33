"""The range of samples in the settings of a type."""

import pytest
from pydantic import ValidationError

from iiif_server.plan.header import Treatment
from iiif_server.sources.base import TypeOptions


@pytest.mark.parametrize(
    ("written", "treatment"),
    [
        ("type", Treatment()),
        ("data", Treatment(measured=True)),
        ([0, 4095], Treatment(sample_range=(0.0, 4095.0))),
        ((-1.5, 2), Treatment(sample_range=(-1.5, 2.0))),
        ("[0, 5]", Treatment(sample_range=(0.0, 5.0))),
    ],
)
def test_ranges(written: object, treatment: Treatment) -> None:
    options = TypeOptions.model_validate({"source": "disk", "range": written})
    assert options.treatment == treatment


@pytest.mark.parametrize(
    "written",
    ["auto", "[0", "[1]", [3, 3], [5, 1], [1], [0, 1, 2], [float("nan"), 2], [0, "a"], {"a": 1}, 7],
)
def test_other_ranges_are_refused(written: object) -> None:
    with pytest.raises(ValidationError, match="two numbers, the smaller first"):
        TypeOptions.model_validate({"source": "disk", "range": written})
