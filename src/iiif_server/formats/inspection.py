"""The inspection of each format."""

from collections.abc import Callable

from iiif_server.formats import avif, bmp, gif, jpeg, jpeg2000, png, tiff, webp
from iiif_server.formats.bounded_file import BoundedFile
from iiif_server.plan.needs import Needs
from iiif_server.plan.original_format import OriginalFormat


def inspect(file: BoundedFile) -> Needs:
    """What a file demands of its decoder beside its pixels.

    Refuses what is too much for a decoder, or too little to be an image.

    Reads little, decodes nothing, and takes what a file says for what it is: numbers of a stranger.
    What it lets pass may still be damaged. Raises OriginalRefusedError.
    """
    return _INSPECTIONS[file.format](file)


_INSPECTIONS: dict[OriginalFormat, Callable[[BoundedFile], Needs]] = {
    OriginalFormat.JPEG: jpeg.inspect,
    OriginalFormat.PNG: png.inspect,
    OriginalFormat.TIFF: tiff.inspect,
    OriginalFormat.WEBP: webp.inspect,
    OriginalFormat.GIF: gif.inspect,
    OriginalFormat.JPEG2000: jpeg2000.inspect,
    OriginalFormat.AVIF: avif.inspect,
    OriginalFormat.BMP: bmp.inspect,
}
