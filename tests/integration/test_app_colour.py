"""Colours of derivatives as the settings of a type say, and chroma as the original has it."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms, JpegImagePlugin

from support import pictures
from support.apps import decode_image
from support.coloured import ANSWERS, SIZE, app, jpeg, middle, profile


@pytest.mark.parametrize("pyramid", [True, False])
async def test_types_keep_their_colours_or_have_all_of_them_converted(
    pyramid: bool,  # noqa: FBT001
    tmp_path: Path,
) -> None:
    wide = pictures.wide_profile()
    colour = Image.new("RGB", SIZE, (200, 90, 60))
    converted = ImageCms.profileToProfile(
        colour, ImageCms.getOpenProfile(io.BytesIO(wide)), ImageCms.createProfile("sRGB")
    )
    assert converted is not None
    expected = np.array(converted.getpixel((9, 9)), float)
    assert abs(expected - (200, 90, 60)).max() > 8, "the profile does nothing"
    async with app(tmp_path, pyramid, kept={}, changed={"colour": "srgb"}) as server:
        for type_ in ("kept", "changed"):
            server.put(type_, "a.jpg", jpeg(colour, icc_profile=wide))
        for what, parameters in ANSWERS.items():
            kept = await server.get(f"/kept:a.jpg/{parameters}")
            changed = await server.get(f"/changed:a.jpg/{parameters}")
            assert profile(kept) == wide, what
            assert profile(changed) is None, what
            assert abs(middle(kept) - (200, 90, 60)).max() < 3, what
            assert abs(middle(changed) - expected).max() < 3, what


async def test_another_setting_makes_other_answers(tmp_path: Path) -> None:
    wide = pictures.wide_profile()
    data = jpeg(pictures.photograph(*SIZE), icc_profile=wide)
    for colour, has_profile in (("keep", True), ("srgb", False), ("keep", True)):
        async with app(tmp_path, t={"colour": colour}) as server:
            server.put("t", "a.jpg", data) if colour == "keep" else None
            for what, parameters in ANSWERS.items():
                answer = await server.get(f"/t:a.jpg/{parameters}")
                assert (profile(answer) is not None) == has_profile, (what, colour)


@pytest.mark.parametrize("pyramid", [True, False])
@pytest.mark.parametrize(("subsampling", "found"), [("4:4:4", 0), ("4:2:0", 2)])
async def test_chroma_stays_as_fine_as_the_original_has_it(
    subsampling: str,
    found: int,
    pyramid: bool,  # noqa: FBT001
    tmp_path: Path,
) -> None:
    data = jpeg(pictures.photograph(*SIZE), subsampling=subsampling)
    async with app(tmp_path, pyramid, t={}) as server:
        server.put("t", "a.jpg", data)
        for what, parameters in ANSWERS.items():
            if parameters.endswith("jpg"):
                image = decode_image(await server.get(f"/t:a.jpg/{parameters}"))
                assert JpegImagePlugin.get_sampling(image) == found, what


async def test_inks_without_a_profile_are_the_same_colour_in_all_formats(tmp_path: Path) -> None:
    inks = Image.new("CMYK", (64, 64), (200, 60, 20, 30))
    async with app(tmp_path, t={}) as server:
        colours = {}
        for format_, options in {
            "JPEG": {"quality": 100, "subsampling": 0}, "TIFF": {}, "JPEG2000": {},
        }.items():  # fmt: skip
            file = io.BytesIO()
            inks.save(file, format_, **options)
            server.put("t", format_, file.getvalue())
            colours[format_] = middle(await server.get(f"/t:{format_}/full/max/0/default.png"))
        first, *others = colours.values()
        for other in others:
            assert abs(first - other).max() < 3, colours
