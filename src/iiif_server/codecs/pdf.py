"""PDF: pages as images, by PDFium. A region is rendered from the page, at the size it needs."""

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from math import ceil
from typing import BinaryIO

import pypdfium2
import pypdfium2.raw as pdfium

from iiif_server.codecs.pdf_units import read_user_units
from iiif_server.codecs.pixel_buffer import PixelBuffer, Pixels
from iiif_server.errors import (
    DamagedOriginalError,
    OriginalTooComplexError,
    UnsupportedOriginalError,
)
from iiif_server.formats.bounded_file import BoundedFile, Inspection
from iiif_server.formats.pdf import inspect
from iiif_server.iiif.geometry import Box, Dimensions
from iiif_server.plan.header import Colour, ImageHeader, Needs, Profile, Reader
from iiif_server.plan.orientation import UPRIGHT
from iiif_server.plan.original_format import OriginalFormat
from iiif_server.process_limits import tightened

_POINTS = 72
"""Points per inch."""
_MAX_SHRINK = 32
_PAGE_BYTES = 200 << 20
"""Estimated bytes for fonts and images of a page, in addition to the rendered pixels."""
_PIXEL_BYTES = 8
"""Bytes per rendered pixel: in PDFium's bitmap, and as RGB."""
_EFFORT = 30
_SECONDS, _SECONDS_PER_PIXEL, _SECONDS_PER_BYTE = 10, 250e-9, 3e-6
"""Processor time to read and draw a page, measured: 31 s for a map of a million areas, 46 MB and
35 megapixels."""
_MAX_MEMORY, _IMAGE_BYTES = 2 << 30, 48
"""Memory limit while a page is read and drawn, and additional bytes per pixel of the page. The
needs of the header are added. A page of a million paths takes 700 MB."""
_SECONDS_TO_STOP = 5
"""Seconds after the request to stop until the kernel ends the worker."""


def pdf_header(bounded: BoundedFile, file: BinaryIO, inspected: Inspection) -> ImageHeader:
    """Read the image header of the requested page, at `pdf.dpi`.

    CropBox, /Rotate and UserUnit are applied. Raises OriginalRefusedError or PageNotFoundError.
    """
    page = bounded.page - 1
    with _opened(file.fileno()) as (document, _):
        pages = len(document)
        bounded.check_frames(pages, "pages")
        bounded.check_page(pages)
        units = _user_units(file.fileno(), pages, inspected)
        width, height = _page_size(document, page, units[page] * bounded.bounds.pdf_dpi)
    bounded.check_size(width, height)
    held, effort = max(_PAGE_BYTES, inspected.needs.bytes), inspected.needs.effort
    return ImageHeader(
        format=OriginalFormat.PDF,
        stored=Dimensions(width, height),
        orientation=UPRIGHT,
        colour=Colour.RGB,
        transparent=False,
        profile=Profile.NONE,
        profile_bytes=0,
        max_shrink=_MAX_SHRINK,
        pixel_bytes=_PIXEL_BYTES,
        needs=Needs(held + _PIXEL_BYTES * width * height, effort + _EFFORT * width * height),
        page=page,
        pages=pages,
        reader=Reader.PDFIUM,
        resolution=(bounded.bounds.pdf_dpi, bounded.bounds.pdf_dpi),
    )


def page_sizes(bounded: BoundedFile, file: BinaryIO) -> tuple[Dimensions, ...]:
    """Return the dimensions of all pages, as in `pdf_header`, up to the first missing page."""
    sizes: list[Dimensions] = []
    with _opened(file.fileno()) as (document, _):
        pages = len(document)
        bounded.check_frames(pages, "pages")
        units = _user_units(file.fileno(), pages, inspect(bounded))
        with suppress(pypdfium2.PdfiumError):  # /Count may state more than there are
            for page, unit in enumerate(units):
                size = _page_size(document, page, unit * bounded.bounds.pdf_dpi)
                sizes.append(Dimensions(*size))
    return tuple(sizes)


def _user_units(descriptor: int, pages: int, inspected: Inspection) -> Sequence[float]:
    return read_user_units(descriptor, pages) if inspected.user_units else [1.0] * pages


