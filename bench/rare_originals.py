"""DICOM, DNG, LogLuv, HEIF, PDF and others, in the codings that take most.

They are written by hand, or by libraries that do not read them here. JPEG XL has no other library
than libjxl.
"""

import io
import struct
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pyvips
from numpy.typing import NDArray
from PIL import Image

from support.matrix import dicom_kinds as dicoms
from support.matrix.colours import SRGB, linear, own_xyz
from support.matrix.ffmpeg import encoded
from support.matrix.heif_kinds import Heif, full, hevc, nclx, picture, planes_of
from support.matrix.jpegs import EXTENDED, Jpeg
from support.matrix.rare_kinds import log_l, log_luv, tga
from support.matrix.raw_kinds import dng
from support.psds import CMYK, LAB, RGB, layers, psd
from support.tiff_samples import TiffFile

Array = NDArray[Any]
Variant = Callable[[pyvips.Image, str], None]
_POINTS = 72 / 150
"""Of a pixel of a PDF page."""
_HEVC_SIDE, _HEVC_TIMES = 128, 32
"""Side of what is repeated in pictures of x265: libde265 decodes up to 16 MiB of data."""


def write_samples(write: Callable[[Array], bytes], *, deep: bool = False) -> Variant:
    """Return a variant that a function writes from an array."""

    def variant(image: pyvips.Image, path: str) -> None:
        values = np.ndarray(
            (image.height, image.width, image.bands), np.uint8, image.write_to_memory()
        )
        Path(path).write_bytes(write(values.astype(np.uint16) * 257 if deep else values))

    return variant


def _gray(write: Callable[[Array], bytes], *, deep: bool = True) -> Variant:
    """The same, of one sample."""
    return write_samples(lambda values: write(np.ascontiguousarray(values[:, :, 1:2])), deep=deep)


def _literals(rows: Array, most: int, first: int) -> Array:
    """Rows of bytes as literal runs of so many bytes at most, whose lengths begin at `first`."""
    parts = []
    for at in range(0, rows.shape[1], most):
        part = rows[:, at : at + most]
        head = np.full((len(rows), 1), part.shape[1] - 1 + first, np.uint8)
        parts += [head, part]
    return np.hstack(parts)


# --- DICOM ----------------------------------------------------------------------------------


def _framed(
    write: Callable[[Array], bytes], syntax: str, photometric: str, stored: int = 0
) -> Callable[[Array], bytes]:
    def dicom(values: Array) -> bytes:
        return dicoms.dicom(
            values, photometric, syntax=syntax, stored=stored, fragments=[write(values)]
        )

    return dicom


def _runs(values: Array) -> bytes:
    """A frame in literals alone."""
    height, width = values.shape[:2]
    bytes_ = values.astype(values.dtype.newbyteorder(">")).view(np.uint8)
    planes = bytes_.reshape(height, width, -1).transpose(2, 0, 1)
    segments = [_literals(plane, 128, 0).tobytes() for plane in planes]
    segments = [one + bytes(len(one) % 2) for one in segments]
    starts = [64 + sum(map(len, segments[:at])) for at in range(len(segments))]
    head = struct.pack("<16I", len(segments), *starts, *[0] * (15 - len(segments)))
    return head + b"".join(segments)


def _jpeg(values: Array, **options: Any) -> bytes:
    height, width, count = values.shape
    image = pyvips.Image.new_from_memory(values.tobytes(), width, height, count, "uchar")
    data: bytes = image.jpegsave_buffer(Q=90, **options)
    return data


