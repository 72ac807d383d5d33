"""Colour tags of PNG and AVIF without an ICC profile; EXIF in unusual places."""

import struct
import zlib
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageCms

from iiif_server import open_image
from iiif_server.codecs.probe import probe
from iiif_server.errors import DamagedOriginalError
from iiif_server.plan.header import Profile
from support import pictures

RED = (200, 40, 40)
P3 = np.array(  # linear Display P3 to linear sRGB (CSS Color 4)
    (
        (1.2249401763, -0.2249404, 0),
        (-0.0420569547, 1.0420571, 0),
        (-0.0196375546, -0.0786360, 1.0982736),
    )
)


def chunk(name: bytes, content: bytes) -> bytes:
    crc = zlib.crc32(name + content)
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", crc)


def png(
    *before: bytes, after: bytes = b"", colour: Any = RED, size: tuple[int, int] = (8, 8)
) -> bytes:
    buffer = BytesIO()
    Image.new("L" if isinstance(colour, int) else "RGB", size, colour).save(buffer, "PNG")
    data = buffer.getvalue()
    return data[:33] + b"".join(before) + data[33:-12] + after + data[-12:]


def chromaticities(*values: float) -> bytes:
    return chunk(b"cHRM", struct.pack(">8I", *(round(value * 100_000) for value in values)))


def gamma(value: float) -> bytes:
    return chunk(b"gAMA", struct.pack(">I", round(value * 100_000)))


def light(values: Any) -> NDArray[Any]:
    v = np.asarray(values) / 255
    found: NDArray[Any] = np.where(v <= 0.04045, v / 12.92, ((v + 0.055) / 1.055) ** 2.4)
    return found


def srgb(linear: Any) -> NDArray[Any]:
    v = np.clip(linear, 0, 1)
    found: NDArray[Any] = np.where(v <= 0.0031308, v * 12.92, 1.055 * v ** (1 / 2.4) - 0.055)
    return 255 * found


def shown(path: Path) -> NDArray[Any]:
    """Return the first pixel in sRGB, through GIF, which has no profiles."""
    with open_image(path) as image:
        data = image.render(format="gif")
    pixel: NDArray[Any] = np.asarray(Image.open(BytesIO(data)).convert("RGB")).astype(int)[0, 0]
    return pixel


SRGB_POINTS = chromaticities(0.3127, 0.329, 0.64, 0.33, 0.3, 0.6, 0.15, 0.06)
P3_POINTS = chromaticities(0.3127, 0.329, 0.68, 0.32, 0.265, 0.69, 0.15, 0.06)
IN_P3 = srgb(P3 @ light(RED))
KINDS: dict[str, tuple[bytes, Any]] = {
    "nothing": (png(), RED),
    "cICP: Display P3": (png(chunk(b"cICP", bytes((12, 13, 0, 1)))), IN_P3),
    "cICP: linear": (png(chunk(b"cICP", bytes((1, 8, 0, 1)))), srgb(np.divide(RED, 255))),
    "cICP: sRGB": (png(chunk(b"cICP", bytes((1, 13, 0, 1)))), RED),
    "cICP: unspecified": (png(chunk(b"cICP", bytes((2, 2, 0, 1)))), RED),
    "cICP: unknown": (png(chunk(b"cICP", bytes((99, 98, 0, 1)))), RED),
    "cICP before cHRM": (png(chunk(b"cICP", bytes((1, 13, 0, 1))), gamma(0.45455), P3_POINTS), RED),
    "gAMA and cHRM of Display P3": (png(gamma(0.45455), P3_POINTS), IN_P3),
    "gAMA and cHRM of sRGB": (png(gamma(0.45455), SRGB_POINTS), RED),
    "gAMA of 1": (png(gamma(1)), srgb(np.divide(RED, 255))),
    "sRGB before gAMA": (png(chunk(b"sRGB", b"\0"), gamma(1)), RED),
    "gAMA of 0": (png(gamma(0)), RED),
    "chromaticities that are none": (png(gamma(1), chromaticities(*[0.0] * 8)), RED),
    "chromaticities on a line": (png(gamma(1), chromaticities(*[0.3, 0.3] * 4)), RED),
    "gray with gAMA of 1": (png(gamma(1), colour=128), srgb(np.full(3, 128 / 255))),
}