def _page_size(document: pypdfium2.PdfDocument, page: int, dpi: float) -> tuple[int, int]:
    # A page that is loaded is parsed, all that its streams unpack to: this loads none.
    size = document.get_page_size(page)
    width, height = size if all(size) else _load_page(document, page).get_size()
    width, height = (max(1, ceil(side * dpi / _POINTS - 1e-6)) for side in (width, height))
    return width, height


def _load_page(document: pypdfium2.PdfDocument, number: int) -> pypdfium2.PdfPage:
    """Load a page. A CropBox outside the MediaBox is ignored."""
    page = document[number]
    if not all(page.get_size()):
        page.set_cropbox(*page.get_mediabox())
    return page


def render_page(descriptor: int, header: ImageHeader, shrink: int, box: Box) -> Pixels:
    """Render a box of the page, reduced by `shrink`, on white."""
    page_size = header.stored.reduced(shrink)
    memory = header.needs.bytes + _IMAGE_BYTES * header.stored.area
    with _opened(descriptor, memory, box.dimensions.area) as (document, deadline):
        with suppress(pypdfium2.PdfiumError):
            document.init_forms()  # without which fields are not drawn
        page = _load_page(document, header.page)
        bitmap = pypdfium2.PdfBitmap.new_native(box.width, box.height, pdfium.FPDFBitmap_BGR)
        bitmap.fill_rect((255, 255, 255, 255), 0, 0, box.width, box.height)
        _draw(bitmap, page, Box(-box.x, -box.y, page_size.width, page_size.height), deadline)
        rows = bytes(bitmap.buffer)
        row = 3 * box.width
        if bitmap.stride != row:
            stride = bitmap.stride
            rows = b"".join(rows[at : at + row] for at in range(0, stride * box.height, stride))
        bitmap.close()
    return PixelBuffer(rows[: row * box.height], box.width, box.height, 3).to_vips()


def _draw(bitmap: pypdfium2.PdfBitmap, page: pypdfium2.PdfPage, at: Box, deadline: float) -> None:
    """Draw a page into a bitmap until this thread reaches the processor time `deadline`.

    PDFium asks between objects of the page whether it is to stop, not within one.
    """
    pause = pdfium.IFSDK_PAUSE(version=1)
    must_stop = type(pause.NeedToPauseNow)(lambda _: time.thread_time() > deadline)
    pause.NeedToPauseNow = must_stop
    flags = pdfium.FPDF_ANNOT | pdfium.FPDF_REVERSE_BYTE_ORDER
    flags |= pdfium.FPDF_RENDER_LIMITEDIMAGECACHE  # else it caches all decoded images
    position = (at.x, at.y, at.width, at.height)
    status = pdfium.FPDF_RenderPageBitmap_Start(bitmap.raw, page.raw, *position, 0, flags, pause)
    pdfium.FPDF_RenderPage_Close(page.raw)
    if status == pdfium.FPDF_RENDER_TOBECONTINUED:
        raise OriginalTooComplexError(
            "Drawing this page takes more processor time than is allowed."
        )
    if page.formenv is not None:
        pdfium.FPDF_FFLDraw(page.formenv.raw, bitmap.raw, page.raw, *position, 0, flags)


@contextmanager
def _opened(
    descriptor: int, memory: int = 0, area: int = 0
) -> Iterator[tuple[pypdfium2.PdfDocument, float]]:
    """Open a document; yield it and the processor time of this thread at which it must stop.

    `memory` are bytes, and `area` pixels that are drawn. Forms are shown as they were saved.
    """
    seconds = _SECONDS + _SECONDS_PER_PIXEL * area
    seconds += _SECONDS_PER_BYTE * os.fstat(descriptor).st_size
    deadline = time.thread_time() + seconds
    limited = tightened(seconds + _SECONDS_TO_STOP, _MAX_MEMORY + memory)
    with limited, os.fdopen(os.dup(descriptor), "rb") as file:
        try:
            document = pypdfium2.PdfDocument(file)
        except pypdfium2.PdfiumError as error:
            if "password" in str(error).lower():
                raise UnsupportedOriginalError("This PDF needs a password.") from error
            raise DamagedOriginalError("The original is damaged: it is no PDF.") from error
        try:
            yield document, deadline
        except (pypdfium2.PdfiumError, IndexError) as error:
            raise DamagedOriginalError(
                "The original is damaged: its page cannot be read."
            ) from error
        finally:
            document.close()
