"""Images that were asked for just now: what they are needs no more looking for."""

import os
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass

from iiif_server.image_api.request import ImageFacts
from iiif_server.imaging.header import ImageHeader
from iiif_server.imaging.plan import Identity
from iiif_server.pipeline.originals import Original
from iiif_server.pipeline.pyramids import Pyramid

_CAPACITY = 4096
SECONDS_KNOWN = 5.0
"""How long an image is known before its source is asked again: its name may lead elsewhere."""


@dataclass(frozen=True, slots=True)
class KnownImage:
    """An image whose original was held just now."""

    original: Original
    header: ImageHeader
    facts: ImageFacts
    pyramid: Pyramid | None
    """The one that it has or will have."""


class KnownImages:
    """Images by any name; nothing here waits for a disk, or for anybody."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._known: OrderedDict[Hashable, tuple[KnownImage, float]] = OrderedDict()

    def __repr__(self) -> str:
        return f"<KnownImages {len(self._known)}>"

    def remember(self, name: Hashable, image: KnownImage) -> None:
        """Take note of an image whose original was held just now."""
        self._known[name] = image, self._clock() + SECONDS_KNOWN
        self._known.move_to_end(name)
        while len(self._known) > _CAPACITY:
            self._known.popitem(last=False)

    def get(self, name: Hashable) -> KnownImage | None:
        """The image, if it is known and its file as it was."""
        found = self._known.get(name)
        if found is None:
            return None
        image, until = found
        if self._clock() > until or not is_unchanged(image.original.file):
            del self._known[name]
            return None
        return image


def is_unchanged(file: Identity) -> bool:
    """Whether a file is as it was when its header was read."""
    try:
        status = os.stat(file.path)  # noqa: PTH116 - on the hot path
    except OSError:
        return False
    return (status.st_size, status.st_mtime_ns) == (file.size, file.mtime_ns)
