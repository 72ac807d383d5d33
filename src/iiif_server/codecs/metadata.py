"""Metadata of originals for metadata.json: EXIF, IPTC, XMP, and the name of the profile.

Only listed properties are copied, as text and numbers of limited size. Other metadata may be
private or large, or attack the program that parses it.
"""

import io
import json
import math
import os
import struct
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, BinaryIO

from PIL import Image, ImageCms, TiffImagePlugin

from iiif_server.codecs.probe import detect_format
from iiif_server.formats.bounded_file import MAX_METADATA_BYTES, BoundedFile
from iiif_server.formats.credits import plain_text
from iiif_server.formats.inspection import inspect
from iiif_server.formats.iptc import iptc_properties
from iiif_server.formats.tiff_pages import directories
from iiif_server.formats.xmp import xmp_properties
from iiif_server.plan.local_file import LocalFile
from iiif_server.plan.original_format import DEFAULT_BOUNDS, Bounds, OriginalFormat

_MAX_CHARACTERS, _MAX_ITEMS = 2_000, 50
_XMP_TAG, _IPTC_TAG, _EXIF_IFD, _GPS_IFD = 700, 33_723, 34_665, 34_853
_BIG_TIFF = 43
_TIFFS = frozenset({OriginalFormat.TIFF, OriginalFormat.RAW})
_IPTC_RESOURCE = 0x0404
_TAGS = {
    270: "ImageDescription", 271: "Make", 272: "Model", 274: "Orientation", 305: "Software",
    306: "DateTime", 315: "Artist", 33_432: "Copyright",
}  # fmt: skip
_EXIF_TAGS = {
    33_434: "ExposureTime", 33_437: "FNumber", 34_850: "ExposureProgram",
    34_855: "PhotographicSensitivity", 36_867: "DateTimeOriginal", 36_868: "DateTimeDigitized",
    36_881: "OffsetTimeOriginal", 37_380: "ExposureBiasValue", 37_383: "MeteringMode",
    37_385: "Flash", 37_386: "FocalLength", 41_987: "WhiteBalance", 41_989: "FocalLengthIn35mmFilm",
    42_035: "LensMake", 42_036: "LensModel",
}  # fmt: skip
_GPS_TAGS = {1: "GPSLatitudeRef", 2: "GPSLatitude", 3: "GPSLongitudeRef", 4: "GPSLongitude",
             5: "GPSAltitudeRef", 6: "GPSAltitude"}  # fmt: skip


@dataclass(slots=True)
class _Blocks:
    """Raw metadata blocks of a file."""

    tags: Mapping[int, Any] = field(default_factory=dict)
    exif: Mapping[int, Any] = field(default_factory=dict)
    gps: Mapping[int, Any] = field(default_factory=dict)
    xmp: bytes = b""
    iptc: bytes = b""
    profile: bytes = b""


def read_metadata(
    original: LocalFile,
    descriptor: int | None = None,
    *,
    location: bool,
    max_pixels: int,
    bounds: Bounds = DEFAULT_BOUNDS,
    page: int = 1,
) -> bytes:
    """Return the metadata of a page as a JSON object, without what cannot be read.

    With `location`, also location data. Raises the errors of the inspection.
    """
    with os.fdopen(original.open(descriptor), "rb") as file:
        format_ = detect_format(file, bounds)
        if format_ is None:
            return b"{}"
        bounded = BoundedFile(file, format_, max_pixels, bounds, page)
        inspected = inspect(bounded)
        read = _read_tiff if format_ in _TIFFS else _read_with_pillow
        blocks = _Blocks()
        with suppress(Exception):  # parsers of hostile data raise whatever they like
            blocks = read(file, bounded)
        blocks.profile = blocks.profile or inspected.profile
        blocks.xmp = blocks.xmp or inspected.xmp
        blocks.iptc = blocks.iptc or inspected.iptc
        if not blocks.tags and inspected.exif:
            with suppress(Exception):
                _add_exif(blocks, inspected.exif)
    return json.dumps(_document(blocks, location=location)).encode()


