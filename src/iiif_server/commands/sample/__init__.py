"""Sample image: a generated map of an imaginary island."""

import math
import os
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyvips

from iiif_server.commands.sample.lettering import Label, labels
from iiif_server.commands.sample.terrain import Box, Pixels, Sheet, ground, heights, spots

_FACES = "'EB Garamond', 'Georgia', 'Times New Roman', 'Liberation Serif', 'DejaVu Serif', serif"
_TILE = 1500.0


def write_sample(target: Path, *, width: int = 9000, height: int = 6750) -> None:
    """Write the sample image as a baseline JPEG of `width` x `height` pixels.

    The file appears under its name when it is complete. Creates missing parent folders. Raises
    OSError.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=".sample-", suffix=".jpg", dir=target.parent)
    os.close(handle)
    pending = Path(name)
    sheet = Sheet(width, height)
    field = heights(sheet)
    try:
        drawn = _with_labels(ground(field, sheet), labels(spots(field), sheet), sheet)
        drawn.copy(interpretation="srgb").jpegsave(name, Q=90, subsample_mode="on", keep=0)
        # A temporary file is private to its owner; all users may read the image.
        pending.chmod(0o644)
        pending.replace(target)
    finally:
        pending.unlink(missing_ok=True)


def _with_labels(ground: Pixels, labels: Sequence[Label], sheet: Sheet) -> Pixels:
    """Draw all marks on the map."""
    side = max(1, round(_TILE * max(sheet.scale, 0.2)))
    across, down = math.ceil(sheet.width / side), math.ceil(sheet.height / side)
    corners = [(column * side, row * side) for row in range(down) for column in range(across)]
    try:
        # Rendering the tiles on demand would block the threads of libvips that compute the map.
        with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
            tiles = list(pool.map(lambda corner: _tile(labels, corner, side, sheet.scale), corners))
    except pyvips.Error:
        # This libvips cannot or must not read SVG: the map then has no names.
        return ground
    ink = pyvips.Image.arrayjoin(tiles, across=across).crop(0, 0, sheet.width, sheet.height)
    return ink[3].ifthenelse(ink[:3], ground, blend=True)


def _tile(labels: Sequence[Label], corner: tuple[int, int], side: int, scale: float) -> Pixels:
    """Render the marks of one square of the sheet, as 8-bit RGBA."""
    left, top, unit = corner[0] / scale, corner[1] / scale, side / scale
    box = Box(left, top, left + unit, top + unit)
    body = "".join(label.svg for label in labels if label.box.meets(box))
    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{side}" height="{side}" '
        f'viewBox="{left:.3f} {top:.3f} {unit:.3f} {unit:.3f}" font-family="{_FACES}" '
        f'stroke-linejoin="round">{body}</svg>'
    )
    return pyvips.Image.svgload_buffer(svg.encode(), unlimited=True).copy_memory()