@pytest.mark.parametrize("name", KINDS)
def test_png_is_shown_as_its_tags_say(name: str, tmp_path: Path) -> None:
    data, colour = KINDS[name]
    path = tmp_path / "original.png"
    path.write_bytes(data)
    assert np.abs(shown(path) - colour).max() <= 3
    if np.array_equal(colour, RED):
        assert probe(path, 10**9).profile is Profile.NONE


@pytest.mark.parametrize(
    "points",
    [
        (1, 0.3127, 1e-5, 1e-5, 0.45632, 42949.67295, 1e-5, 42949.67295),
        (0.01377, 0.34758, 42949.67295, 42949.67295, 0, 42949.67295, 0, 42949.67295),
        (0,) * 8,
    ],
)
def test_points_of_no_colour_space_are_ignored(points: tuple[float, ...], tmp_path: Path) -> None:
    path = tmp_path / "original"
    path.write_bytes(png(gamma(0.45455), chromaticities(*points)))
    assert probe(path, 10**6).profile is Profile.NONE


def test_a_large_profile_of_a_png_is_read(tmp_path: Path) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    size = 3_000_000
    profile = struct.pack(">I", size) + profile[4:] + bytes(size - len(profile))
    path = tmp_path / "original.png"
    path.write_bytes(png(chunk(b"iCCP", b"large\0\0" + zlib.compress(profile))))
    with open_image(path) as image:
        shown = np.asarray(Image.open(BytesIO(image.render(format="jpg"))).convert("RGB"))
    assert np.allclose(shown[4, 4], RED, atol=4)


def test_made_profiles_go_with_the_image(tmp_path: Path) -> None:
    path = tmp_path / "original.png"
    path.write_bytes(KINDS["cICP: Display P3"][0])
    with open_image(path) as image:
        renders = [image.render(format=format_) for format_ in ("png", "jpg", "tif", "webp")]
        parts = image.render(region="0,0,4,4", format="png")
    for data in (*renders, parts):
        made = Image.open(BytesIO(data))
        assert made.info["icc_profile"] == probe(path, 10**9).generated_profile
        assert np.abs(np.asarray(made.convert("RGB")).astype(int)[1, 1] - RED).max() <= 3


def avif(points: tuple[int, int] | None) -> bytes:
    buffer = BytesIO()
    Image.new("RGB", (64, 64), RED).save(buffer, "AVIF", quality=95, speed=10)
    data = bytearray(buffer.getvalue())
    at = data.index(b"nclx") + 4
    if points is not None:
        data[at : at + 4] = struct.pack(">HH", *points)
    return bytes(data)


@pytest.mark.parametrize(
    ("points", "colour"), [((12, 13), IN_P3), ((1, 13), RED), ((2, 2), RED), (None, RED)]
)
def test_avif_is_shown_as_its_code_points_say(
    points: tuple[int, int] | None, colour: Any, tmp_path: Path
) -> None:
    path = tmp_path / "original.avif"
    path.write_bytes(avif(points))
    assert np.abs(shown(path) - colour).max() <= 5


def test_full_range_counts_beside_unspecified_code_points(tmp_path: Path) -> None:
    """A box of full range goes before the limited range of the stream, as in browsers."""
    buffer = BytesIO()
    Image.new("RGB", (64, 64), (0, 0, 0)).save(buffer, "AVIF", range="limited", speed=10)
    at = buffer.getvalue().index(b"nclx") + 4
    levels = []
    for points in ((1, 13, 6), (2, 2, 2)):
        data = bytearray(buffer.getvalue())
        data[at : at + 7] = struct.pack(">HHHB", *points, 0x80)
        path = tmp_path / f"{points}.avif"
        path.write_bytes(data)
        levels.append(shown(path).tolist())
    assert levels[0] == levels[1] == [16, 16, 16]


EXIF = pictures.exif(6).removeprefix(b"Exif\0\0")