def _read_tiff(file: BinaryIO, bounded: BoundedFile) -> _Blocks:
    main = directories(bounded, bounded.page).main
    if sum(entry.length for entry in main.tags.values()) > MAX_METADATA_BYTES:
        return _Blocks()
    return _read_directory(file, bounded.read_at(0, 16), main.offset)


def _read_with_pillow(file: BinaryIO, bounded: BoundedFile) -> _Blocks:
    file.seek(0)
    with Image.open(file, formats=[bounded.format]) as image:
        info, blocks = image.info, _Blocks()
        with suppress(Exception):
            _add_exif(blocks, info.get("exif") or b"")
        xmp = info.get("xmp") or b""
        blocks.xmp = xmp.encode() if isinstance(xmp, str) else bytes(xmp)
        blocks.profile = info.get("icc_profile") or b""
        photoshop = info.get("photoshop")
        if isinstance(photoshop, dict):
            blocks.iptc = photoshop.get(_IPTC_RESOURCE) or b""
        return blocks


def _add_exif(blocks: _Blocks, exif: bytes) -> None:
    tiff = exif.removeprefix(b"Exif\0\0")
    (first,) = struct.unpack_from("<I" if tiff[:2] == b"II" else ">I", tiff, 4)
    found = _read_directory(io.BytesIO(tiff), tiff[:8], first)
    blocks.tags, blocks.exif, blocks.gps = found.tags, found.exif, found.gps


def _read_directory(file: BinaryIO | io.BytesIO, head: bytes, offset: int) -> _Blocks:
    """Read the metadata in a directory of a TIFF, or of EXIF, which has the same structure."""
    big = _BIG_TIFF in head[2:4]
    head = head[: 16 if big else 8]

    def directory(at: object) -> TiffImagePlugin.ImageFileDirectory_v2:
        found = TiffImagePlugin.ImageFileDirectory_v2(head)
        if isinstance(at, int) and at:
            file.seek(at)
            found.load(file)
        return found

    tags = directory(offset)
    raw = tags._tagdata  # noqa: SLF001 - IPTC is often declared as numbers
    blocks = _Blocks(tags, xmp=raw.get(_XMP_TAG, b""), iptc=raw.get(_IPTC_TAG, b""))
    with suppress(Exception):
        blocks.exif = directory(tags.get(_EXIF_IFD))
    with suppress(Exception):
        blocks.gps = directory(tags.get(_GPS_IFD))
    return blocks


def _document(blocks: _Blocks, *, location: bool) -> dict[str, Any]:
    exif = _select_tags(blocks.tags, _TAGS) | _select_tags(blocks.exif, _EXIF_TAGS)
    if location:
        exif |= _select_tags(blocks.gps, _GPS_TAGS)
    iptc = iptc_properties(blocks.iptc, location=location)
    xmp = xmp_properties(blocks.xmp, location=location)
    found = {
        "profile": _profile_name(blocks.profile),
        "exif": exif,
        "iptc": {name: _to_json(value) for name, value in iptc.items()},
        "xmp": {name: _to_json(value) for name, value in xmp.items()},
    }
    return {name: value for name, value in found.items() if value}


def _select_tags(tags: Mapping[int, Any], names: Mapping[int, str]) -> dict[str, Any]:
    found = {}
    for number, name in names.items():
        with suppress(Exception):
            value = _to_json(tags[number])
            if value not in (None, "", []):
                found[name] = value
    return found


def _to_json(value: object) -> Any:
    """Convert a value to bounded text, finite numbers or a list of them; None for others."""
    if isinstance(value, str):
        return plain_text(value, _MAX_CHARACTERS)
    if isinstance(value, int):
        return value if abs(value) < 1 << 53 else None
    if isinstance(value, Iterable) and not isinstance(value, bytes):
        items = [_to_json(item) for item, _ in zip(value, range(_MAX_ITEMS), strict=False)]
        return [item for item in items if item not in (None, "")]
    number = float(value)  # type: ignore[arg-type]  # a rational, or what is refused here
    return round(number, 6) if math.isfinite(number) else None


def _profile_name(icc: bytes) -> str | None:
    if not icc:
        return None
    with suppress(Exception):
        profile = ImageCms.ImageCmsProfile(io.BytesIO(icc))
        return plain_text(ImageCms.getProfileDescription(profile), _MAX_CHARACTERS)
    return None
