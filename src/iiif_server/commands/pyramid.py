"""What `iiif-server pyramid` does: a pyramidal TIFF of any image, for use elsewhere."""

import os
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from iiif_server.codecs.probe import probe
from iiif_server.codecs.pyramid_tiff import PyramidForm, write_pyramid_tiff
from iiif_server.errors import ConfigurationError

Progress = Callable[[], None]
"""Called for each percent that is done."""


@dataclass(frozen=True, slots=True)
class Written:
    """What was written."""

    width: int
    height: int
    size: int
    """In bytes."""


class _Percents:
    """Turns what is done into steps of one percent."""

    def __init__(self, step: Progress) -> None:
        self._step = step
        self._reached = 0

    def reach(self, percent: int) -> None:
        """Take the steps up to this many percent; libvips may say the same twice."""
        for _ in range(self._reached, percent):
            self._step()
        self._reached = max(self._reached, percent)


def write_pyramid(
    source: Path, target: Path, form: PyramidForm, max_pixels: int, progress: Progress
) -> Written:
    """Write a tiled, pyramidal TIFF of an image.

    The target is there whole or not at all. Raises what `probe` raises, DamagedOriginalError, or
    ConfigurationError where the source cannot be read or the target not written.
    """
    part = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
    try:
        header = probe(source, max_pixels)
        with source.open("rb") as file:
            write_pyramid_tiff(file.fileno(), header, part, form, _Percents(progress).reach)
        part.replace(target)
    except OSError as error:
        which = source if error.filename == os.fspath(source) else target
        raise ConfigurationError(f"{which}: {error.strerror}") from error
    finally:
        part.unlink(missing_ok=True)
    size = header.dimensions
    return Written(size.width, size.height, target.stat().st_size)