def _deep_jpeg(values: Array) -> bytes:
    """A JPEG of 12 bits by hand: a strip of eight rows of blocks, as often as it has room."""
    height, width, _ = values.shape
    strip = Jpeg(values[:64] >> 4, frame=EXTENDED, bits=12, restart=width // 8).write()
    at = strip.index(b"\xff\xc1") + 5
    strip = strip[:at] + struct.pack(">H", height) + strip[at + 2 :]
    scan = strip.index(b"\xff\xda")
    scan += 2 + int.from_bytes(strip[scan + 2 : scan + 4], "big")
    body = strip[scan:-2]
    return strip[:scan] + b"\xff\xd7".join([body] * -(-height // 64)) + b"\xff\xd9"


def _lossless_rgb(values: Array) -> bytes:
    height, width, _ = values.shape
    rows = np.ascontiguousarray(values[:, :, ::-1]).reshape(height, -1)
    return encoded("ljpeg", "bgr24", [rows], width=width, options={"strict": "unofficial"})


def _lossless(values: Array) -> bytes:
    return bytes(imagecodecs.ljpeg_encode(values[:, :, 0]))


def _jpeg2000(values: Array) -> bytes:
    file = io.BytesIO()
    image = Image.fromarray(values[:, :, 0] if values.shape[2] == 1 else values)
    image.save(file, "JPEG2000", no_jp2=True, irreversible=False)
    return file.getvalue()


def _frames(values: Array) -> bytes:
    """Three frames, one after the other."""
    height, width, _ = values.shape
    frames = values[: height // 3 * 3].reshape(3, height // 3, width, -1)
    return dicoms.dicom(
        frames,
        "YBR_FULL_422",
        syntax=dicoms.JPEG,
        fragments=[_jpeg(np.ascontiguousarray(frame)) for frame in frames],
    )


_WINDOW: dicoms.Elements = {
    0x0028_1050: ("DS", "1000"),
    0x0028_1051: ("DS", "4000"),
    0x0028_1052: ("DS", "-1024"),
    0x0028_1053: ("DS", "2"),
}
_SIGMOID: dicoms.Elements = {**_WINDOW, 0x0028_1056: ("CS", "SIGMOID")}
_TABLE: dicoms.Elements = {
    0x0028_3002: ("US", [4096, 0, 16]),
    0x0028_3006: ("OW", [16 * at for at in range(4096)]),
}
_VOI: dicoms.Elements = {0x0028_3010: ("SQ", [_TABLE])}
_MODALITY: dicoms.Elements = {0x0028_3000: ("SQ", [_TABLE])}
_PALETTE: dicoms.Elements = {
    **{0x0028_1101 + at: ("US", [256, 0, 16]) for at in range(3)},
    **{0x0028_1201 + at: ("OW", [257 * one for one in range(256)]) for at in range(3)},
}


def _twelve(more: dicoms.Elements | None = None, type_: Any = np.uint16) -> Variant:
    """Gray of 12 bits."""
    return _gray(
        lambda values: dicoms.dicom(
            (values >> 4).astype(type_), "MONOCHROME2", stored=16 if more else 12, more=more
        )
    )


_DICOM: dict[str, Variant] = {
    "12.dicom": _twelve(),
    "signed.dicom": _twelve(_WINDOW, np.int16),
    "sigmoid.dicom": _twelve(_SIGMOID),
    "voi-table.dicom": _twelve(_VOI),
    "modality-table.dicom": _twelve(_MODALITY),
    "32.dicom": _gray(
        lambda values: dicoms.dicom(values.astype(np.uint32) * 65_537, "MONOCHROME2")
    ),
    "palette.dicom": _gray(
        lambda values: dicoms.dicom(values, "PALETTE COLOR", more=_PALETTE), deep=False
    ),
    "rgb.dicom": write_samples(lambda values: dicoms.dicom(values, "RGB")),
    "rgb-16.dicom": write_samples(lambda values: dicoms.dicom(values, "RGB"), deep=True),
    "planar.dicom": write_samples(lambda values: dicoms.dicom(values, "RGB", planar=True)),
    "ybr.dicom": write_samples(lambda values: dicoms.dicom(values, "YBR_FULL")),
    "ybr-422.dicom": write_samples(
        lambda values: dicoms.dicom(
            values, "YBR_FULL_422", data=values.reshape(-1)[: values.size // 3 * 2].tobytes()
        )
    ),
    "runs.dicom": write_samples(_framed(_runs, dicoms.RUNS, "RGB")),
    "runs-16.dicom": _gray(_framed(_runs, dicoms.RUNS, "MONOCHROME2")),
    "jpeg.dicom": write_samples(_framed(_jpeg, dicoms.JPEG, "YBR_FULL_422")),
    "progressive.dicom": write_samples(
        _framed(partial(_jpeg, interlace=True, subsample_mode="off"), dicoms.JPEG, "YBR_FULL_422")
    ),
    "12-jpeg.dicom": _gray(
        _framed(_deep_jpeg, dicoms.JPEG.replace(".50", ".51"), "MONOCHROME2", 12)
    ),
    "lossless.dicom": _gray(_framed(_lossless, dicoms.LOSSLESS, "MONOCHROME2")),
    "lossless-rgb.dicom": write_samples(_framed(_lossless_rgb, dicoms.LOSSLESS, "RGB")),
    "jpeg-ls.dicom": _gray(_framed(dicoms.jpeg_ls, dicoms.JPEG_LS, "MONOCHROME2")),
    "jpeg-ls-rgb.dicom": write_samples(_framed(dicoms.jpeg_ls, dicoms.JPEG_LS, "RGB")),
    "jpeg2000.dicom": _gray(_framed(_jpeg2000, dicoms.JPEG_2000, "MONOCHROME2")),
    "jpeg2000-rgb.dicom": write_samples(_framed(_jpeg2000, dicoms.JPEG_2000, "YBR_RCT")),
    "frames.dicom": write_samples(_frames),
    "slide.dicom": write_samples(lambda values: dicoms.slide(values, 480)),
}


# --- DNG and LogLuv -------------------------------------------------------------------------


def _raw(**options: Any) -> Callable[[Array], bytes]:
    return lambda values: dng(np.zeros((64, 3)), values=values, rows=64, **options)


def _log(values: Array) -> bytes:
    light = linear(values[:, :, 0] / 255)
    return _logarithmic(log_l(light)[:, :, None].astype(np.uint16), 32_844, 1)


def _luv(values: Array) -> bytes:
    height, width, _ = values.shape
    codes = np.empty((height, width, 1), np.uint32)
    for top in range(0, height, 64):
        part = linear(values[top : top + 64].reshape(-1, 3) / 255) @ own_xyz(SRGB).T
        codes[top : top + 64] = log_luv(part).reshape(-1, width, 1)
    return _logarithmic(codes, 32_845, 3)


def _logarithmic(codes: Array, photometric: int, number: int) -> bytes:
    """A TIFF of light in logarithms, in literals alone."""
    count = codes.dtype.itemsize

    def strip(rows: Array) -> bytes:
        planes = rows.astype(f">u{count}").view(np.uint8).reshape(*rows.shape[:2], count)
        parts = [_literals(planes[:, :, at], 127, 1) for at in range(count)]
        return np.hstack(parts).tobytes()

    tags = {277: (3, [number]), 258: (3, [16] * number), 339: (3, [2] * number)}
    return TiffFile(
        codes, photometric, bits=16, compression=34_676, encode=strip, tags=tags, rows=64
    ).write()


_LIGHT: dict[str, Variant] = {
    "plain.dng": _gray(_raw()),
    "lossless.dng": _gray(_raw(compression=7, tile=(512, 512), encode=_lossless)),
    "linear.dng": write_samples(_raw(mosaic=()), deep=True),
    "luv.tif": write_samples(_luv),
    "log.tif": write_samples(_log),
}


# --- HEIF -----------------------------------------------------------------------------------


def _heif(chroma: str, bits: int, *, alpha: bool = False) -> Variant:
    deep = bits > 8  # noqa: PLR2004 - bits of a byte

    def write(values: Array) -> bytes:
        values = values[:_HEVC_SIDE, :_HEVC_SIDE] >> (8 * values.itemsize - bits)
        values = values.repeat(_HEVC_TIMES, axis=0).repeat(_HEVC_TIMES, axis=1)
        end = f"{bits}le" if deep else ""
        coded = hevc(planes_of(values, chroma), f"yuv{chroma}p{end}", ranged=True)
        items = [picture(coded, values.shape, nclx(1, 13, 6, ranged=True), bits=bits)]
        references: list[tuple[bytes, int, tuple[int, ...]]] = []
        if alpha:
            kind = full(b"auxC", b"urn:mpeg:mpegB:cicp:systems:auxiliary:alpha\0")
            items.append(picture(coded, values.shape, kind, bits=bits))
            references = [(b"auxl", 2, (1,))]
        return Heif(items, references=references).write()

    return write_samples(write, deep=deep)


_HEIF: dict[str, Variant] = {
    "8.heic": _heif("420", 8),
    "444.heic": _heif("444", 8),
    "alpha.heic": _heif("420", 8, alpha=True),
    "10.heic": _heif("420", 10),
    "12.heic": _heif("444", 12),
    "10-alpha.heic": _heif("420", 10, alpha=True),
}


# --- PSD, JPEG XL, TGA and PDF ----------------------------------------------------------------


def _psd(*, alpha: bool = False, mode: int = RGB) -> Callable[[Array], bytes]:
    def write(values: Array) -> bytes:
        if alpha or mode == CMYK:
            values = np.dstack((values, values[:, :, :1]))
        return psd(
            values, mode, bits=8 * values.itemsize,
            layers=layers(-1, bits=8 * values.itemsize) if alpha else b"",
        )  # fmt: skip

    return write


def _packed_psd(values: Array) -> bytes:
    width = values.shape[1]
    data = psd(values, RGB)
    rows = _literals(values.transpose(2, 0, 1).reshape(-1, width), 128, 0)
    table = struct.pack(f">{len(rows)}H", *[rows.shape[1]] * len(rows))
    return data[: -2 - values.nbytes] + b"\0\1" + table + rows.tobytes()


def _jxl(**options: Any) -> Callable[[Array], bytes]:
    return lambda values: bytes(imagecodecs.jpegxl_encode(values, effort=3, **options))


def _with_alpha(values: Array) -> Array:
    return np.dstack((values, values[:, :, :1]))


def _pdf(encode: Callable[[Array], bytes], filter_: str, scale: float = 1) -> Variant:
    """A page that an image fills, which has `scale` times its width and height in pixels."""

    def write(values: Array) -> bytes:
        height, width, _ = values.shape
        size = f"{width * _POINTS / scale:.4f} 0 0 {height * _POINTS / scale:.4f} 0 0"
        box_ = f"0 0 {width * _POINTS / scale:.4f} {height * _POINTS / scale:.4f}"
        data, content = encode(values), f"{size} cm /I Do".encode()
        image = (
            f"/Type /XObject /Subtype /Image /Width {width} /Height {height} /BitsPerComponent 8 "
            f"/ColorSpace /DeviceRGB /Filter /{filter_} /Length {len(data)}"
        )
        return _file_of(
            b"<< /Type /Catalog /Pages 2 0 R >>",
            b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
            f"<< /Type /Page /Parent 2 0 R /MediaBox [{box_}] /Contents 4 0 R "
            "/Resources << /XObject << /I 5 0 R >> >> >>".encode(),
            b"<< /Length %d >>\nstream\n%s\nendstream" % (len(content), content),
            b"<< %s >>\nstream\n%s\nendstream" % (image.encode(), data),
        )

    return write_samples(write)


def _file_of(*objects: bytes) -> bytes:
    data, table = b"%PDF-1.7\n", b"0000000000 65535 f \n"
    for number, text in enumerate(objects, 1):
        table += b"%010d 00000 n \n" % len(data)
        data += b"%d 0 obj\n%s\nendobj\n" % (number, text)
    count = len(objects) + 1
    end = b"trailer << /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF" % (count, len(data))
    return data + b"xref\n0 %d\n%s" % (count, table) + end


_OTHERS: dict[str, Variant] = {
    "photo.psd": write_samples(_psd()),
    "16.psd": write_samples(_psd(), deep=True),
    "runs.psd": write_samples(_packed_psd),
    "alpha.psd": write_samples(_psd(alpha=True)),
    "16-alpha.psd": write_samples(_psd(alpha=True), deep=True),
    "inks.psd": write_samples(_psd(mode=CMYK)),
    "lab.psd": write_samples(_psd(mode=LAB)),
    "lossy.jxl": write_samples(_jxl(distance=1.0)),
    "lossless.jxl": write_samples(_jxl(lossless=True)),
    "16.jxl": write_samples(_jxl(lossless=True), deep=True),
    "float.jxl": write_samples(lambda values: _jxl(distance=1.0)(values.astype(np.float32) / 255)),
    "gray.jxl": _gray(_jxl(distance=1.0), deep=False),
    "alpha.jxl": write_samples(lambda values: _jxl(distance=1.0)(_with_alpha(values))),
    "16-alpha.jxl": write_samples(
        lambda values: _jxl(lossless=True)(_with_alpha(values)), deep=True
    ),
    "24.tga": write_samples(lambda values: tga(2, values)),
    "32.tga": write_samples(lambda values: tga(2, _with_alpha(values), flags=8)),
    "jpeg.pdf": _pdf(_jpeg, "DCTDecode"),
    "flate.pdf": _pdf(lambda values: zlib.compress(values.tobytes(), 1), "FlateDecode"),
    "jpeg2000.pdf": _pdf(_jpeg2000, "JPXDecode"),
    "large-jpeg2000.pdf": _pdf(_jpeg2000, "JPXDecode", 2),
    "large-jpeg.pdf": _pdf(_jpeg, "DCTDecode", 2),
    "large-flate.pdf": _pdf(lambda values: zlib.compress(values.tobytes(), 1), "FlateDecode", 2),
}
RARE: dict[str, Variant] = {**_DICOM, **_LIGHT, **_HEIF, **_OTHERS}
