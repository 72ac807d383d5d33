"""PDF: pages as images, by PDFium. A region is rendered from the page, at the size it needs."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from math import ceil
from typing import BinaryIO

import pypdfium2
import pypdfium2.raw as pdfium

from iiif_server.codecs.pixel_buffer import PixelBuffer, Pixels
from iiif_server.errors import DamagedOriginalError, UnsupportedOriginalError
from iiif_server.formats.bounded_file import BoundedFile
from iiif_server.iiif.geometry import Box, Dimensions
from iiif_server.plan.header import Colour, ImageHeader, Needs, Profile, Reader
from iiif_server.plan.orientation import UPRIGHT
from iiif_server.plan.original_format import OriginalFormat

_POINTS = 72
"""Points of an inch."""
_MOST_SHRINK = 32
_HELD = 200 << 20
"""Memory for fonts and images of a page, beside the pixels that are made."""
_PIXEL_BYTES = 8
"""Of a pixel that is made: in PDFium's bitmap, and as RGB."""
_EFFORT = 30


def pdf_header(bounded: BoundedFile, file: BinaryIO) -> ImageHeader:
    """The header of the page that is read, at the resolution of the bounds.

    CropBox and /Rotate are applied; PDFium has no function for UserUnit. Raises
    OriginalRefusedError or PageNotFoundError.
    """
    page = bounded.page - 1
    with _opened(file.fileno()) as document:
        pages = len(document)
        bounded.check_frames(pages, "pages")
        bounded.check_page(pages)
        width, height = _page_size(document, page, bounded.bounds.pdf_dpi)
    bounded.check_size(width, height)
    return ImageHeader(
        format=OriginalFormat.PDF,
        stored=Dimensions(width, height),
        orientation=UPRIGHT,
        colour=Colour.RGB,
        transparent=False,
        profile=Profile.NONE,
        profile_bytes=0,
        max_shrink=_MOST_SHRINK,
        pixel_bytes=_PIXEL_BYTES,
        needs=Needs(bytes=_HELD + _PIXEL_BYTES * width * height, effort=_EFFORT * width * height),
        page=page,
        pages=pages,
        reader=Reader.PDFIUM,
        resolution=(bounded.bounds.pdf_dpi, bounded.bounds.pdf_dpi),
    )


def page_sizes(bounded: BoundedFile, file: BinaryIO) -> tuple[Dimensions, ...]:
    """The dimensions of all pages as `pdf_header` has them, up to the first that is not there."""
    sizes: list[Dimensions] = []
    with _opened(file.fileno()) as document:
        pages = len(document)
        bounded.check_frames(pages, "pages")
        with suppress(pypdfium2.PdfiumError):  # /Count may state more than there are
            for page in range(pages):
                size = _page_size(document, page, bounded.bounds.pdf_dpi)
                sizes.append(Dimensions(*size))
    return tuple(sizes)


def _page_size(document: pypdfium2.PdfDocument, page: int, dpi: int) -> tuple[int, int]:
    # A page that is loaded is parsed, all that its streams unpack to: this loads none.
    width, height = document.get_page_size(page)
    width, height = (max(1, ceil(side * dpi / _POINTS - 1e-6)) for side in (width, height))
    return width, height


def render_page(descriptor: int, header: ImageHeader, shrink: int, box: Box) -> Pixels:
    """A box of the page as it is at `shrink`, on white."""
    whole = header.stored.reduced(shrink)
    with _opened(descriptor) as document:
        page = document[header.page]
        bitmap = pypdfium2.PdfBitmap.new_native(box.width, box.height, pdfium.FPDFBitmap_BGR)
        bitmap.fill_rect((255, 255, 255, 255), 0, 0, box.width, box.height)
        flags = pdfium.FPDF_ANNOT | pdfium.FPDF_REVERSE_BYTE_ORDER
        pdfium.FPDF_RenderPageBitmap(
            bitmap.raw, page.raw, -box.x, -box.y, whole.width, whole.height, 0, flags
        )
        rows = bytes(bitmap.buffer)
        row = 3 * box.width
        if bitmap.stride != row:
            stride = bitmap.stride
            rows = b"".join(rows[at : at + row] for at in range(0, stride * box.height, stride))
        bitmap.close()
    return PixelBuffer(rows[: row * box.height], box.width, box.height, 3).to_vips()


@contextmanager
def _opened(descriptor: int) -> Iterator[pypdfium2.PdfDocument]:
    """A document; forms are shown as they were saved."""
    with os.fdopen(os.dup(descriptor), "rb") as file:
        try:
            document = pypdfium2.PdfDocument(file)
        except pypdfium2.PdfiumError as error:
            if "password" in str(error).lower():
                raise UnsupportedOriginalError("This PDF needs a password.") from error
            raise DamagedOriginalError("The original is damaged: it is no PDF.") from error
        try:
            yield document
        except (pypdfium2.PdfiumError, IndexError) as error:
            raise DamagedOriginalError(
                "The original is damaged: its page cannot be read."
            ) from error
        finally:
            document.close()
