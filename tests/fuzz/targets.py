"""Fuzz targets: functions that accept any bytes, each with a promise."""

import os
import struct
import tempfile
import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import imagecodecs
import numpy as np
from fastapi import FastAPI
from PIL import Image, ImageCms
from pydantic import ValidationError
from starlette.requests import Request
from starlette.routing import Match

from iiif_server.app import create_app
from iiif_server.codecs.measure import measure_range
from iiif_server.codecs.probe import probe
from iiif_server.errors import (
    NotFoundError,
    OriginalRefusedError,
    RequestRefusedError,
)
from iiif_server.formats.credits import credits_of, credits_packet
from iiif_server.formats.pyramid_file import OpenPart, write_part
from iiif_server.iiif.geometry import Dimensions, Limits, square
from iiif_server.iiif.identifier import parse_identifier
from iiif_server.iiif.request import ImageFacts
from iiif_server.plan.encoding import EncodingOptions
from iiif_server.plan.grid import Grid, Tile
from iiif_server.plan.header import ImageHeader
from iiif_server.plan.local_file import LocalFile
from iiif_server.plan.sample_ranges import has_range
from iiif_server.routes.parameters import ImageParametersV2, ImageParametersV3
from iiif_server.server.addresses import identifier_in
from iiif_server.settings import Settings
from support import hostile, jpeg_metadata, jpegs, pictures, psds
from support.apps import all_routes
from support.heic import with_code_points
from support.jp2 import box, channels, enumerated, jp2, mapping, palette
from support.jxls import JXLS
from support.matrix.chart import FRACTIONS
from support.matrix.colours import linear
from support.matrix.dicom_kinds import small as dicoms
from support.matrix.jxl_kinds import jxl
from support.matrix.rare_kinds import KINDS as RARE
from support.matrix.rare_kinds import lerc, logluv
from support.matrix.raw_kinds import dng
from support.pdfs import pdf
from support.pictures import PICTURES, photograph
from support.rendering import EVERYTHING, derive
from support.tiff_samples import TiffFile

MAX_PIXELS = 4_000_000


@dataclass(frozen=True, slots=True)
class Target:
    """Function under test, and the valid inputs that mutation starts from."""

    name: str
    run: Callable[[bytes], None]
    seeds: Callable[[], Sequence[bytes]]


# --- identifiers and requests ---------------------------------------------------------------


@cache
def _app() -> FastAPI:
    """Return the application, for its routes; nothing of it is started."""
    return create_app(Settings(types={}), lambda _: None)


def _parse_request(data: bytes) -> None:
    """A path is an identifier and a request, or is refused; a rendition stays in its limits."""
    raw = bytes(byte for byte in data.partition(b"?")[0] if 0x20 < byte < 0x7F)
    path = "/" + unquote(raw.decode("ascii"))
    scope = {"type": "http", "method": "GET", "path": path, "raw_path": b"/" + raw, "headers": []}
    for route in all_routes(_app()):
        match, matched = route.matches(scope)
        parameters = matched.get("path_params", {})
        if match is not Match.FULL or "identifier" not in parameters:
            continue
        with suppress(RequestRefusedError, NotFoundError, ValidationError):
            _resolve_request(Request(scope), dict(parameters), str(getattr(route, "path", "")))
        return


def _resolve_request(request: Request, parameters: dict[str, str], route: str) -> None:
    routed = parameters.pop("identifier")
    prefix = route.partition("/{identifier")[0]
    after = route.count("/", len(prefix) + 1)
    identifier = parse_identifier(identifier_in(request.scope, prefix, after, routed), "default")
    assert parse_identifier(identifier.encoded) == identifier
    if "region" not in parameters:
        return
    model = ImageParametersV2 if prefix.endswith("2") else ImageParametersV3
    asked = model.model_validate(parameters).request
    limits = Limits(4000, 3000, 1_000_000)
    rendition = asked.resolve(ImageFacts(Dimensions(1000, 700), gray=False), limits)
    assert rendition.size.area <= 1_000_000
    assert rendition.region.x + rendition.region.width <= 1000
    assert rendition.region.y + rendition.region.height <= 700


