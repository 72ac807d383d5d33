"""The sample picture: an atlas sheet of an imaginary island, drawn by computation alone.

It gives a newcomer something worth zooming into before any picture of their own is at hand.
"""

import os
import tempfile
from pathlib import Path

from iiif_server.commands.sample.furniture import frame, furniture
from iiif_server.commands.sample.ground import aged, ground
from iiif_server.commands.sample.ink import inked
from iiif_server.commands.sample.names import names, woods
from iiif_server.commands.sample.sheet import Pixels, Room, Sheet
from iiif_server.commands.sample.terrain import heights, spots

__all__ = ["write_sample"]


def write_sample(target: Path, *, width: int = 9000, height: int = 6750) -> None:
    """Write the sample atlas sheet as a baseline JPEG of width x height pixels.

    The file appears under its name only when it is complete, and missing parent folders are made.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=".sample-", suffix=".jpg", dir=target.parent)
    os.close(handle)
    draft = Path(name)
    try:
        _drawn(Sheet(width, height)).jpegsave(name, Q=90, subsample_mode="on", keep=0)
        # A temporary file is private to its owner; the picture is for whoever may read the folder.
        draft.chmod(0o644)
        draft.replace(target)
    finally:
        draft.unlink(missing_ok=True)


def _drawn(sheet: Sheet) -> Pixels:
    """The whole sheet: the ground, the ink on it, and the years over both."""
    field, room = heights(sheet), Room(sheet.chart)
    land = spots(field)
    top = furniture(sheet, room)
    lettering = names(land, sheet, room)
    marks = [*frame(sheet), *woods(land, room), *lettering, *top]
    return aged(inked(ground(field, sheet), marks, sheet), sheet)
