"""Laws of the eight orientations."""

from hypothesis import given
from hypothesis import strategies as st

from iiif_server.iiif.geometry import Box, Dimensions
from iiif_server.plan.orientation import UPRIGHT, Orientation

turns = st.builds(Orientation, st.booleans(), st.integers(0, 3))


@st.composite
def boxes(draw: st.DrawFn) -> tuple[Box, Dimensions]:
    """Draw a box, and the dimensions of an image that contains it."""
    width, height = draw(st.integers(1, 10_000)), draw(st.integers(1, 10_000))
    x, y = draw(st.integers(0, width - 1)), draw(st.integers(0, height - 1))
    box = Box(x, y, draw(st.integers(1, width - x)), draw(st.integers(1, height - y)))
    return box, Dimensions(width, height)


@given(turns)
def test_orientation_and_its_inverse_cancel(turn: Orientation) -> None:
    assert turn.then(turn.inverse) == UPRIGHT
    assert turn.inverse.then(turn) == UPRIGHT
    assert turn.inverse.inverse == turn


@given(turns)
def test_upright_is_neutral(turn: Orientation) -> None:
    assert turn.then(UPRIGHT) == turn
    assert UPRIGHT.then(turn) == turn


@given(turns, turns, turns)
def test_composition_is_associative(
    first: Orientation, second: Orientation, third: Orientation
) -> None:
    assert first.then(second).then(third) == first.then(second.then(third))


@given(turns, turns)
def test_inverse_of_a_composition_is_the_reversed_inverses(
    first: Orientation, second: Orientation
) -> None:
    assert first.then(second).inverse == second.inverse.then(first.inverse)


@given(turns, turns, boxes())
def test_box_is_transformed_alike_in_one_step_or_two(
    first: Orientation, second: Orientation, place: tuple[Box, Dimensions]
) -> None:
    box, image = place
    between = first.apply_to_box(box, image)
    assert second.apply_to_box(between, first.apply(image)) == first.then(second).apply_to_box(
        box, image
    )
    assert second.apply(first.apply(image)) == first.then(second).apply(image)


@given(turns, boxes())
def test_box_is_restored_by_the_inverse(turn: Orientation, place: tuple[Box, Dimensions]) -> None:
    box, image = place
    assert turn.inverse.apply_to_box(turn.apply_to_box(box, image), turn.apply(image)) == box


@given(turns, boxes())
def test_transformed_box_is_inside_the_oriented_image(
    turn: Orientation, place: tuple[Box, Dimensions]
) -> None:
    box, image = place
    carried, turned = turn.apply_to_box(box, image), turn.apply(image)
    assert carried.dimensions == turn.apply(box.dimensions)
    assert min(carried.x, carried.y) >= 0
    assert carried.x + carried.width <= turned.width
    assert carried.y + carried.height <= turned.height
