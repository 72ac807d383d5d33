"""Description of an original: credits and resolution, for its image header."""

import math
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

from PIL import Image

from iiif_server.formats.bounded_file import MAX_CREDITS_BYTES, Inspection
from iiif_server.formats.credits import ARTIST, COPYRIGHT, credits_of
from iiif_server.plan.header import ImageHeader
from iiif_server.plan.original_format import OriginalFormat

Resolution = tuple[float, float]

_X_RESOLUTION, _Y_RESOLUTION, _UNIT = 282, 283, 296
_TEXT_OF_LIBVIPS = "XML:com.adobe.xmp"
"""Keyword under which libvips writes XMP into PNGs, which differs from the specification."""
_KEYWORDS = {ARTIST: "Author", COPYRIGHT: "Copyright"}
"""Keywords of PNG texts (ISO 15948, 11.3.4.2)."""
_IPTC_RESOURCE = 0x0404
_INCHES = {1: 0.0, 2: 1.0, 3: 2.54}
_MIN_DPI, _MAX_DPI = 1, 100_000


def with_credits_and_resolution(
    header: ImageHeader, inspected: Inspection, info: Mapping[Any, Any] | None = None
) -> ImageHeader:
    """Return the header with credits and resolution of the file.

    They are in the blocks of its inspection, and in what Pillow has read. What is damaged is left
    out.
    """
    info = info or {}
    exif = _exif(info.get("exif") or inspected.exif)
    resources = info.get("photoshop")
    iptc = resources.get(_IPTC_RESOURCE) if isinstance(resources, dict) else None
    zipped = str(info.get(_TEXT_OF_LIBVIPS, "")).encode("latin-1", "ignore")
    xmp = info.get("xmp") or inspected.xmp or zipped
    texts = {
        tag: text
        for tag, keyword in _KEYWORDS.items()
        if isinstance(text := exif.get(tag) or info.get(keyword), str)
    }
    resolution_ = (
        header.resolution or file_resolution(info, header.format) or _exif_resolution(exif)
    )
    return replace(
        header,
        credits=credits_of(
            _bounded(xmp.encode() if isinstance(xmp, str) else xmp),
            _bounded(iptc or inspected.iptc),
            {**texts, **{tag: data for tag, data in inspected.texts.items() if data}},
        ),
        resolution=_plausible(resolution_),
    )


def file_resolution(info: Mapping[Any, Any], format_: OriginalFormat) -> Any:
    """Return the resolution that a file states outside EXIF. Pillow invents one for some JPEGs."""
    if format_ is not OriginalFormat.JPEG:
        return info.get("dpi")
    scale = {1: 1.0, 2: 2.54}.get(info.get("jfif_unit", 0))
    return tuple(scale * one for one in info["jfif_density"]) if scale else None


def _bounded(block: bytes) -> bytes:
    return bytes(block) if len(block) <= MAX_CREDITS_BYTES else b""


def _exif(data: bytes) -> Mapping[int, Any]:
    """Return the tags of the first directory; none if it is damaged."""
    found: dict[int, Any] = {}
    with suppress(Exception):  # parsers of hostile data raise whatever they like
        exif = Image.Exif()
        exif.load(data if data.startswith(b"Exif") else b"Exif\0\0" + data)
        for tag in (ARTIST, COPYRIGHT, _X_RESOLUTION, _Y_RESOLUTION, _UNIT):
            with suppress(Exception):
                if tag in exif:
                    found[tag] = exif[tag]
    return found


def _exif_resolution(exif: Mapping[int, Any]) -> tuple[Any, Any]:
    inches = _INCHES.get(exif.get(_UNIT, 2), 0.0)
    with suppress(Exception):
        return inches * exif[_X_RESOLUTION], inches * exif[_Y_RESOLUTION]
    return 0, 0


def _plausible(resolution_: Any) -> Resolution | None:
    """Return a plausible resolution; None for any other."""
    with suppress(TypeError, ValueError, OverflowError, ZeroDivisionError):
        x, y = (round(float(value), 3) for value in resolution_)
        if math.isfinite(x + y) and min(x, y) >= _MIN_DPI and max(x, y) <= _MAX_DPI:
            return x, y
    return None
