"""JPEG 2000: boxes, written by hand, define the colours of components."""

import struct
from io import BytesIO
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageCms

from iiif_server import open_image
from iiif_server.codecs.probe import probe
from iiif_server.errors import DamagedOriginalError, UnsupportedOriginalError
from iiif_server.plan.header import Colour, Profile
from support.jp2 import (
    FIVE_COMPONENTS,
    FIVE_OF_12_BITS,
    SIDE,
    box,
    channels,
    enumerated,
    jp2,
    mapping,
    palette,
)

TILE_PART = b"\xff\x90\0\x0a" + struct.pack(">HIBB", 0, 14, 1, 1) + b"\xff\x93"
"""An empty one: the second of the first tile, which says that there is one."""
LEFT, RIGHT = (200, 40, 40), (40, 60, 200)
HALF = (LEFT, RIGHT)


def halves(left: Any, right: Any) -> NDArray[Any]:
    values = np.empty((SIDE, SIDE, len(left)), np.uint8)
    values[:, : SIDE // 2], values[:, SIDE // 2 :] = left, right
    return values


def codestream(values: NDArray[Any], bits: int = 8) -> bytes:
    buffer = BytesIO()
    image = Image.fromarray(values.squeeze())
    image.save(buffer, "JPEG2000", no_jp2=True, irreversible=False)
    data = bytearray(buffer.getvalue())
    for number in range(values.shape[2]):
        data[42 + 3 * number] = bits - 1
    return bytes(data)


def ycc(rgb: tuple[int, ...]) -> tuple[int, ...]:
    r, g, b = rgb
    y = 0.299 * r + 0.587 * g + 0.114 * b
    return round(y), round((b - y) / 1.772 + 128), round((r - y) / 1.402 + 128)


RGB = codestream(halves(LEFT, RIGHT))
INDEXES = codestream(halves([2], [3]))
KINDS: dict[str, tuple[bytes, tuple[Any, Any]]] = {
    "sRGB": (jp2(RGB, enumerated(16)), HALF),
    "a bare codestream": (RGB, HALF),
    "more tile-parts than it says": (RGB[:-2] + TILE_PART + RGB[-2:], HALF),
    "reserved markers after the size": (RGB[:51] + b"\xff\x30\xff\x3f" + RGB[51:], HALF),
    "five components, bare": (FIVE_COMPONENTS, HALF),
    "five components, sRGB": (jp2(FIVE_COMPONENTS, enumerated(16), count=5), HALF),
    "five components of 12 bits": (jp2(FIVE_OF_12_BITS, enumerated(16), count=5), HALF),
    "five components, others are the colours": (
        jp2(
            FIVE_COMPONENTS,
            enumerated(16),
            channels((0, 0, 3), (1, 0, 2), (2, 0, 1), (3, 2**16 - 1, 2**16 - 1)),
            count=5,
        ),
        (LEFT[::-1], RIGHT[::-1]),
    ),
    "five components, gray": (
        jp2(FIVE_COMPONENTS, enumerated(17), count=5),
        ((200,) * 3, (40,) * 3),
    ),
    "24 bits": (
        bytes(
            imagecodecs.jpeg2k_encode(
                halves([200], [40]).squeeze().astype(np.uint32) << 16,
                level=0,
                reversible=True,
                codecformat="J2K",
                bitspersample=24,
            )
        ),
        ((200,) * 3, (40,) * 3),
    ),
    "sYCC": (jp2(codestream(halves(ycc(LEFT), ycc(RIGHT))), enumerated(18)), HALF),
    "e-sYCC": (jp2(codestream(halves(ycc(LEFT), ycc(RIGHT))), enumerated(24)), HALF),
    "CMY": (
        jp2(codestream(255 - halves(LEFT, RIGHT)), enumerated(11)),
        HALF,
    ),
    "CIELab": (
        jp2(codestream(halves((128, 128, 96), (255, 128, 96))), enumerated(14)),
        ((119, 119, 119), (255, 255, 255)),
    ),
    "a gray codestream that is said to be CIELab": (
        jp2(codestream(halves([200], [40])), enumerated(14), count=1),
        ((200,) * 3, (40,) * 3),
    ),
    "an unknown colour space": (jp2(RGB, enumerated(99)), HALF),
    "components in another order": (
        jp2(
            codestream(halves(LEFT[::-1], RIGHT[::-1])),
            enumerated(16),
            channels((0, 0, 3), (1, 0, 2), (2, 0, 1)),
        ),
        HALF,
    ),
    "a further component of which nothing is said": (
        jp2(codestream(halves((*LEFT, 0), (*RIGHT, 0))), enumerated(16), count=4),
        HALF,
    ),
    "a palette in which an entry stands twice": (
        jp2(
            INDEXES,
            enumerated(16),
            palette((9, 9, 9), (9, 9, 9), LEFT, RIGHT),
            mapping(0, 1, 2),
            count=1,
        ),
        HALF,
    ),
    "a palette whose columns are exchanged": (
        jp2(
            INDEXES,
            enumerated(16),
            palette((0, 0, 0), (1, 1, 1), LEFT[::-1], RIGHT[::-1]),
            mapping(2, 1, 0),
            count=1,
        ),
        HALF,
    ),
    "white is zero": (
        jp2(codestream(halves([0], [200])), enumerated(0), count=1),
        ((255, 255, 255), (55, 55, 55)),
    ),
}


def opened(data: bytes) -> NDArray[Any]:
    return np.asarray(Image.open(BytesIO(data)).convert("RGB")).astype(int)


@pytest.mark.parametrize("name", KINDS)
def test_colours_are_right_in_every_view(name: str, tmp_path: Path) -> None:
    data, (left, right) = KINDS[name]
    path = tmp_path / "original.jp2"
    path.write_bytes(data)
    with open_image(path) as image:
        for format_, near in (("png", 2), ("jpg", 6)):
            for region, size in (("full", "max"), ("full", "16,"), ("8,8,16,16", "max")):
                made = opened(image.render(region=region, size=size, format=format_))
                assert np.abs(made[1, 1] - left).max() <= near, (format_, region)
                assert np.abs(made[1, -2] - right).max() <= near, (format_, region)


@pytest.mark.parametrize("bits", [1, 2, 3, 4, 5, 7])
def test_white_is_white_in_any_depth(bits: int, tmp_path: Path) -> None:
    # A codestream holds differences to the middle of the range: that of 8 bits where it was made.
    middle = 128 - (1 << (bits - 1))
    stream = codestream(halves([middle], [middle + (1 << bits) - 1]), bits)
    path = tmp_path / "original.jp2"
    path.write_bytes(jp2(stream, enumerated(17), count=1))
    with open_image(path) as image:
        made = opened(image.render(format="png"))
    assert (made[1, 1].tolist(), made[1, -2].tolist()) == ([0] * 3, [255] * 3)


def test_four_inks_are_no_transparency(tmp_path: Path) -> None:
    path = tmp_path / "original.jp2"
    path.write_bytes(jp2(codestream(halves((0, 0, 0, 0), (0, 0, 0, 255))), enumerated(12), count=4))
    header = probe(path, 10**9)
    assert (header.colour, header.transparent) == (Colour.OTHER, False)
    with open_image(path) as image:
        made = opened(image.render(format="png"))
    assert made[1, 1].min() >= 250
    assert made[1, -2].max() <= 60


@pytest.mark.parametrize(("kind", "colour"), [(1, 100), (2, 200)])
def test_opacity_is_what_the_file_says_it_is(kind: int, colour: int, tmp_path: Path) -> None:
    pixel = (colour if kind == 1 else 100, 0, 0, 128)
    defined = channels((0, 0, 1), (1, 0, 2), (2, 0, 3), (3, kind, 0))
    path = tmp_path / "original.jp2"
    path.write_bytes(jp2(codestream(halves(pixel, pixel)), enumerated(16), defined, count=4))
    with open_image(path) as image:
        assert image.info.transparent
        made = np.asarray(Image.open(BytesIO(image.render(format="png"))))
    assert abs(int(made[1, 1, 0]) - colour) <= 2
    assert made[1, 1, 3] == 128


def test_an_icc_profile_is_kept_and_applied(tmp_path: Path) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    wide = bytearray(profile)
    red, green = wide.index(b"rXYZ"), wide.index(b"gXYZ")
    wide[red : red + 4], wide[green : green + 4] = b"gXYZ", b"rXYZ"  # primaries exchanged
    path = tmp_path / "original.jp2"
    path.write_bytes(jp2(RGB, box(b"colr", b"\2\0\0" + bytes(wide))))
    assert probe(path, 10**9).profile is Profile.OTHER
    with open_image(path) as image:
        kept = Image.open(BytesIO(image.render(format="png")))
        converted = opened(image.render(format="gif"))
    assert kept.info["icc_profile"] == bytes(wide)
    assert np.abs(converted[1, 1] - (LEFT[1], LEFT[0], LEFT[2])).max() <= 3


@pytest.mark.parametrize(
    "broken", [box(b"pclr", b"\0\0\3"), box(b"pclr", struct.pack(">HB", 900, 3) + b"\7\7\7abc")]
)
def test_a_broken_palette_is_damage(broken: bytes, tmp_path: Path) -> None:
    path = tmp_path / "original.jp2"
    path.write_bytes(jp2(INDEXES, enumerated(16), broken, count=1))
    with pytest.raises(DamagedOriginalError, match="palette"):
        probe(path, 10**9)


def test_a_first_component_that_alone_is_subsampled_is_refused(tmp_path: Path) -> None:
    data = bytearray(RGB)
    data[43] = 2  # its horizontal sampling (A.5.1)
    path = tmp_path / "original.j2k"
    path.write_bytes(data)
    with pytest.raises(UnsupportedOriginalError, match="first component that is subsampled"):
        probe(path, 10**9)


def test_high_throughput_jpeg_2000_is_read(tmp_path: Path) -> None:
    """The file was written by OpenJPH; OpenJPEG decodes it."""
    path = tmp_path / "original.jp2"
    path.write_bytes(jp2(bytes(imagecodecs.htj2k_encode(halves(LEFT, RIGHT))), enumerated(16)))
    with open_image(path) as image:
        made = opened(image.render(format="png"))
    assert np.abs(made[1, 1] - LEFT).max() <= 2
    assert np.abs(made[1, -2] - RIGHT).max() <= 2
