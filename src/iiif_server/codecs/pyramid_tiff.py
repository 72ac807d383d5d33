"""Pyramidal TIFFs, which other servers need for large images."""

import errno
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyvips

from iiif_server.codecs.decode import decode_upright, decoding
from iiif_server.plan.header import ImageHeader
from iiif_server.plan.render_plan import tile_profile

_CLASSIC_BYTES = 3_500_000_000
"""Estimated bytes above which the file is a BigTIFF: classic offsets have 32 bits."""

_WRITE_ERRORS = ("Write error", "write error", "No space left", "unable to write")
"""Errors of libvips and libtiff that are not caused by the original."""


@dataclass(frozen=True, slots=True)
class PyramidTiffOptions:
    """Options of a pyramidal TIFF."""

    tile_size: int = 512
    """Side of the tiles, a multiple of 16 (TIFF 6.0, section 15)."""
    quality: int = 85
    """JPEG quality."""
    lossless: bool = False
    """Whether tiles use deflate instead of JPEG, which keeps transparency."""


def write_pyramid_tiff(
    descriptor: int,
    header: ImageHeader,
    target: Path,
    form: PyramidTiffOptions,
    progress: Callable[[int], None],
) -> None:
    """Write the image behind a descriptor to a path: upright, in 8 bits, each level half the last.

    `progress` is told how many percent are done. Raises DamagedOriginalError, or OSError if the
    target cannot be written.
    """
    target.touch()  # libvips would say less clearly why it cannot
    with decoding(header):
        pixels = decode_upright(
            descriptor, header, tile_profile(header), 1, transparent=form.lossless
        )
    pixels.set_progress(True)
    pixels.signal_connect("eval", lambda _, state: progress(state.percent))
    compression: dict[str, Any] = {"compression": "jpeg", "Q": form.quality}
    if form.lossless:
        compression = {"compression": "deflate", "predictor": "horizontal"}
    try:
        pixels.tiffsave(
            str(target),
            tile=True,
            tile_width=form.tile_size,
            tile_height=form.tile_size,
            pyramid=True,
            bigtiff=pixels.width * pixels.height * pixels.bands > _CLASSIC_BYTES,
            keep="icc",
            **compression,
        )
    except pyvips.Error as error:
        if any(words in str(error) for words in _WRITE_ERRORS):
            raise OSError(errno.EIO, "cannot be written: is the disk full?") from error
        with decoding(header):
            raise
