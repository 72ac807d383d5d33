"""Pen and lettering: pieces of SVG, drawn tile by tile onto the ground."""

import math
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from html import escape
from typing import NamedTuple

import pyvips

from iiif_server.commands.sample.sheet import Box, Pixels, Point, Sheet

INK = "#3a2d24"
PAPER = "#f1e7cd"
WATER = "#41697c"
RUBRIC = "#8c2f22"
ITALIC = 'font-style="italic"'
BOLD = 'font-weight="bold"'
_FACES = "'EB Garamond', 'Georgia', 'Times New Roman', 'Liberation Serif', 'DejaVu Serif', serif"
_TILE = 1500.0


class Mark(NamedTuple):
    """One piece of ink: the ground it may touch, and its SVG."""

    box: Box
    svg: str


class Hand(NamedTuple):
    """A way of lettering; spacing and halo are shares of the size."""

    size: float
    fill: str = INK
    look: str = ""
    spacing: float = 0.0
    halo: float = 0.14

    def length(self, text: str) -> float:
        """About how long a line is: fonts differ, and none has to be there."""
        wide = sum(0.74 if letter.isupper() else 0.56 for letter in text)
        return (wide + len(text) * self.spacing) * self.size

    def box(self, at: Point, text: str, anchor: str = "middle") -> Box:
        """About the ground that a line covers."""
        length = self.length(text)
        left = at[0] - {"start": 0.0, "middle": length / 2, "end": length}[anchor]
        return Box(left, at[1] - self.size * 0.8, left + length, at[1] + self.size * 0.25)

    def line(self, at: Point, text: str, anchor: str = "middle", tilt: float = 0.0) -> Mark:
        """A line of lettering whose baseline is at a point, turned by `tilt` degrees about it."""
        x, y = at
        length = self.length(text)
        # Whatever font is found may be wider than the one in mind.
        reach = self.size + length * (0.3 + abs(math.sin(math.radians(tilt))))
        turn = f' transform="rotate({tilt:g} {x:.1f} {y:.1f})"' if tilt else ""
        svg = (
            f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{self.size:g}" '
            f'letter-spacing="{self.spacing * self.size:.1f}" fill="{self.fill}" {self.look} '
            f'stroke="{PAPER}" stroke-opacity="0.72" stroke-width="{self.size * self.halo:.1f}" '
            f'paint-order="stroke"{turn}>{escape(text)}</text>'
        )
        return Mark(self.box(at, text, anchor).grown(reach), svg)


def path(
    box: Box, route: str, fill: str = "none", stroke: str = INK, wide: float = 3, *, more: str = ""
) -> Mark:
    """A drawn path."""
    svg = f'<path d="{route}" fill="{fill}" stroke="{stroke}" stroke-width="{wide:g}" {more}/>'
    return Mark(box.grown(wide), svg)


def inked(ground: Pixels, marks: Sequence[Mark], sheet: Sheet) -> Pixels:
    """The ground with every mark drawn on it."""
    side = max(1, round(_TILE * max(sheet.scale, 0.2)))
    across, down = math.ceil(sheet.width / side), math.ceil(sheet.height / side)
    corners = [(column * side, row * side) for row in range(down) for column in range(across)]
    try:
        # Drawn on demand, the tiles would hold up the threads that compute the ground under them.
        with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
            tiles = list(pool.map(lambda corner: _tile(marks, corner, side, sheet.scale), corners))
    except pyvips.Error:
        # A libvips without SVG, or not allowed to read it, still gives a map, only a silent one.
        return ground
    ink = pyvips.Image.arrayjoin(tiles, across=across).crop(0, 0, sheet.width, sheet.height)
    return ink[3].ifthenelse(ink[:3], ground, blend=True)


def _tile(marks: Sequence[Mark], corner: tuple[int, int], side: int, scale: float) -> Pixels:
    """The ink on one square of the sheet, as 8-bit RGBA."""
    left, top, unit = corner[0] / scale, corner[1] / scale, side / scale
    box = Box(left, top, left + unit, top + unit)
    body = "".join(mark.svg for mark in marks if mark.box.meets(box))
    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{side}" height="{side}" '
        f'viewBox="{left:.3f} {top:.3f} {unit:.3f} {unit:.3f}" font-family="{_FACES}" '
        f'stroke-linejoin="round">{body}</svg>'
    )
    return pyvips.Image.svgload_buffer(svg.encode(), unlimited=True).copy_memory()
