"""The table of formats (`formats/table.py`), compared with what is read and written.

A kind stands in it because originals of the matrix are read by that library; `test_matrix.py`
measures their colours.
"""

import struct
import zlib
from collections.abc import Callable
from fnmatch import fnmatchcase
from functools import partial
from io import BytesIO
from itertools import chain
from pathlib import Path

import pytest
from PIL import Image

from iiif_server.codecs.encode import supported_formats
from iiif_server.codecs.probe import probe
from iiif_server.errors import UnsupportedOriginalError
from iiif_server.formats.table import INPUT_ROWS, OUTPUT_ROWS, InputRow, OutputRow
from iiif_server.iiif.formats import FORMAT_FACTS, Format
from iiif_server.library import open_image
from iiif_server.plan.header import Reader
from iiif_server.plan.original_format import OriginalFormat, recognise
from support import psds
from support.hostile import tiff_of, tiff_tags
from support.jp2 import SIDE, box, jp2
from support.jxls import JXLS
from support.matrix import rare_kinds
from support.matrix.chart import FRACTIONS, GRAYS, RGB, painted
from support.matrix.colours import linear
from support.matrix.dicom_kinds import dicom, slide
from support.matrix.every import KINDS
from support.matrix.ffmpeg import jpeg2000
from support.matrix.inks import DEFAULT_INKS
from support.matrix.jpegs import Jpeg
from support.matrix.jxl_kinds import jxl
from support.matrix.rare_kinds import lerc, tga
from support.matrix.raw_kinds import dng
from support.matrix.small_kinds import bmp
from support.pdfs import pdf
from support.pictures import photograph
from support.rendering import EVERYTHING, derive
from support.tiff_samples import TiffFile