def _requests() -> Sequence[bytes]:
    identifiers = (b"a:b", b"a:b%2Fc/d", b"photos:%C3%A9%20%25", b"b", b"a:b:c", b"a:%00")
    parameters = (
        b"info.json",
        b"full/max/0/default.jpg",
        b"square/!100,100/!90/gray.png",
        b"pct:10,10.5,50,.5/^pct:120/22.5/bitonal.webp",
        b"1,2,300,400/^!20,30/0/color.tif",
        b"0,0,1,1/full/360/native.gif",
    )
    paths = [identifier + b"/" + rest for identifier in identifiers for rest in parameters]
    return [prefix + path for prefix in (b"", b"iiif/2/", b"iiif/3/") for path in paths]


# --- originals ------------------------------------------------------------------------------


@cache
def _folder() -> Path:
    memory = Path("/dev/shm")  # noqa: S108 - a folder of this process's own is made in it
    return Path(tempfile.mkdtemp(dir=memory if memory.is_dir() else None))


def _write_file(data: bytes) -> Path:
    path = _folder() / f"input-{os.getpid()}"
    path.write_bytes(data)
    return path


def _probed(data: bytes) -> ImageHeader | None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # as workers do
        with suppress(OriginalRefusedError):
            return probe(_write_file(data), MAX_PIXELS, EVERYTHING)
    return None


def _probe(data: bytes) -> None:
    """Any file has an image header within the limits, or is refused."""
    header = _probed(data)
    if header is not None:
        assert 1 <= header.stored.area <= MAX_PIXELS
        assert min(header.stored.width, header.stored.height) >= 1
        assert header.max_shrink in {1, 2, 4, 8, 16, 32}


def _decode(data: bytes) -> None:
    """Any file whose header was read is decoded, or refused as a damaged original.

    Of deep originals, the range is measured, and 16 bits are decoded.
    """
    header = _probed(data)
    if header is None:
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            if has_range(header):
                span = measure_range(LocalFile.at(_write_file(data)), header=header)
                assert not span or span[0] < span[1]
            made = derive(
                _write_file(data),
                "full/!40,40/0/default.png",
                encoding=EncodingOptions(depth=16),
                max_pixels=MAX_PIXELS,
                bounds=EVERYTHING,
            )
        except (OriginalRefusedError, RequestRefusedError):
            return
    assert made.data.startswith(b"\x89PNG")


def _read_credits(data: bytes) -> None:
    """Credits of any metadata fit into a segment, and are well-formed XMP."""
    for blocks in ((data, b"", b""), (b"", data, b""), (b"", b"", data)):
        found = credits_of(blocks[0], blocks[1], {315: blocks[2], 33_432: blocks[2]})
        packet = credits_packet(found)
        assert len(packet) <= 65_502
        again = credits_of(packet, b"", {})
        assert again == found


def _credits() -> Sequence[bytes]:
    return [jpeg_metadata.xmp(properties, CREDIT_SPACES)[33:] for properties in CREDITED] + [
        jpeg_metadata.iptc((80, "Ann"), (116, "(c) Ann"), (110, "The Museum")),
        "(c) Zoë\0Bo".encode(),
    ]


CREDIT_SPACES = (
    'xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:p="http://ns.adobe.com/photoshop/1.0/"'
)
CREDITED = (
    "<dc:creator><rdf:Seq><rdf:li>Ann &amp; Bo</rdf:li><rdf:li>Cy</rdf:li></rdf:Seq></dc:creator>",
    '<dc:rights><rdf:Alt><rdf:li xml:lang="x-default">&lt;Ann&gt;</rdf:li></rdf:Alt></dc:rights>',
    "<p:Credit>The Museum</p:Credit>",
)


