"""The eight orientations, checked against arrays of pixels."""

from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from iiif_server.iiif.geometry import Box, Dimensions
from iiif_server.plan.orientation import FROM_EXIF, UPRIGHT, Orientation

Pixels = npt.NDArray[Any]

TURNS = [Orientation(mirror, quarters) for mirror in (False, True) for quarters in range(4)]
WIDTH, HEIGHT = 4, 3
STORED: Pixels = np.arange(WIDTH * HEIGHT).reshape(HEIGHT, WIDTH)

# "The 0th row is at the visual [...] of the image, and the 0th column is the visual [...]"
# -- Exif 2.32, 4.6.4, Orientation
EXIF: dict[int, Callable[[Pixels], Pixels]] = {
    1: lambda pixels: pixels,  # top, left-hand side
    2: np.fliplr,  # top, right-hand side
    3: lambda pixels: np.rot90(pixels, 2),  # bottom, right-hand side
    4: np.flipud,  # bottom, left-hand side
    5: np.transpose,  # left-hand side, top
    6: lambda pixels: np.rot90(pixels, -1),  # right-hand side, top
    7: lambda pixels: np.transpose(np.rot90(pixels, 2)),  # right-hand side, bottom
    8: lambda pixels: np.rot90(pixels, 1),  # left-hand side, bottom
}


def turned(pixels: Pixels, turn: Orientation) -> Pixels:
    """Mirror at the vertical axis, then rotate clockwise."""
    mirrored = np.fliplr(pixels) if turn.mirror else pixels
    return np.rot90(mirrored, -turn.quarters)


def cut(pixels: Pixels, box: Box) -> Pixels:
    return pixels[box.y : box.y + box.height, box.x : box.x + box.width]


def dimensions(pixels: Pixels) -> Dimensions:
    return Dimensions(pixels.shape[1], pixels.shape[0])


@pytest.mark.parametrize("value", range(1, 9))
def test_an_exif_orientation_is_made_upright(value: int) -> None:
    assert np.array_equal(turned(STORED, FROM_EXIF[value]), EXIF[value](STORED))


def test_the_exif_orientations_are_all_there_is() -> None:
    assert set(FROM_EXIF) == set(range(1, 9))
    assert set(FROM_EXIF.values()) == set(TURNS)


def test_nothing_has_to_be_done_to_an_upright_image() -> None:
    assert Orientation() == UPRIGHT
    assert np.array_equal(turned(STORED, UPRIGHT), STORED)


@pytest.mark.parametrize("turn", TURNS)
def test_a_turn_gives_these_dimensions(turn: Orientation) -> None:
    result = dimensions(turned(STORED, turn))
    assert turn.apply(Dimensions(WIDTH, HEIGHT)) == result
    assert turn.transposes is (result == Dimensions(HEIGHT, WIDTH))


@pytest.mark.parametrize("turn", TURNS)
def test_a_turn_reads_the_source_in_this_direction(turn: Orientation) -> None:
    rows, columns = np.indices((HEIGHT, WIDTH))
    along = 0 if turn.transposes else 1  # where the source's columns lie after the turn
    assert turn.reverses_x is bool((np.diff(turned(columns, turn), axis=along) < 0).all())
    assert turn.reverses_y is bool((np.diff(turned(rows, turn), axis=1 - along) < 0).all())


@pytest.mark.parametrize("turn", TURNS)
def test_a_turn_and_its_inverse_change_nothing(turn: Orientation) -> None:
    assert np.array_equal(turned(turned(STORED, turn), turn.inverse), STORED)


@pytest.mark.parametrize(("first", "second"), list(product(TURNS, TURNS)))
def test_two_turns_are_one(first: Orientation, second: Orientation) -> None:
    both = turned(turned(STORED, first), second)
    assert np.array_equal(both, turned(STORED, first.then(second)))


@pytest.mark.parametrize("turn", TURNS)
def test_a_box_is_carried_to_where_its_pixels_are(turn: Orientation) -> None:
    boxes = [
        Box(x, y, width, height)
        for x, y in product(range(WIDTH), range(HEIGHT))
        for width, height in product(range(1, WIDTH - x + 1), range(1, HEIGHT - y + 1))
    ]
    whole = turned(STORED, turn)
    for box in boxes:
        carried = turn.apply_to_box(box, dimensions(STORED))
        assert np.array_equal(cut(whole, carried), turned(cut(STORED, box), turn))
