"""Images that were requested just now: their headers need not be looked up again."""

from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass

from iiif_server.iiif.request import ImageFacts
from iiif_server.images.originals import Original, Originals
from iiif_server.images.pyramids import Pyramid
from iiif_server.plan.header import ImageHeader

_CAPACITY = 4096


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

    def __init__(self, originals: Originals) -> None:
        self._originals = originals
        self._known: OrderedDict[Hashable, KnownImage] = OrderedDict()

    def __repr__(self) -> str:
        return f"<KnownImages {len(self._known)}>"

    def remember(self, name: Hashable, image: KnownImage) -> None:
        """Take note of an image whose original was held just now."""
        self._known[name] = image
        self._known.move_to_end(name)
        while len(self._known) > _CAPACITY:
            self._known.popitem(last=False)

    def get(self, name: Hashable) -> KnownImage | None:
        """The image, if its file was found as it was within the last second."""
        image = self._known.get(name)
        return image if image is not None and self._originals.is_fresh(image.original) else None

    def outdated(self, name: Hashable) -> Original | None:
        """The original of an image that was known, to be checked; None if there is none."""
        image = self._known.get(name)
        if image is None or self._originals.is_fresh(image.original):
            return None
        return image.original

    def forget(self, name: Hashable) -> None:
        """Forget an image whose original is another one by now."""
        self._known.pop(name, None)