def _with_metadata() -> Sequence[bytes]:
    """Return originals with credits and a resolution in each place that formats have for them."""
    packet, *_ = _credits()
    values = photograph(32, 24)
    exif = jpeg_metadata.exif({315: jpeg_metadata.text("Ann"), 282: (5, 1, bytes(8))})
    blocks = jpeg_metadata.segment(0xE1, b"Exif\0\0" + exif) + jpeg_metadata.photoshop(
        (1028, jpeg_metadata.iptc((80, "Ann")))
    )
    resources = {1005: bytes(16), 1028: b"\x1c\2\x50\0\1A", 1058: exif, 1060: packet}
    resolution = box(b"res ", box(b"resc", struct.pack(">4Hbb", 300, 254, 300, 254, 4, 4)))
    stream = pictures.saved(Image.new("L", (32, 32), 2), "JPEG2000", no_jp2=True)
    uuid = box(b"uuid", bytes.fromhex("be7acfcb97a942e89c71999491e3afac") + packet)
    tags = {282: (5, [300, 1]), 283: (5, [300, 1]), 296: (3, [2]), 700: (1, list(packet))}
    return [
        jpeg_metadata.with_segments(pictures.jpeg(values), blocks),
        psds.psd(values, psds.RGB, resources=resources),
        jp2(stream, enumerated(17), resolution, count=1) + uuid,
        TiffFile(values, 2, tags=tags).write(),
        hostile.png_with(hostile.png_chunk(b"iTXt", b"XML:com.adobe.xmp" + bytes(5) + packet)),
        pictures.saved(Image.fromarray(values), "WEBP", xmp=packet, exif=exif),
    ]


@cache
def _originals() -> Sequence[bytes]:
    return [
        *(picture.encode(photograph(60, 44)) for picture in PICTURES),
        *_arrays(),
        *_boxed(),
        with_code_points(12, 13),
        *JXLS.values(),
        *_rare_encodings(),
        pdf(extra="/Rotate 90"),
        pdf(extra="/UserUnit 2", compressed=True),
        *_rare(),
        *_with_metadata(),
    ]


def _rare_encodings() -> Sequence[bytes]:
    """Return JPEGs of 12 bits and lossless ones, PSDs, and BMPs of bit fields and run lengths."""
    values = photograph(32, 24)
    gray = values[:, :, :1]
    fields = struct.pack("<IiiHHIIiiII3I", 40, 32, 24, 1, 16, 3, 0, 0, 0, 0, 0, 0xF800, 0x7E0, 31)
    runs = struct.pack("<IiiHHIIiiII2I", 40, 32, 24, 1, 8, 1, 0, 0, 0, 2, 0, 0, 0xFFFFFF)
    heads = ((fields, bytes(32 * 24 * 2)), (runs, b"\x20\1\0\0" * 24 + b"\0\1"))
    return [
        jpegs.dct(values.astype(int) * 16, 12, before=jpegs.RGB),
        jpegs.lossless(values, 8, before=jpegs.RGB),
        psds.psd(values.astype(int) * 257, psds.RGB, bits=16, big=True, packed=True),
        psds.psd(np.dstack((values, gray)), psds.RGB, layers=psds.layers(-1)),
        psds.psd(values, psds.LAB),
        *(b"BM" + struct.pack("<I4xI", 14 + len(head) + len(data), 14 + len(head)) + head + data
          for head, data in heads),
    ]  # fmt: skip


def _rare() -> Sequence[bytes]:
    """Return TGA, PCX, and LERC, JPEG XL, LogLuv and LogL in TIFF."""
    values = photograph(32, 24)
    inside = ((34_887, lerc), (50_002, jxl))
    return [
        *RARE.values(),
        dng(linear(FRACTIONS)),
        *dicoms(),
        *(
            TiffFile(values, 2, rows=16, compression=number, encode=encode).write()
            for number, encode in inside
        ),
        *(logluv(values[:, :, :1].astype(np.uint32) << 8, kind, rows=16) for kind in (16, 24, 32)),
    ]


