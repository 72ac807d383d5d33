"""Pages of a HEIF or AVIF: its independent images, the primary one first."""

from collections.abc import Iterator
from typing import BinaryIO

import pyvips
from PIL import Image

from iiif_server.codecs.pixel_buffer import Pixels
from iiif_server.formats.bounded_file import BoundedFile
from iiif_server.iiif.geometry import Dimensions
from iiif_server.plan.original_format import OriginalFormat


def items_of_heif(bounded: BoundedFile, image: Image.Image) -> list[int]:
    """Return the frame numbers that Pillow gives to the pages of a HEIF, in page order."""
    return _primary_first(bounded, getattr(image, "n_frames", 1), image.tell())


def items_of_avif(bounded: BoundedFile, file: BinaryIO) -> list[int]:
    """Return the libvips page numbers of an AVIF's pages, in order, without sequence frames."""
    image = avif_item(file)
    return _primary_first(bounded, int(image.get("n-pages")), int(image.get("heif-primary")))


def avif_item(file: BinaryIO, index: int | None = None) -> Pixels:
    """Open an image of an AVIF without decoding; the primary one without an index."""
    source = pyvips.Source.new_from_descriptor(file.fileno())
    options = {} if index is None else {"page": index}
    return pyvips.Operation.call("heifload_source", source, **options)


def item_sizes(bounded: BoundedFile, file: BinaryIO) -> Iterator[Dimensions]:
    """Yield the dimensions of all pages."""
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
