"""Images of a HEIF or AVIF that are not part of another: its pages, the primary one first."""

from collections.abc import Iterator
from typing import BinaryIO

import pyvips
from PIL import Image

from iiif_server.codecs.pixel_buffer import Pixels
from iiif_server.formats.bounded_file import BoundedFile
from iiif_server.iiif.geometry import Dimensions
from iiif_server.plan.original_format import OriginalFormat


def items_of_heif(bounded: BoundedFile, image: Image.Image) -> list[int]:
    """What Pillow calls the pages of a HEIF that it has just opened, in their order."""
    return _primary_first(bounded, getattr(image, "n_frames", 1), image.tell())


def items_of_avif(bounded: BoundedFile, file: BinaryIO) -> list[int]:
    """What libvips calls the pages of an AVIF, in their order; frames of a sequence are none."""
    image = avif_item(file)
    return _primary_first(bounded, int(image.get("n-pages")), int(image.get("heif-primary")))


def avif_item(file: BinaryIO, index: int | None = None) -> Pixels:
    """An image of an AVIF, of which nothing is decoded; without an index, the primary one."""
    source = pyvips.Source.new_from_descriptor(file.fileno())
    options = {} if index is None else {"page": index}
    return pyvips.Operation.call("heifload_source", source, **options)


def item_sizes(bounded: BoundedFile, file: BinaryIO) -> Iterator[Dimensions]:
    """The dimensions of all pages."""
    if bounded.format is OriginalFormat.AVIF:
        for index in items_of_avif(bounded, file):
            item = avif_item(file, index)
            yield Dimensions(item.width, item.height)
        return
    with Image.open(file, formats=[bounded.format]) as image:
        for index in items_of_heif(bounded, image):
            image.seek(index)
            yield Dimensions(*image.size)


def _primary_first(bounded: BoundedFile, count: int, primary: int) -> list[int]:
    bounded.check_frames(count, "images")
    return [primary, *(index for index in range(count) if index != primary)]
