"""Names, frame and title of the sample image, as SVG elements with bounding boxes."""

import math
from collections.abc import Iterator, Sequence
from html import escape
from itertools import cycle, islice
from random import Random
from typing import NamedTuple

from iiif_server.commands.sample.terrain import Box, Point, Sheet, Spot

_INK, _PAPER, _WATER, _RUBRIC = "#3a2d24", "#f1e7cd", "#41697c", "#8c2f22"
_ITALIC, _BOLD = 'font-style="italic"', 'font-weight="bold"'
_LEGIBLE = 2.5
"""Font size in pixels below which names are left out."""
_DEGREE = 1000.0
_ROSE = 400.0


class Label(NamedTuple):
    """SVG element with its bounding box."""

    box: Box
    svg: str


class TextStyle(NamedTuple):
    """Text style; spacing and halo are relative to the font size."""

    size: float
    fill: str = _INK
    look: str = ""
    spacing: float = 0.0
    halo: float = 0.14

    def box(self, at: Point, text: str, anchor: str = "middle") -> Box:
        """Estimate the bounding box of a line of text, because the font is unknown."""
        wide = sum(0.74 if letter.isupper() else 0.56 for letter in text)
        length = (wide + len(text) * self.spacing) * self.size
        left = at[0] - {"start": 0.0, "middle": length / 2, "end": length}[anchor]
        return Box(left, at[1] - self.size * 0.8, left + length, at[1] + self.size * 0.25)

    def line(self, at: Point, text: str, anchor: str = "middle", tilt: float = 0.0) -> Label:
        """Return a line of text with its baseline at a point, rotated by `tilt` degrees."""
        x, y = at
        box = self.box(at, text, anchor)
        # The installed font may be wider than the estimate.
        reach = self.size + (box.right - box.left) * (0.3 + abs(math.sin(math.radians(tilt))))
        turn = f' transform="rotate({tilt:g} {x:.1f} {y:.1f})"' if tilt else ""
        svg = (
            f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{self.size:g}" '
            f'letter-spacing="{self.spacing * self.size:.1f}" fill="{self.fill}" {self.look} '
            f'stroke="{_PAPER}" stroke-opacity="0.72" stroke-width="{self.size * self.halo:.1f}" '
            f'paint-order="stroke"{turn}>{escape(text)}</text>'
        )
        return Label(box.grown(reach), svg)