def raw_profile(
    data: bytes, *, name: bytes = b"exif", digits: str = "", compressed: bool = True
) -> bytes:
    """A profile as ImageMagick writes it into text: hexadecimal digits in lines of 72."""
    written = data.hex() + digits
    lines = "\n".join(written[at : at + 72] for at in range(0, len(written), 72))
    text = f"\n{name.decode()}\n{len(data):8}\n{lines}\n"
    content = b"\0" + zlib.compress(text.encode()) if compressed else text.encode()
    return b"Raw profile type " + name + b"\0" + content


@pytest.mark.parametrize(
    ("data", "turned"),
    [
        (png(chunk(b"eXIf", EXIF), size=(48, 24)), True),
        (png(after=chunk(b"eXIf", EXIF), size=(48, 24)), True),
        (png(after=chunk(b"tEXt", b"a\0eXIf eXIf") + chunk(b"eXIf", EXIF), size=(48, 24)), True),
        (png(after=chunk(b"eXIf", EXIF)[:-1] + b"x", size=(48, 24)), False),
        (png(size=(48, 24)), False),
        (png(chunk(b"zTXt", raw_profile(EXIF)), size=(48, 24)), True),
        (png(chunk(b"zTXt", raw_profile(b"Exif\0\0" + EXIF)), size=(48, 24)), True),
        (png(chunk(b"tEXt", raw_profile(EXIF, compressed=False)), size=(48, 24)), True),
        (png(chunk(b"zTXt", raw_profile(EXIF, digits="xy")), size=(48, 24)), False),
        (png(chunk(b"zTXt", raw_profile(EXIF, name=b"8bim")), size=(48, 24)), False),
    ],
    ids=[
        "before",
        "behind",
        "behind text that has its name",
        "with a wrong checksum",
        "none",
        "by ImageMagick",
        "by ImageMagick, with a prefix",
        "by ImageMagick, uncompressed",
        "by ImageMagick, damaged",
        "another profile of ImageMagick",
    ],
)
def test_exif_of_png_counts_wherever_it_stands(data: bytes, turned: bool, tmp_path: Path) -> None:  # noqa: FBT001
    path = tmp_path / "original.png"
    path.write_bytes(data)
    with open_image(path) as image:
        assert (image.info.width, image.info.height) == ((24, 48) if turned else (48, 24))


def test_an_orientation_of_xmp_is_none(tmp_path: Path) -> None:
    packet = b'http://ns.adobe.com/xap/1.0/\0<x tiff:Orientation="6"/>'
    data = pictures.saved(Image.new("RGB", (48, 24)), "JPEG")
    segment = b"\xff\xe1" + struct.pack(">H", len(packet) + 2) + packet
    path = tmp_path / "original.jpg"
    path.write_bytes(data[:2] + segment + data[2:])
    with open_image(path) as image:
        assert (image.info.width, image.info.height) == (48, 24)


def test_a_jpeg_without_its_last_marker_is_whole(tmp_path: Path) -> None:
    data = pictures.jpeg(pictures.photograph(100, 80))
    whole, short = tmp_path / "whole.jpg", tmp_path / "short.jpg"
    whole.write_bytes(data)
    short.write_bytes(data[:-2])
    renders = []
    for path in (whole, short):
        with open_image(path) as image:
            renders.append([image.render(region=r, format="png") for r in ("full", "8,8,50,40")])
    assert renders[0] == renders[1]


@pytest.mark.parametrize("missing", [30, 300])
def test_a_jpeg_without_its_last_pixels_is_damaged(missing: int, tmp_path: Path) -> None:
    data = pictures.jpeg(pictures.photograph(100, 80))
    path = tmp_path / "original.jpg"
    path.write_bytes(data[:-missing])
    with pytest.raises(DamagedOriginalError), open_image(path) as image:
        image.render(format="png")


def test_a_jpeg_that_starts_twice_is_refused_at_once(tmp_path: Path) -> None:
    path = tmp_path / "original.jpg"
    path.write_bytes(b"\xff\xd8" + pictures.jpeg(pictures.photograph(100, 80)))
    with pytest.raises(DamagedOriginalError, match="two start markers"):
        probe(path, 10**9)
