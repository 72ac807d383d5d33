"""The pages of an original, for manifests; nothing is decoded."""

from collections.abc import Sequence
from typing import BinaryIO, cast

from iiif_server.codecs.image_items import item_sizes
from iiif_server.codecs.pdf import page_sizes
from iiif_server.codecs.probe import open_regular, translating_errors
from iiif_server.formats import tiff_pages
from iiif_server.formats.bounded_file import BoundedFile
from iiif_server.formats.present_file import PresentFile
from iiif_server.plan.extents import BytesMissingError, Extent, PartialResult
from iiif_server.plan.header import ImageHeader, PageList
from iiif_server.plan.local_file import LocalFile
from iiif_server.plan.original_format import DEFAULT_BOUNDS, Bounds, OriginalFormat


def list_pages(
    original: LocalFile,
    descriptor: int | None = None,
    *,
    header: ImageHeader,
    present: Sequence[Extent] | None = None,
    bounds: Bounds = DEFAULT_BOUNDS,
) -> PartialResult[PageList]:
    """List all pages of one version of an original, whose header has been read.

    Of a file of which only some extents are present, also the bytes that it needs. Raises
    OriginalRefusedError, or OriginalChangedError.
    """
    opened = open_regular(original, descriptor)
    extents = [(0, original.size)] if present is None else present
    with PresentFile(opened, extents) as file:
        bounded = BoundedFile(file, header.format, bounds=bounds)
        try:
            with translating_errors(header.format):
                return PartialResult(_listed(bounded, cast("BinaryIO", file), header))
        except BytesMissingError as error:
            return PartialResult(None, error.extents)


def _listed(bounded: BoundedFile, file: BinaryIO, header: ImageHeader) -> PageList:
    if header.format is OriginalFormat.TIFF:
        return tiff_pages.list_pages(bounded)
    if header.format is OriginalFormat.PDF:
        return PageList(page_sizes(bounded, file))
    if header.format in {OriginalFormat.HEIF, OriginalFormat.AVIF}:
        return PageList(tuple(item_sizes(bounded, file)))
    return PageList((header.dimensions,) * header.pages)  # frames of an animation
