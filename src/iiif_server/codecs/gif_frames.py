"""Frames of a GIF, except a first one that covers the screen.

Each frame is drawn over those before it, as browsers do. Pillow decodes each frame as a file of its
own. Background becomes transparent, whatever background colour the file has, as in browsers.
"""

import os
import struct
from io import BytesIO
from itertools import islice

import numpy as np
from PIL import Image

from iiif_server.codecs.pixel_buffer import PixelBuffer, Pixels
from iiif_server.formats.bounded_file import BoundedFile
from iiif_server.formats.gif import Frame, frames, global_table
from iiif_server.iiif.geometry import Box
from iiif_server.plan.header import ImageHeader
from iiif_server.plan.original_format import OriginalFormat

_RESTORE_BACKGROUND, _RESTORE_PREVIOUS = 2, 3
"""Disposal method: treatment of a frame before the next one is drawn (GIF 89a, section 23)."""


def read_frame(descriptor: int, header: ImageHeader) -> Pixels:
    """Draw the screen up to the frame `header.page`, on transparency."""
    size = header.stored
    screen = np.zeros((size.height, size.width, 4), np.uint8)
    with os.fdopen(os.dup(descriptor), "rb") as file:
        bounded = BoundedFile(file, OriginalFormat.GIF)
        for number, frame in enumerate(islice(frames(bounded), header.page + 1)):
            if (number < header.page and frame.disposal == _RESTORE_PREVIOUS) or not (
                frame.box.width and frame.box.height
            ):
                continue  # it leaves nothing
            drawn = _decode_frame(bounded, frame)
            area = screen[_slices(frame.box)]
            drawn = drawn[: area.shape[0], : area.shape[1]]
            np.copyto(area, drawn, where=drawn[:, :, 3:] > 0)
            if number < header.page and frame.disposal == _RESTORE_BACKGROUND:
                area[:] = 0
    return PixelBuffer(screen.tobytes(), size.width, size.height, 4).to_vips()


def _slices(box: Box) -> tuple[slice, slice]:
    return slice(box.y, box.y + box.height), slice(box.x, box.x + box.width)


def _decode_frame(file: BoundedFile, frame: Frame) -> "np.typing.NDArray[np.uint8]":
    """Decode the pixels of a single frame."""
    width, height = frame.box.width, frame.box.height
    flags, table = global_table(file)
    clear = frame.transparent
    control = struct.pack("<BHBB", clear is not None, 0, clear or 0, 0)
    parts = (
        b"GIF89a" + struct.pack("<HHBBB", width, height, flags, 0, 0) + table,
        b"!\xf9\4" + control,
        b"," + struct.pack("<HHHHB", 0, 0, width, height, frame.flags),
        file.read_at(frame.start, frame.end - frame.start),
        b"\0;",
    )
    with Image.open(BytesIO(b"".join(parts)), formats=["GIF"]) as image:
        return np.asarray(image.convert("RGBA"))
