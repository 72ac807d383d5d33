"""PSD and PSB: modes, depths and run lengths of the merged image."""

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np

from support.matrix import profiles
from support.matrix.chart import BITS, GRAYS, LAB, RGB, Array, Kind, grays, painted
from support.matrix.colours import ADOBE, lab_of_srgb
from support.matrix.inks import DEFAULT_INKS, DEFAULT_LAB
from support.psds import BITMAP, CMYK, DUOTONE, GRAY, INDEXED, palette, psd
from support.psds import LAB as LAB_MODE
from support.psds import RGB as RGB_MODE

_PROFILE = 1039


def kinds() -> Iterator[Kind]:
    """All kinds of PSD."""
    _, gray_lab = grays()
    light, a, b = LAB.T
    lab8 = np.rint(np.stack((light * 2.55, a + 128, b + 128), 1)).astype(np.uint8)
    lab16 = np.stack((light * 655.35, (a + 128) * 256, (b + 128) * 256), 1)
    inks = np.rint(255 * (1 - profiles.INKS)).astype(np.uint8)
    press: dict[str, Any] = {"resources": {_PROFILE: profiles.press()}}
    adobe = profiles.as_bytes(profiles.in_space(ADOBE, profiles.GAMMA))
    wide: dict[str, Any] = {"resources": {_PROFILE: profiles.ADOBE_RGB}}
    index = np.arange(24, dtype=np.uint8)
    black_white = lab_of_srgb(np.repeat(1 - BITS[:, None].astype(float), 3, axis=1))
    cases: tuple[tuple[str, Array, int, Array, dict[str, Any]], ...] = (
        ("RGB", RGB, RGB_MODE, LAB, {}),
        ("RGB 16 bits", RGB.astype(int) * 257, RGB_MODE, LAB, {"bits": 16}),
        ("gray", GRAYS, GRAY, gray_lab, {}),
        ("gray 16 bits", GRAYS.astype(int) * 257, GRAY, gray_lab, {"bits": 16}),
        ("duotone", GRAYS, DUOTONE, gray_lab, {"colours": b"curves"}),
        ("bitmap", BITS, BITMAP, black_white, {"bits": 1}),
        ("indexed", index, INDEXED, LAB, {"colours": palette(*RGB.tolist())}),
        ("CMYK", 255 - DEFAULT_INKS, CMYK, DEFAULT_LAB, {}),
        ("CMYK with a profile", inks, CMYK, profiles.INK_LAB, press),
        ("CMYK 16 bits with a profile", inks.astype(int) * 257, CMYK, profiles.INK_LAB,
         {"bits": 16, **press}),
        ("Lab", lab8, LAB_MODE, LAB, {}),
        ("Lab 16 bits", np.clip(lab16, 0, 65_535), LAB_MODE, LAB, {"bits": 16}),
        ("wide profile", adobe, RGB_MODE, LAB, wide),
        ("a further channel", np.hstack((RGB, RGB[:, :1] * 0)), RGB_MODE, LAB, {}),
    )  # fmt: skip
    for name, values, mode, lab, options in cases:
        pixels = painted(values)
        for big in (False, True):
            whole = partial(psd, pixels, mode, big=big, packed=big, **options)
            yield Kind(f"{'psb packed' if big else 'psd'} {name}", whole, lab, near=0.5)