EXAMPLES: dict[tuple[OriginalFormat, Reader], dict[str, tuple[str, ...]]] = {
    (OriginalFormat.JPEG, Reader.LIBVIPS): {
        "gray, YCbCr and RGB": ("jpeg gray", "jpeg restart markers", "jpeg Adobe 0: RGB"),
        "CMYK and YCCK": ("jpeg CMYK*", "jpeg YCCK*"),
        "chroma in any sampling": ("jpeg [1-4]x[12] *",),
        "baseline, extended and progressive": (
            "jpeg 1x1 1x1 1x1",
            "jpeg extended sequential",
            "jpeg *progressive",
        ),
        "arithmetic coding": ("jpeg arithmetic*",),
        "without its last marker": ("jpeg no end marker",),
    },
    (OriginalFormat.JPEG, Reader.JPEG_SAMPLES): {
        "12 bits, also progressive and arithmetic": (
            "jpeg 12 bits",
            "jpeg 12 bits progressive",
            "jpeg 12 bits arithmetic",
        ),
        "lossless, 2 to 16 bits": ("jpeg lossless*",),
    },
    (OriginalFormat.PNG, Reader.LIBVIPS): {
        "gray, RGB and palette, with and without alpha": (
            "png gray *",
            "png RGB*",
            "png palette*",
            "png * tRNS",
        ),
        "1 to 16 bits": ("png gray [1248] bits", "png gray 16 bits"),
        "interlaced": ("png * interlaced",),
        "iCCP, cICP, sRGB, gAMA with cHRM": ("png iCCP*", "png cICP*", "png sRGB*", "png gAMA*"),
        "EXIF, also behind the pixels": ("png eXIf ?", "png eXIf ? behind the pixels"),
        "the default image of an animation": ("png animated*",),
    },
    (OriginalFormat.TIFF, Reader.LIBVIPS): {
        "gray, RGB, palette and CMYK of up to 16 bits": (
            "tiff gray [1248] bits",
            "tiff extra samples * 16 bits",
            "tiff gray 16 bits",
            "tiff palette 8 bits",
            "tiff CMYK with a profile",
        ),
        "BigTIFF, either byte order": (
            "tiff * big joint strips",
            "tiff II classic joint strips",
            "tiff MM classic joint strips",
        ),
        "strips and tiles": ("tiff one row a strip", "tiff JPEG RGB tables tiles"),
        "PackBits, CCITT, LZW, deflate, JPEG, WebP": (
            "tiff PackBits*",
            "tiff group 4",
            "tiff LZW padded",
            "tiff deflate predictor 1",
            "tiff JPEG RGB",
            "tiff JPEG RGB lossless",
            "tiff WebP",
        ),
        "alpha of either kind": ("tiff half transparent [12]",),
        "reduced pages, SubIFDs and thumbnails in front": (
            "tiff reduced pages*",
            "tiff SubIFDs*",
            "tiff thumbnail in front",
        ),
    },
    (OriginalFormat.TIFF, Reader.ARRAYS): {
        "planar": ("tiff extra samples * planar", "tiff JPEG RGB planar"),
        "signed, and other depths up to 32 bits": ("tiff RGB signed*", "tiff RGB 32 bits"),
        "floating point of 16 to 64 bits": ("tiff RGB float*",),
        "CIELab, ICCLab and ITULab": ("tiff CIELab*", "tiff ICCLab*", "tiff ITULab*"),
        "YCbCr of every subsampling": ("tiff YCbCr [124]x[124]",),
        "JPEG of 12 and 16 bits, and whole ones by the old method": (
            "tiff JPEG RGB 12 bits",
            "tiff JPEG * 16 bits*",
            "tiff old JPEG*",
        ),
        "JPEG 2000, LZMA, Zstandard": (
            "tiff JPEG 2000*",
            "tiff LZMA predictor 1",
            "tiff Zstandard predictor 2",
        ),
        "strips and tiles that are left out": ("tiff sparse*",),
        "odd tiles": ("tiff odd tiles*",),
        "LERC, JPEG XL, LogLuv and LogL, with `limits.rare`": (
            "tiff LERC*",
            "tiff JPEG XL*",
            "tiff LogL*",
        ),
    },
    (OriginalFormat.WEBP, Reader.LIBVIPS): {
        "lossy": ("webp lossy",),
        "lossless": ("webp lossless",),
        "alpha": ("webp * half transparent",),
        "ICC profile": ("webp *profile",),
        "EXIF orientation": ("webp EXIF*",),
        "frames": ("webp animated",),
    },
    (OriginalFormat.GIF, Reader.LIBVIPS): {
        "87a and 89a": ("gif 8[79]a",),
        "interlaced": ("gif interlaced",),
        "local colour tables": ("gif local table",),
        "frames": ("gif animated",),
    },
    (OriginalFormat.JPEG2000, Reader.OPENJPEG): {
        "JP2, JPX and bare codestreams": ("jp2 RGB", "jp2 jpx", "jp2 codestream*"),
        "HTJ2K": ("jp2 HTJ2K*",),
        "1 to 16 bits": ("jp2 gray * bits", "jp2 RGB * bits"),
        "sRGB, gray, sYCC, e-sYCC, CMYK, CMY and CIELab": (
            "jp2 RGB",
            "jp2 gray *",
            "jp2 *sYCC",
            "jp2 CMY*",
            "jp2 CIELab*",
        ),
        "subsampled chroma": ("jp2 *sYCC * halved*", "jp2 *sYCC halved*"),
        "ICC profiles": ("jp2 ICC*",),
        "palettes": ("jp2 palette*",),
        "channel definitions": ("jp2 components in another order", "jp2 *opacity"),
    },
    (OriginalFormat.AVIF, Reader.LIBVIPS): {
        "8 to 12 bits": ("avif matrix 1 full", "avif 10 bits*", "avif * 12 bits"),
        "nclx and ICC profile": ("avif Display P3", "avif profile*"),
        "turned, mirrored and cropped": ("avif transformed *", "avif cropped"),
        "alpha": ("avif half transparent",),
    },
    (OriginalFormat.HEIF, Reader.LIBHEIF): {
        "8 to 12 bits": ("heic matrix 1 full", "heic 10 bits*", "heic 12 bits*"),
        "nclx and ICC profile": ("heic Display P3", "heic profile*"),
        "turned, mirrored and cropped": ("heic transformed *", "heic cropped"),
        "alpha": ("heic half transparent",),
        "grids": ("heic grid",),
    },
    (OriginalFormat.JPEGXL, Reader.LIBJXL): {
        "codestreams and boxes": ("jxl RGB", "jxl RGB in boxes"),
        "lossy and lossless": ("cjxl lossy", "cjxl rgb"),
        "1 to 16 bits and floating point": ("jxl RGB * bits",),
        "gray and alpha": ("jxl gray", "jxl RGBA*"),
        "ICC profiles": ("cjxl *icc",),
        "its own orientation": ("jxl orientation ?",),
        "the first frame": ("cjxl anim",),
    },
    (OriginalFormat.BMP, Reader.BMP): {
        "every header of Windows and OS/2": ("bmp * OS/2 [12]", "bmp *version ?", "bmp 24 bits"),
        "1 to 32 bits": ("bmp 1 bit", "bmp [48] bits", "bmp [123][642] bits"),
        "bit fields": ("bmp * bit fields",),
        "run lengths of 4 and 8 bits": ("bmp run lengths*",),
        "rows from the top": ("bmp * top down",),
    },
    (OriginalFormat.PSD, Reader.PSD): {
        "the merged image of PSD and PSB": ("psd RGB", "psb packed RGB"),
        "RGB, gray, CMYK and Lab of 8 and 16 bits": (
            "psd RGB*",
            "psd gray*",
            "psd CMYK*",
            "psd Lab*",
        ),
        "bitmaps and palettes": ("ps? *bitmap", "ps? *indexed"),
        "duotones as gray": ("ps? *duotone",),
        "run lengths": ("psb packed *",),
        "ICC profiles": ("ps? *profile",),
    },
    (OriginalFormat.PDF, Reader.PDFIUM): {
        "every page at `pdf.dpi`": ("pdf drawn", "pdf image"),
        "CropBox, /Rotate and UserUnit": ("pdf CropBox", "pdf /Rotate*", "pdf UserUnit"),
    },
    (OriginalFormat.TGA, Reader.PILLOW): {
        "16, 24 and 32 bits": ("tga 16 bits", "tga 24 bits", "tga 32 bits*"),
        "palettes and gray": ("tga palette", "tga gray"),
        "run lengths": ("tga * run lengths",),
        "rows from any corner": ("tga * from the *",),
    },
    (OriginalFormat.PCX, Reader.PILLOW): {
        "RGB": ("pcx RGB",),
        "palettes of 2 to 256 colours": ("pcx 1 bit", "pcx 4 planes", "pcx palette"),
    },
    (OriginalFormat.RAW, Reader.LIBRAW): {
        "DNG: mosaics of colours, gray sensors, linear": ("raw DNG*", "raw gray", "raw linear*"),
        "orientation": ("raw DNG orientation ?",),
    },
    (OriginalFormat.DICOM, Reader.DICOM): {
        "implicit and explicit elements, either byte order": (
            "dicom RGB",
            "dicom RGB implicit",
            "dicom gray big-endian",
        ),
        "gray of 8, 16 and 32 bits, signed, with windows and look-up tables": (
            "dicom gray 32 bits",
            "dicom gray MONOCHROME1",
            "dicom gray signed",
            "dicom gray * window",
            "dicom gray * table",
        ),
        "RGB, YBR_FULL, YBR_FULL_422 and palettes": (
            "dicom RGB*",
            "dicom YBR_FULL",
            "dicom JPEG YBR",
            "dicom palette*",
        ),
        "uncompressed, run lengths, JPEG, JPEG-LS, JPEG 2000": (
            "dicom RGB",
            "dicom run lengths*",
            "dicom JPEG lossless*",
            "dicom JPEG-LS*",
            "dicom JPEG 2000*",
        ),
        "frames": ("dicom gray enhanced",),
        "slides of all their tiles (TILED_FULL)": ("dicom slide*",),
    },
}
"""Patterns of names of originals, each of which one reads at least, by what they stand for."""
_ORIGINALS: dict[str, Callable[[], bytes]] = {
    **{kind.name: kind.write for kind in KINDS},
    # What libjxl wrote is read by it too, so they are not in the matrix.
    **{f"cjxl {name}": partial(bytes, data) for name, data in JXLS.items()},
}
_KINDS = {
    Format.JPG: OriginalFormat.JPEG,
    Format.TIF: OriginalFormat.TIFF,
    Format.PNG: OriginalFormat.PNG,
    Format.GIF: OriginalFormat.GIF,
    Format.JP2: OriginalFormat.JPEG2000,
    Format.PDF: OriginalFormat.PDF,
    Format.WEBP: OriginalFormat.WEBP,
    Format.AVIF: OriginalFormat.AVIF,
}
_PCX = _ORIGINALS["pcx RGB"]()
_BASELINE = Jpeg(painted(RGB)).write()
_LOCK = "/Encrypt << /Filter /Standard /V 1 /R 2 /O <{0}> /U <{0}> /P -4 >> /ID [<00> <00>]"
REFUSED: dict[tuple[OriginalFormat, str], tuple[bytes, ...]] = {
    (OriginalFormat.JPEG, "hierarchical"): (_BASELINE.replace(b"\xff\xc0", b"\xff\xc5", 1),),
    (OriginalFormat.JPEG, "JPEG-LS"): (_BASELINE.replace(b"\xff\xc0", b"\xff\xf7", 1),),
    (OriginalFormat.JPEG, "lossless in arithmetic coding"): (
        _BASELINE.replace(b"\xff\xc0", b"\xff\xcb", 1),
    ),
    (OriginalFormat.TIFF, "CFA (raw)"): (TiffFile(painted(GRAYS), 32_803).write(),),
    (OriginalFormat.TIFF, "LERC 1, or LERC with another compression"): (
        tiff_of(tiff_tags(8, 8, compression=34_887), b"CntZImage ".ljust(64, b"\0")),
        tiff_of(tiff_tags(8, 8, compression=34_887), zlib.compress(lerc(painted(RGB)))),
    ),
    (OriginalFormat.TIFF, "parts of a JPEG by the old method"): (
        tiff_of(tiff_tags(8, 8, compression=6)),
    ),
    (OriginalFormat.JPEG2000, "CIELab under another illuminant than D50 and D65"): (
        jp2(
            jpeg2000(photograph(SIDE, SIDE)),
            box(b"colr", struct.pack(">BBBI7I", 1, 0, 0, 14, 100, 0, 170, 128, 200, 96, 0x4632)),
        ),
    ),
    (OriginalFormat.JPEGXL, "CMYK"): (jxl(painted(DEFAULT_INKS), extra=4),),
    (OriginalFormat.BMP, "embedded JPEG"): (bmp(24, bytes(99), compression=4),),
    (OriginalFormat.BMP, "embedded PNG"): (bmp(24, bytes(99), compression=5),),
    (OriginalFormat.BMP, "Huffman and 24-bit run lengths of OS/2"): (
        bmp(1, bytes(99), compression=3, size=64),
        bmp(24, bytes(99), compression=4, size=64),
    ),
    (OriginalFormat.PSD, "without a merged image (Photoshop: maximise compatibility)"): (
        psds.psd(painted(RGB), psds.RGB, resources={1057: b"\0\0\0\1\0"}),
    ),
    (OriginalFormat.PSD, "multichannel"): (psds.psd(painted(RGB), psds.MULTICHANNEL),),
    (OriginalFormat.PSD, "32 bits"): (psds.psd(painted(RGB), psds.RGB, bits=32),),
    (OriginalFormat.PSD, "ZIP"): (psds.psd(painted(RGB), psds.RGB, method=2),),
    (OriginalFormat.PDF, "documents with a password"): (pdf(trailer=_LOCK.format("00" * 32)),),
    (OriginalFormat.TGA, "15 bits"): (tga(2, painted(RGB)).replace(b"\x18", b"\x0f", 1),),
    (OriginalFormat.PCX, "RGB of 4 bits"): (_PCX[:3] + b"\4" + _PCX[4:],),
    (OriginalFormat.RAW, "pixels that are not square"): (dng(linear(FRACTIONS), scale=(2, 1)),),
    (OriginalFormat.DICOM, "deflated, and video"): tuple(
        dicom(painted(RGB), "RGB", syntax=f"1.2.840.10008.1.2.{end}") for end in ("1.99", "4.102")
    ),
    (OriginalFormat.DICOM, "other slides"): (slide(painted(RGB), full=False),),
    (OriginalFormat.DICOM, "1 bit, colours of 32 bits, and floating point"): tuple(
        dicom(painted(RGB), "RGB", more=more)
        for more in (
            {0x0028_0100: ("US", 1)},
            {0x0028_0100: ("US", 32)},
            {0x7FE0_0008: ("OF", bytes(4))},
        )
    ),
}
"""Originals that nothing reads, by what they stand for."""


