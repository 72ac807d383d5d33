"""Originals whose bytes are sent with other metadata: the coefficients stay as they are."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from support import pictures
from support.apps import Server, decode_image, region_engine
from support.coloured import ANSWERS, SIZE, app, engine, jpeg, middle, profile
from support.jpeg_metadata import exif, multi_picture, segment, short, text, with_segments, xmp

HDR = 'xmlns:hdrgm="http://ns.adobe.com/hdr-gain-map/1.0/"'
APPLE = 'xmlns:HDRGainMap="http://ns.apple.com/HDRGainMap/1.0/"'
ISO = segment(0xE2, b"urn:iso:std:iso:ts:21496:-1\0\0\0\0\0")
CREATOR = "<dc:creator><rdf:Seq><rdf:li>Ada</rdf:li></rdf:Seq></dc:creator>"
DC = 'xmlns:dc="http://purl.org/dc/elements/1.1/"'


def plain() -> bytes:
    return jpeg(pictures.photograph(*SIZE))


def gain_map(*segments: bytes) -> bytes:
    return with_segments(jpeg(Image.new("L", (64, 48), 90)), *segments)


HDRS = {
    "Ultra HDR": lambda: multi_picture(
        plain(), [gain_map()], xmp(CREATOR, f'{HDR} {DC} hdrgm:Version="1.0"')
    ),
    "ISO 21496-1": lambda: multi_picture(plain(), [gain_map(ISO)], ISO),
    "said by the map alone": lambda: multi_picture(
        plain(), [gain_map(xmp("", f"{HDR} hdrgm:x='1'"))]
    ),
    "Apple": lambda: multi_picture(
        plain(), [jpeg(Image.new("L", (9, 9))), gain_map(xmp("", f"{APPLE} HDRGainMap:v='1'"))]
    ),
}


@pytest.mark.parametrize("kind", HDRS)
async def test_gain_maps_are_left_out_of_the_whole_image_too(kind: str, tmp_path: Path) -> None:
    data = HDRS[kind]()
    async with app(tmp_path, t={"original": "download"}) as server:
        server.put("t", "a.jpg", data)
        answer = await server.get("/t:a.jpg/full/max/0/default.jpg")
        assert engine(answer) == "rewritten"
        made = answer.content
        for trace in (b"MPF\0", b"hdr-gain-map", b"21496", b"HDRGainMap"):
            assert trace not in made
        assert made.endswith(b"\xff\xd9")
        assert made.count(b"\xff\xd9") == 1
        if kind == "Ultra HDR":
            assert b"Ada" in made
        with Image.open(io.BytesIO(data)) as original:
            assert (np.asarray(decode_image(answer)) == np.asarray(original)).all()
        assert (await server.get("/t:a.jpg/original")).content == data


async def test_originals_with_previews_of_the_camera_are_sent_as_they_are(tmp_path: Path) -> None:
    data = multi_picture(plain(), [jpeg(Image.new("RGB", (64, 48)))], xmp(CREATOR, DC))
    async with app(tmp_path, t={}) as server:
        server.put("t", "a.jpg", data)
        answer = await server.get("/t:a.jpg/full/max/0/default.jpg")
        assert (answer.content, engine(answer)) == (data, "original")


async def test_damaged_indexes_of_further_images_are_ignored(tmp_path: Path) -> None:
    async with app(tmp_path, t={}) as server:
        for name, index in {
            "a": b"II*\0\xff\xff\xff\xff",
            "b": b"",
            "c": b"MM\0*\0\0\0\x08\xff\xff",
        }.items():
            data = with_segments(plain(), segment(0xE2, b"MPF\0" + index))
            server.put("t", name, data)
            assert (await server.get(f"/t:{name}/full/max/0/default.jpg")).content == data


def dcf(index: str, space: int = 0xFFFF, order: str = "<") -> bytes:
    """The segment with EXIF of a camera that is set to a colour space."""
    interop = {1: text(index)}
    return segment(
        0xE1,
        b"Exif\0\0" + exif({34_665: {0xA001: short(space, order), 40_965: interop}}, order),
    )


ADOBE = np.array(((2.0414, -0.5649, -0.3447), (-0.9693, 1.8760, 0.0416), (0.0134, -0.1184, 1.0154)))
SRGB = np.array(((3.2406, -1.5372, -0.4986), (-0.9689, 1.8758, 0.0415), (0.0557, -0.2040, 1.0570)))
"""From XYZ under D65 to linear RGB (Adobe RGB (1998), 4.3.6.1; IEC 61966-2-1)."""


def in_srgb(colour: tuple[int, ...]) -> pictures.Floats:
    """The sRGB of a colour of Adobe RGB (1998), by the formulas."""
    linear = SRGB @ np.linalg.inv(ADOBE) @ (np.array(colour) / 255) ** 2.19921875
    curved = np.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055)
    found: pictures.Floats = curved * 255
    return found


COLOUR = (150, 120, 90)


def shown(answer: object) -> pictures.Floats:
    """The middle of an answer in sRGB, by its profile."""
    image = decode_image(answer)  # type: ignore[arg-type]
    icc = image.info["icc_profile"]
    converted = ImageCms.profileToProfile(
        image.convert("RGB"), io.BytesIO(icc), ImageCms.createProfile("sRGB")
    )
    assert converted is not None
    return np.array(converted.getpixel((image.width // 2, image.height // 2)), np.float64)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("pyramid", [True, False])
async def test_adobe_rgb_that_only_exif_declares_has_a_profile_in_every_answer(
    pyramid: bool,  # noqa: FBT001
    order: str,
    tmp_path: Path,
) -> None:
    data = with_segments(jpeg(Image.new("RGB", SIZE, COLOUR)), dcf("R03", order=order))
    async with app(tmp_path, pyramid, kept={}, changed={"colour": "srgb"}) as server:
        for type_ in ("kept", "changed"):
            server.put(type_, "a.jpg", data)
        whole = await server.get("/kept:a.jpg/full/max/0/default.jpg")
        for what, parameters in ANSWERS.items():
            answer = await server.get(f"/kept:a.jpg/{parameters}")
            assert abs(shown(answer) - in_srgb(COLOUR)).max() < 3, what
            assert len(profile(answer) or b"") < 600
            changed = await server.get(f"/changed:a.jpg/{parameters}")
            assert profile(changed) is None
            assert abs(middle(changed) - in_srgb(COLOUR)).max() < 3, what
        assert engine(whole) == "rewritten"
        assert (np.asarray(decode_image(whole)) == np.asarray(Image.open(io.BytesIO(data)))).all()
        part = await server.get("/kept:a.jpg/16,16,112,96/max/0/default.jpg")
        assert engine(part) == region_engine()
        assert abs(shown(part) - in_srgb(COLOUR)).max() < 3


@pytest.mark.parametrize(("index", "space"), [("R98", 1), ("R98", 0xFFFF), ("R03", 1), ("THM", 2)])
async def test_no_other_declaration_of_exif_is_a_profile(
    index: str, space: int, tmp_path: Path
) -> None:
    data = with_segments(plain(), dcf(index, space))
    async with app(tmp_path, t={}) as server:
        server.put("t", "a.jpg", data)
        assert (await server.get("/t:a.jpg/full/max/0/default.jpg")).content == data
        assert profile(await server.get("/t:a.jpg/full/100,/0/default.jpg")) is None


async def test_a_profile_goes_before_what_exif_declares(tmp_path: Path) -> None:
    own = pictures.srgb_profile()
    data = with_segments(jpeg(pictures.photograph(*SIZE), icc_profile=own), dcf("R03"))
    async with app(tmp_path, t={}) as server:
        server.put("t", "a.jpg", data)
        assert (await server.get("/t:a.jpg/full/max/0/default.jpg")).content == data
        assert profile(await server.get("/t:a.jpg/full/100,/0/default.jpg")) is None


async def test_what_cannot_be_decoded_is_not_rewritten(tmp_path: Path) -> None:
    data = with_segments(plain(), dcf("R03"))
    async with app(tmp_path, pyramid=False, t={}) as server:
        await _refused(server, data[: len(data) // 2])


async def _refused(server: Server, data: bytes) -> None:
    server.put("t", "cut.jpg", data)
    answer = await server.get("/t:cut.jpg/full/max/0/default.jpg")
    assert answer.status_code == 422
