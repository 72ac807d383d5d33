"""The rotation parameter (Image API 3.0, 4.3; 2.1.1, 4.3)."""

from fractions import Fraction

import pytest

from iiif_server.errors import MalformedParameterError
from iiif_server.iiif.rotation import Rotation, parse_rotation


@pytest.mark.parametrize(
    ("text", "degrees", "mirror", "quarters"),
    [
        ("0", "0", False, 0),
        ("90", "90", False, 1),
        ("180", "180", False, 2),
        ("270", "270", False, 3),
        ("360", "0", False, 0),
        ("360.0", "0", False, 0),
        ("090", "90", False, 1),
        ("90.0", "90", False, 1),
        ("22.5", "22.5", False, None),
        ("0.5", "0.5", False, None),
        (".5", "0.5", False, None),
        ("359.9999999999", "359.9999999999", False, None),
        ("22.500000000000004", "22.500000000000004", False, None),
        ("89.99999999999999", "89.99999999999999", False, None),
        ("!1e-7", "0.0000001", True, None),
        ("0.00000000000000", "0", False, 0),
        ("0e-7", "0", False, 0),
        ("900e-1", "90", False, 1),
        ("!0", "0", True, 0),
        ("!90", "90", True, 1),
        ("!180", "180", True, 2),
        ("!345", "345", True, None),
        ("!360", "0", True, 0),
    ],
)
def test_rotation_forms_are_read(
    text: str, degrees: str, *, mirror: bool, quarters: int | None
) -> None:
    rotation = parse_rotation(text)
    assert rotation == Rotation(Fraction(degrees), mirror)
    assert rotation.quarter_turns == quarters


@pytest.mark.parametrize(
    "text",
    [
        "",
        "!",
        "!!0",
        "0!",
        "! 0",
        "-1",
        "-0",
        "+90",
        "361",
        "360.0000000001",
        "!361",
        "720",
        "999999999",
        "9" * 5000,
        ".",
        "90.5.5",
        "9e1",
        "9e+1",
        "1e-100",
        "90.",
        f"0.{'1' * 101}",
        f"0.{'9' * 100_000}",
        f"360.{'0' * 99}1",
        "1/2",
        "0x5a",
        "nan",
        "inf",
        "90deg",
        "90 ",
        " 90",
        "90\n",
        "^90",
        "\uff19\uff10",
        "\u0669",
        "\xb2",
        "left",
        "\x00",
        "\ud800",
    ],
)
def test_any_other_rotation_is_malformed(text: str) -> None:
    with pytest.raises(MalformedParameterError) as refused:
        parse_rotation(text)
    assert refused.value.parameter == "rotation"


@pytest.mark.parametrize(
    ("written", "canonical"),
    [
        ("0", "0"),
        ("90.0", "90"),
        ("22.50", "22.5"),
        ("022.5", "22.5"),
        (".50", "0.5"),
        ("22.500000000000004", "22.500000000000004"),
        ("1.5e-7", "0.00000015"),
        ("!180.00", "!180"),
        ("!0", "!0"),
    ],
)
def test_a_rotation_is_an_integer_if_possible_and_has_no_trailing_zeros(
    written: str, canonical: str
) -> None:
    assert str(parse_rotation(written)) == canonical
