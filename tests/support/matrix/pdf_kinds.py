"""PDF: pages of the chart in sRGB, drawn and as an image, turned and cropped."""

from collections.abc import Iterator
from functools import partial

from support.matrix.chart import (
    ACROSS,
    DOWN,
    GRAYS,
    HEIGHT,
    RGB,
    WIDTH,
    Array,
    Kind,
    grays,
    painted,
)
from support.pdfs import pdf

_POINTS = 72 / 150
"""Of a pixel, at `pdf.dpi` by default."""
_WIDE, _HIGH = WIDTH * _POINTS, HEIGHT * _POINTS
_TURNS = {
    90: f"0 1 -1 0 {_HIGH} 0 cm",
    180: f"-1 0 0 -1 {_WIDE} {_HIGH} cm",
    270: f"0 -1 1 0 0 {_WIDE} cm",
}
"""What turns a page back before /Rotate turns it (ISO 32000-1, 8.3.4)."""


def _drawn(values: Array, operator: str) -> str:
    """A rectangle for each patch."""
    found = []
    for number, value in enumerate(values.reshape(len(values), -1) / 255):
        row, column = divmod(number, len(ACROSS) - 1)
        left, right = ACROSS[column : column + 2] * _POINTS
        top, bottom = DOWN[row : row + 2] * _POINTS
        colour = " ".join(f"{part:.5f}" for part in value)
        box = f"{left:.3f} {_HIGH - bottom:.3f} {right - left:.3f} {bottom - top:.3f}"
        found.append(f"{colour} {operator} {box} re f")
    return "\n".join(found)


def _image() -> str:
    """The chart as an inline image (8.9.7)."""
    data = painted(RGB).tobytes().hex()
    head = f"BI /W {WIDTH} /H {HEIGHT} /BPC 8 /CS /RGB /F /AHx ID\n"
    return f"{_WIDE} 0 0 {_HIGH} 0 0 cm\n{head}{data}>\nEI"


def kinds() -> Iterator[Kind]:
    """All kinds of PDF."""
    page = (0, 0, _WIDE, _HIGH)
    chart = _drawn(RGB, "rg")
    yield Kind("pdf drawn", partial(pdf, media=page, content=chart))
    yield Kind("pdf gray", partial(pdf, media=page, content=_drawn(GRAYS, "g")), grays()[1])
    yield Kind("pdf image", partial(pdf, media=page, content=_image()))
    for turn, matrix in _TURNS.items():
        box = page if turn == 180 else (0, 0, _HIGH, _WIDE)
        content = f"{matrix}\n{chart}"
        write = partial(pdf, media=box, content=content, extra=f"/Rotate {turn}")
        yield Kind(f"pdf /Rotate {turn}", write)
    half = (0, 0, _WIDE / 2, _HIGH / 2)
    content = f"0.5 0 0 0.5 0 0 cm\n{chart}"
    yield Kind("pdf UserUnit", partial(pdf, media=half, content=content, extra="/UserUnit 2"))
    crop = f"/CropBox [10 20 {10 + _WIDE} {20 + _HIGH}]"
    yield Kind(
        "pdf CropBox",
        partial(pdf, media=(0, 0, 200, 200), content=f"1 0 0 1 10 20 cm\n{chart}", extra=crop),
    )