class OccupiedArea:
    """Occupancy grid of the map, so that names do not overlap."""

    _STEP = 10

    def __init__(self, chart: Box) -> None:
        # One byte per cell: 1 if it is occupied. All cells outside of the map are.
        columns, rows = int(chart.right // self._STEP) + 99, int(chart.bottom // self._STEP) + 99
        self._rows = [bytearray(b"\1" * columns) for _ in range(rows)]
        self.take(chart.grown(-50), b"\0")

    def claim(self, box: Box) -> bool:
        """Occupy a box if it is free; return whether it was."""
        across, down = self._squares(box)
        free = not any(any(row[across]) for row in self._rows[down])
        if free:
            self.take(box)
        return free

    def take(self, box: Box, value: bytes = b"\1") -> None:
        """Mark a box as occupied, or as free with `value` 0."""
        across, down = self._squares(box)
        for row in self._rows[down]:
            row[across] = value * len(row[across])

    def _squares(self, box: Box) -> tuple[slice, slice]:
        left, top, right, bottom = (max(0, int(edge // self._STEP)) for edge in box)
        return slice(left, right + 1), slice(top, bottom + 1)


_OCEAN = TextStyle(150, _WATER, _ITALIC, 0.42, 0)
_SEA = TextStyle(74, _WATER, _ITALIC, 0.24, 0)
_PROVINCE = TextStyle(96, _RUBRIC, "", 0.7)
_RANGE = TextStyle(70, _INK, f"{_ITALIC} {_BOLD}", 0.45)
_TITLE = (
    (200, "A New & Accurate Chart", TextStyle(96, _INK, _ITALIC, 0.02)),
    (306, "OF THE ISLAND OF", TextStyle(50, _INK, "", 0.3)),
    (580, "TESSERA", TextStyle(290, _RUBRIC, _BOLD, 0.06)),
    (758, "with its Shores, Hills & Inland Parts,", TextStyle(72, _INK, _ITALIC)),
    (852, "wherein each Place is shewn at every Size", TextStyle(72, _INK, _ITALIC)),
    (984, "MDCCLI", TextStyle(56, _INK, "", 0.4)),
    (1070, "Reader, thou hast come to the foot of the pyramid;", TextStyle(17, _INK, _ITALIC)),
    (1094, "there is nothing smaller than this.", TextStyle(12, _INK, _ITALIC)),
)
# Large names: text, style, position from the middle in units of the sheet, tilt in degrees.
_LARGE = (
    ("OCEAN OF PYRAMIDS", _OCEAN, 0.47, -0.86, 0), ("SEA OF TILES", _OCEAN, -0.90, -0.20, 0),
    ("Manifest Sound", _SEA, -0.74, 0.13, -6), ("Canvas Sea", _SEA, -0.12, 0.80, 5),
    ("The Margins", _SEA, 0.55, 0.82, 0), ("Gulf of Layers", _SEA, 1.10, -0.76, 10),
    ("BICUBIC RANGE", _RANGE, 0.58, -0.30, -22), ("LANCZOS MOUNTAINS", _RANGE, 0.38, -0.07, 8),
    ("PERLIN FELLS", _RANGE, 0.36, 0.13, 4), ("FOLIO", _PROVINCE, -0.07, -0.54, 0),
    ("GOUACHE", _PROVINCE, 0.03, -0.28, 0), ("QUARTO", _PROVINCE, 0.88, -0.60, 0),
    ("VERSO", _PROVINCE, -0.17, 0.02, 0), ("MEZZOTINT", _PROVINCE, 0.56, 0.36, 0),
    ("RECTO", _PROVINCE, 0.06, 0.43, 0), ("HERBARIA", _PROVINCE, -0.53, 0.45, -4),
    ("VELLUM", _PROVINCE, 0.68, 0.58, 0),
)  # fmt: skip
_CITIES = ("MANIFEST", "CANVAS", "HOLOTYPE", "ROTUNDA", "SEQUENCE", "ANNOTATION", "PALIMPSEST")
_TOWNS = (
    "Vignette", "Incunable", "Gallery", "Quire", "Colophon", "Rubric", "Marginal", "Specimen",
    "Codex", "Engraver's Hill", "Archive", "Lithograph", "Gilding", "Catalogue", "Octavo",
    "Aquatint", "Watermark", "Chartula", "Burin", "Parchment", "Sepia", "Ochre", "Umber", "Lapis",
    "Region Head", "Size Point", "Rotation Rock", "Quality Ness", "Format Cross", "Level Zero",
)  # fmt: skip
_HEADS = (
    "Ash", "Alder", "Amber", "Birch", "Black", "Bright", "Clay", "Cold", "Elm", "Fair", "Fen",
    "Fern", "Fox", "Glen", "Grey", "Hare", "Hawk", "Hazel", "Heath", "Holm", "Lark", "Marl",
    "Mill", "Oak", "Otter", "Raven", "Red", "Rook", "Rush", "Sedge", "Silver", "Stan", "Swan",
    "Thorn", "Wal", "White", "Wolf", "Wren", "Yar", "Yew",
)  # fmt: skip
_TAILS = (
    "bourne", "bridge", "bury", "by", "combe", "cote", "dale", "den", "field", "fold", "ford",
    "gate", "ham", "hurst", "leigh", "low", "mere", "stead", "stow", "thorpe", "ton", "wick",
    " Barn", " Beacon", " Chapel", " Copse", " Farm", " Grange", " Inn", " Kiln", " Orchard",
)  # fmt: skip
# Kinds of settlements: text style, number, distance and largest height.
_RANKS = (
    (TextStyle(78, _INK, _BOLD, 0.06), 7, 1300, 0.2),
    (TextStyle(54, _INK, _BOLD), 22, 600, 0.3),
    (TextStyle(40), 60, 340, 0.4),
    (TextStyle(27), 240, 170, 0.44),
    (TextStyle(19), 640, 100, 0.5),
    (TextStyle(15, _INK, _ITALIC), 900, 90, 1.0),
)


def labels(land: Sequence[Spot], sheet: Sheet) -> list[Label]:
    """Return all marks of the map; large names are placed first."""
    occupied = OccupiedArea(sheet.chart)
    ornaments = [*_title(sheet, occupied), *_rose(sheet, occupied)]
    return [
        *_frame(sheet),
        *_large_names(sheet, occupied),
        *_names(land, sheet, occupied),
        *ornaments,
    ]


def _frame(sheet: Sheet) -> Iterator[Label]:
    """Yield the frame, the graticule and its numbers."""
    left, top, right, bottom = sheet.chart
    for by, wide in ((0, 5), (26, 3), (48, 3), (70, 14), (90, 3)):
        yield from _rectangle(sheet.chart.grown(by), f'stroke-width="{wide}"')
    style, faint = TextStyle(54), 'stroke-width="2" stroke-opacity="0.3"'
    for number in range(-20, 21):
        x, y = (middle + number * _DEGREE for middle in sheet.middle)
        if left < x < right:
            yield _line((x, top), (x, bottom), faint)
            yield style.line((x, top - 106), f"{18 + number}°")
            yield style.line((x, bottom + 146), f"{18 + number}°")
        if top < y < bottom:
            yield _line((left, y), (right, y), faint)
            yield style.line((left - 106, y + 19), f"{42 - number}°", "end")
            yield style.line((right + 106, y + 19), f"{42 - number}°", "start")


def _line(start: Point, end: Point, look: str) -> Label:
    box = Box(*start, *end).grown(20)
    return Label(
        box, f'<path d="M{start[0]} {start[1]}L{end[0]} {end[1]}" stroke="{_INK}" {look}/>'
    )


def _rectangle(box: Box, look: str) -> Iterator[Label]:
    """Yield the four sides of a box as separate marks, so that few tiles draw each of them."""
    left, top, right, bottom = box
    look += ' stroke-linecap="square"'
    for y in (top, bottom):
        yield _line((left, y), (right, y), look)
    for x in (left, right):
        yield _line((x, top), (x, bottom), look)


def _title(sheet: Sheet, occupied: OccupiedArea) -> Iterator[Label]:
    """Yield the title of the map on a panel."""
    left, top, _, _ = sheet.chart
    box = Box(left + 150, top + 150, left + 2500, top + 1300)
    occupied.take(box.grown(120))
    for by, colour, wide in ((0, _INK, 12), (-24, _INK, 3), (-40, _RUBRIC, 4)):
        inner = box.grown(by)
        size = f'width="{inner.right - inner.left}" height="{inner.bottom - inner.top}"'
        look = f'fill="{_PAPER}" stroke="{colour}" stroke-width="{wide}"'
        yield Label(box.grown(12), f'<rect x="{inner.left}" y="{inner.top}" {size} {look}/>')
    middle = (box.left + box.right) / 2
    for down, text, style in _TITLE:
        yield style.line((middle, box.top + down), text)


def _rose(sheet: Sheet, occupied: OccupiedArea) -> Iterator[Label]:
    """Yield the compass rose: two rings, and eight points that are dark on one side."""
    x, y = sheet.chart.left + 900, sheet.chart.bottom - 900
    box = Box(x, y, x, y).grown(_ROSE + 10)
    occupied.take(box.grown(120))
    svg = "".join(
        f'<circle r="{radius}" stroke="{_INK}" stroke-width="6" fill="{_PAPER}"/>'
        for radius in (_ROSE, _ROSE * 0.88)
    )
    for turn in (45, 135, 225, 315, 0, 90, 180, 270):
        long, wide = (250, 34) if turn % 90 else (340, 46)
        for side, fill in ((-wide, _PAPER), (wide, _RUBRIC)):
            look = f'fill="{fill}" stroke="{_INK}" stroke-width="2.5"'
            svg += f'<path d="M0 0l{side} {-wide}L0 {-long}z" {look} transform="rotate({turn})"/>'
    yield Label(box, f'<g transform="translate({x} {y})">{svg}</g>')
    yield TextStyle(74, _RUBRIC, _BOLD).line((x, y - _ROSE - 30), "N")


def _large_names(sheet: Sheet, occupied: OccupiedArea) -> Iterator[Label]:
    """Yield the names of seas, mountains and provinces."""
    for text, style, across, down, tilt in _LARGE:
        at = sheet.middle[0] + across * sheet.unit, sheet.middle[1] + down * sheet.unit
        occupied.take(style.box(at, text).grown(abs(tilt) * 3))
        yield style.line(at, text, tilt=tilt)


def _names(land: Sequence[Spot], sheet: Sheet, occupied: OccupiedArea) -> Iterator[Label]:
    """Yield the settlements that have space, from the largest to the smallest."""
    dice = Random(1751)  # noqa: S311 - decoration, not secrets
    pairs = [head + tail for head in _HEADS for tail in _TAILS]
    dice.shuffle(pairs)
    towns = cycle((*_TOWNS, *pairs))
    words = [cycle(_CITIES), *[towns] * (len(_RANKS) - 1)]
    for (style, count, apart, highest), named in zip(_RANKS, words, strict=True):
        if style.size * sheet.scale < _LEGIBLE:
            break
        # Low ground is preferred, but not always chosen.
        worth = {dice.random() - spot.height * 2: spot for spot in land if spot.height < highest}
        spaced = OccupiedArea(sheet.chart)
        places = (worth[key] for key in sorted(worth, reverse=True))
        free = (at for at in places if spaced.claim(Box(at.x, at.y, at.x, at.y).grown(apart / 2)))
        for spot in islice(free, count):
            yield from _settlement(spot.x, spot.y, style, next(named), occupied)


def _settlement(
    x: float, y: float, style: TextStyle, name: str, occupied: OccupiedArea
) -> Iterator[Label]:
    """Yield a settlement with its name on the first side with space; nothing without space."""
    sign, gap = Box(x, y, x, y).grown(style.size * 0.3), style.size * 0.5
    for dx, dy, anchor in ((gap, gap / 2, "start"), (-gap, gap / 2, "end"), (0, -gap, "middle")):
        at = x + dx, y + dy
        if occupied.claim(style.box(at, name, anchor)):
            occupied.take(sign)
            yield style.line(at, name, anchor)
            dot = f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{style.size * 0.24:.1f}" '
            look = f'stroke="{_INK}" stroke-width="{style.size / 12:.1f}"'
            fill = _RUBRIC if style.look else _PAPER
            yield Label(sign, f'{dot}{look} fill="{fill}"/>')
            return