@pytest.mark.parametrize("row", INPUT_ROWS, ids=lambda row: f"{row.format} {row.reader}")
def test_each_kind_is_read_by_the_library_of_its_row(row: InputRow, tmp_path: Path) -> None:
    examples = EXAMPLES[row.format, row.reader]
    assert tuple(examples) == row.kinds
    path = tmp_path / "original"
    for pattern in chain.from_iterable(examples.values()):
        # All are measured in `test_matrix.py`; two show which library reads them.
        names = [name for name in _ORIGINALS if fnmatchcase(name, pattern)]
        assert names, pattern
        for name in {names[0], names[-1]}:
            path.write_bytes(_ORIGINALS[name]())
            header = probe(path, 10**9, EVERYTHING)
            assert (header.format, header.reader) == (row.format, row.reader), name


def test_each_exception_is_refused() -> None:
    assert list(REFUSED) == [(row.format, what) for row in INPUT_ROWS for what in row.unsupported]


@pytest.mark.parametrize("key", REFUSED, ids=" ".join)
def test_what_is_not_read_is_unsupported(key: tuple[OriginalFormat, str], tmp_path: Path) -> None:
    path = tmp_path / "original"
    for data in REFUSED[key]:
        path.write_bytes(data)
        with pytest.raises(UnsupportedOriginalError):
            derive(path, "full/max/0/default.png", bounds=EVERYTHING)


def test_rare_formats_are_not_read_by_default(tmp_path: Path) -> None:
    path = tmp_path / "original"
    for kind in rare_kinds.kinds():
        path.write_bytes(kind.write())
        with pytest.raises(UnsupportedOriginalError):
            probe(path, 10**9)


@pytest.mark.parametrize("row", OUTPUT_ROWS, ids=lambda row: row.format)
def test_derivatives_are_written_as_the_table_says(row: OutputRow, tmp_path: Path) -> None:
    assert row.format in supported_formats()
    path = tmp_path / "original"
    path.write_bytes(_ORIGINALS["png RGBA half"]())
    with open_image(path) as image:
        made = image.render(format=row.format)
    assert recognise(made[:32]) is _KINDS[row.format]
    if row.format is not Format.PDF:
        with Image.open(BytesIO(made)) as opened:
            assert opened.has_transparency_data is FORMAT_FACTS[row.format].transparent