def _boxed() -> Sequence[bytes]:
    """Return JPEG 2000 files and PNGs whose colours are in boxes and chunks."""
    stream = pictures.saved(Image.new("L", (32, 32), 2), "JPEG2000", no_jp2=True)
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    points = struct.pack(">8I", 31_270, 32_900, 68_000, 32_000, 26_500, 69_000, 15_000, 6_000)
    tags = {b"cICP": b"\x0c\x0d\0\1", b"gAMA": struct.pack(">I", 45_455), b"cHRM": points}
    return [
        jp2(
            stream,
            enumerated(16),
            palette(*[(at, 9, 99) for at in range(4)]),
            mapping(2, 1, 0),
            channels((0, 0, 1), (1, 0, 2), (2, 0, 3)),
            count=1,
        ),
        jp2(stream, box(b"colr", b"\2\0\0" + profile), count=1),
        *(hostile.png_with(hostile.png_chunk(*tag)) for tag in tags.items()),
        hostile.png_with(
            b"".join(hostile.png_chunk(name, tags[name]) for name in (b"gAMA", b"cHRM"))
        ),
    ]


def _arrays() -> Sequence[bytes]:
    """Return TIFFs of samples that tifffile decodes."""
    values = photograph(60, 44)
    gray = values[:, :, :1]
    pieces: dict[int, Callable[..., Any]] = {
        7: imagecodecs.jpeg_encode,
        34_712: imagecodecs.jpeg2k_encode,
        50_001: imagecodecs.webp_encode,
        5: imagecodecs.lzw_encode,
        34_925: imagecodecs.lzma_encode,
        50_000: imagecodecs.zstd_encode,
    }
    return [
        TiffFile(values, 2, planar=True, deflate=True).write(),
        TiffFile(values, 8, tile=(32, 32)).write(),
        TiffFile(values, 6, tags={530: (3, [1, 1])}).write(),
        TiffFile(gray.astype("f4") / 255, 1, bits=32, big=True, order=">").write(),
        TiffFile(gray >> 5, 1, bits=3).write(),
        *(
            TiffFile(
                values, 8, tile=(64, 64), pieces=[bytes(encode(pad))], tags={259: (3, [number])}
            ).write()
            for pad in [np.zeros((64, 64, 3), np.uint8)]
            for number, encode in pieces.items()
        ),
    ]


# --- pyramids -------------------------------------------------------------------------------

_GRID = Grid(Dimensions(700, 500), square(128))


@cache
def _tiles() -> dict[Tile, bytes]:
    """Return different tiles, as in a pyramid."""
    return {
        tile: pictures.jpeg(photograph(16, 16, seed=number), quality=30)
        for number, (tile, _) in enumerate(
            pair for factor in _GRID.scale_factors for pair in _GRID.tiles(factor)
        )
    }


def _read_part(data: bytes) -> None:
    """A part of a pyramid returns a tile as it was written, or raises."""
    try:
        opened = OpenPart(_write_file(data))
    except OSError:
        return
    with opened as part:
        for tile, written in _tiles().items():
            try:
                read = part.read(tile, _GRID)
            except (KeyError, OSError):
                continue
            assert read == written, f"{tile} is another one"


@cache
def _parts() -> Sequence[bytes]:
    path = _folder() / f"part-{os.getpid()}"
    path.touch()
    write_part(path, _tiles().items(), _GRID)
    return [path.read_bytes()]


TARGETS: dict[str, Target] = {
    target.name: target
    for target in (
        Target("request", _parse_request, _requests),
        Target("header", _probe, _originals),
        Target("pixels", _decode, _originals),
        Target("credits", _read_credits, _credits),
        Target("pyramid", _read_part, _parts),
    )
}
