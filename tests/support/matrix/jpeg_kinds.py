"""JPEG: sampling, coding, colour spaces, orientations and profiles."""

from collections.abc import Iterator

import numpy as np

from support.matrix import profiles
from support.matrix.chart import FRACTIONS, GRAYS, LAB, RGB, Array, Kind, grays, painted
from support.matrix.colours import ADOBE, full_range, light_of_lab, ycbcr
from support.matrix.inks import DEFAULT_INKS, DEFAULT_LAB
from support.matrix.jpegs import (
    ARITHMETIC,
    ARITHMETIC_PROGRESSIVE,
    EXTENDED,
    JFIF,
    LOSSLESS,
    PROGRESSIVE,
    Jpeg,
    adobe,
    exif,
    exif_block,
    icc,
    segment,
)

_YCC = full_range(ycbcr(FRACTIONS))
_HALVED = ((2, 2), (1, 1), (1, 1))
_CHROMA_NEAR = 0.5
"""Rounding of YCbCr to bytes."""


def _kind(name: str, jpeg: Jpeg, lab: Array = LAB, near: float = _CHROMA_NEAR) -> Kind:
    return Kind(f"jpeg {name}", jpeg.write, lab, near=near)


def _coding() -> Iterator[Kind]:
    for sampling in (
        ((1, 1), (1, 1), (1, 1)),
        ((2, 1), (1, 1), (1, 1)),
        ((1, 2), (1, 1), (1, 1)),
        _HALVED,
        ((4, 1), (1, 1), (1, 1)),
        ((1, 4), (1, 1), (1, 1)),
        ((4, 2), (1, 1), (1, 1)),
        ((2, 2), (2, 1), (2, 1)),
        ((2, 2), (1, 2), (1, 2)),
        ((2, 2), (1, 1), (2, 1)),
        ((2, 1), (2, 1), (2, 1)),
        ((1, 2), (1, 2), (1, 2)),
        ((3, 1), (1, 1), (1, 1)),
    ):
        name = " ".join(f"{h}x{v}" for h, v in sampling)
        yield _kind(name, Jpeg(painted(_YCC), sampling))
        yield _kind(f"{name} progressive", Jpeg(painted(_YCC), sampling, frame=PROGRESSIVE))
    _, lab = grays()
    yield _kind("gray", Jpeg(painted(GRAYS)), lab)
    yield _kind("gray with sampling factors", Jpeg(painted(GRAYS), [(2, 2)]), lab)
    yield _kind("gray progressive", Jpeg(painted(GRAYS), frame=PROGRESSIVE), lab)
    yield _kind("restart markers", Jpeg(painted(_YCC), _HALVED, restart=3))
    yield _kind("extended sequential", Jpeg(painted(_YCC), _HALVED, frame=EXTENDED))
    deep = full_range(ycbcr(FRACTIONS), 12)
    yield _kind("12 bits", Jpeg(painted(deep), _HALVED, bits=12, frame=EXTENDED))
    yield _kind("12 bits progressive", Jpeg(painted(deep), _HALVED, bits=12, frame=PROGRESSIVE))
    yield _kind("arithmetic", Jpeg(painted(_YCC), _HALVED, frame=ARITHMETIC))
    yield _kind("arithmetic gray", Jpeg(painted(GRAYS), frame=ARITHMETIC), lab)
    yield _kind("arithmetic restarts", Jpeg(painted(_YCC), _HALVED, frame=ARITHMETIC, restart=3))
    yield _kind("arithmetic progressive", Jpeg(painted(_YCC), frame=ARITHMETIC_PROGRESSIVE))
    yield _kind("12 bits arithmetic", Jpeg(painted(deep), bits=12, frame=ARITHMETIC))
    twelve = np.rint(GRAYS / 255 * 4095).astype(int)
    yield _kind("12 bits gray", Jpeg(painted(twelve), bits=12, frame=EXTENDED), lab)
    yield _kind("lossless RGB", Jpeg(painted(RGB), frame=LOSSLESS, segments=adobe(0)))
    yield _kind("lossless gray", Jpeg(painted(GRAYS), frame=LOSSLESS, segments=b""), lab)
    words = GRAYS.astype(int) * 257
    yield _kind("lossless gray 16 bits", Jpeg(painted(words), bits=16, frame=LOSSLESS), lab)


def _spaces() -> Iterator[Kind]:
    yield _kind("no segment", Jpeg(painted(_YCC), _HALVED, segments=b""))
    yield _kind("Adobe 1", Jpeg(painted(_YCC), _HALVED, segments=adobe(1)))
    yield _kind("JFIF and Adobe 1", Jpeg(painted(_YCC), _HALVED, segments=JFIF + adobe(1)))
    yield _kind("Adobe 0: RGB", Jpeg(painted(RGB), segments=adobe(0)))
    yield _kind("identifiers RGB", Jpeg(painted(RGB), segments=b"", identifiers=b"RGB"))
    yield _kind(
        "identifiers from 0", Jpeg(painted(_YCC), _HALVED, segments=JFIF, identifiers=(0, 1, 2))
    )
    press, lab = icc(profiles.press()), profiles.INK_LAB
    inks = np.rint(profiles.INKS * 255).astype(np.uint8)
    # YCCK: the RGB that is the complement of the inks, in YCbCr; and the inks that Adobe writes
    # are complements themselves.
    ycck = np.hstack((full_range(ycbcr(inks[:, :3] / 255)), 255 - inks[:, 3:]))
    plain = np.hstack((full_range(ycbcr(DEFAULT_INKS[:, :3] / 255)), 255 - DEFAULT_INKS[:, 3:]))
    for name, segments, own, other, expected in (
        ("with a profile", press, inks, ycck, lab),
        ("without a profile", b"", DEFAULT_INKS, plain, DEFAULT_LAB),
        ("with a profile of RGB", icc(profiles.ADOBE_RGB), DEFAULT_INKS, plain, DEFAULT_LAB),
    ):
        yield _kind(
            f"CMYK Adobe {name}", Jpeg(painted(255 - own), segments=adobe(0) + segments), expected
        )
        yield _kind(
            f"YCCK Adobe {name}",
            Jpeg(painted(other), segments=adobe(2) + segments),
            expected,
            near=1,
        )
        yield _kind(
            f"CMYK without Adobe {name}", Jpeg(painted(255 - own), segments=segments), expected
        )
    yield _kind(
        "YCCK Adobe halved progressive",
        Jpeg(
            painted(plain), ((2, 2), (1, 1), (1, 1), (2, 2)), segments=adobe(2), frame=PROGRESSIVE
        ),
        DEFAULT_LAB,
        near=1,
    )


def _orientations() -> Iterator[Kind]:
    for orientation in range(1, 9):
        for sampling in (((1, 1), (1, 1), (1, 1)), _HALVED):
            data = Jpeg(painted(_YCC, orientation), sampling, segments=JFIF + exif(orientation))
            yield _kind(f"orientation {orientation} {sampling[0][0]}", data)
    for orientation in (0, 9, 65_535):
        yield _kind(f"orientation {orientation}", Jpeg(painted(_YCC), segments=exif(orientation)))
    broken = segment(0xE1, b"Exif\0\0" + exif_block(6)[:17])
    yield _kind("EXIF cut short", Jpeg(painted(_YCC), segments=broken))
    jfif_behind = Jpeg(painted(_YCC, 6), segments=exif(6) + JFIF)
    yield _kind("EXIF before JFIF", jfif_behind)


def _profiles() -> Iterator[Kind]:
    wide = full_range(ycbcr(profiles.in_space(ADOBE, profiles.GAMMA)))
    yield _kind("wide profile", Jpeg(painted(wide), segments=icc(profiles.ADOBE_RGB)), near=1)
    yield _kind(
        "wide profile in pieces",
        Jpeg(painted(wide), segments=icc(profiles.ADOBE_RGB, piece=100)),
        near=1,
    )
    yield _kind(
        "wide profile, orientation 6",
        Jpeg(painted(wide, 6), _HALVED, segments=exif(6) + icc(profiles.ADOBE_RGB)),
        near=1,
    )
    version4 = full_range(ycbcr(profiles.in_space(ADOBE, 2.2)))
    yield _kind(
        "profile of version 4", Jpeg(painted(version4), segments=icc(profiles.ADOBE_RGB_4)), near=1
    )
    p3 = (0.680, 0.320, 0.265, 0.690, 0.150, 0.060)
    light = light_of_lab(LAB, p3)
    display = full_range(
        ycbcr(
            np.where(
                light <= 0.0031308,
                light * 12.92,
                1.055 * np.maximum(light, 1e-9) ** (1 / 2.4) - 0.055,
            )
        )
    )
    yield _kind("Display P3", Jpeg(painted(display), segments=icc(profiles.DISPLAY_P3)), near=1)
    yield _kind(
        "profile that is sRGB", Jpeg(painted(_YCC), segments=icc(profiles.SRGB_TABLE)), near=1
    )
    table = np.rint(profiles.TABLE_VALUES * 255).astype(np.uint8)
    yield _kind(
        "profile with a table",
        Jpeg(painted(table), segments=adobe(0) + icc(profiles.table_rgb())),
        profiles.TABLE_LAB,
        near=1,
    )
    exchanged = np.clip(light_of_lab(LAB, (0.30, 0.60, 0.64, 0.33, 0.15, 0.06)), 0, 1) ** (1 / 2.2)
    yield _kind(
        "profile of exchanged primaries",
        Jpeg(painted(full_range(ycbcr(exchanged))), segments=icc(profiles.EXCHANGED)),
        near=1,
    )
    large = profiles.profile(
        b"RGB ", {**_tags_of(profiles.ADOBE_RGB), b"priv": b"data" + bytes(60_000)}
    )
    yield _kind("wide profile of 60 kB", Jpeg(painted(wide), segments=icc(large)), near=1)
    _, lab = grays()
    light = np.clip(light_of_lab(lab, (0.64, 0.33, 0.30, 0.60, 0.15, 0.06))[:, 0], 0, 1)
    gray = np.rint(light ** (1 / 1.8) * 255).astype(np.uint8)
    yield _kind("gray profile", Jpeg(painted(gray), segments=icc(profiles.gray())), lab)
    for name, profile in (
        ("cut short", profiles.ADOBE_RGB[:-60]),
        ("of noise", b"\x12\x34" * 200),
        ("empty", b""),
        ("for inks", profiles.press()),
        ("for gray", profiles.gray()),
    ):
        yield _kind(f"profile {name}", Jpeg(painted(_YCC), segments=JFIF + icc(profile)))
    missing = icc(profiles.ADOBE_RGB, piece=200)
    yield _kind(
        "profile of which a piece is missing", Jpeg(painted(_YCC), segments=JFIF + missing[218:])
    )
    yield _kind("RGB profile for gray", Jpeg(painted(GRAYS), segments=icc(profiles.ADOBE_RGB)), lab)


def _tags_of(profile: bytes) -> dict[bytes, bytes]:
    count = int.from_bytes(profile[128:132], "big")
    found = {}
    for at in range(132, 132 + 12 * count, 12):
        offset, length = (int.from_bytes(profile[at + n : at + n + 4], "big") for n in (4, 8))
        found[profile[at : at + 4]] = profile[offset : offset + length]
    return found


def _awkward() -> Iterator[Kind]:
    data = Jpeg(painted(_YCC), _HALVED).write()
    near = _CHROMA_NEAR
    yield Kind("jpeg no end marker", lambda: data[:-2], near=near)
    yield Kind("jpeg bytes behind the end", lambda: data + b"appended" * 500, near=near)
    yield Kind(
        "jpeg fill bytes before markers",
        lambda: data.replace(b"\xff\xc0", b"\xff\xff\xff\xc0"),
        near=near,
    )
    yield _kind("comments", Jpeg(painted(_YCC), segments=JFIF + segment(0xFE, b"x" * 60_000) * 3))
    yield _kind("unknown segments", Jpeg(painted(_YCC), segments=segment(0xEA, b"y" * 900)))
    thumbnail = segment(0xE1, b"Exif\0\0" + exif_block(1) + Jpeg(painted(_YCC)[:16, :16]).write())
    yield _kind("a thumbnail in EXIF", Jpeg(painted(_YCC), segments=thumbnail))
    zero = segment(0xE0, b"JFIF\0\1\1\0\0\0\0\0\0\0")
    yield _kind("JFIF with density 0", Jpeg(painted(_YCC), segments=zero))


def kinds() -> Iterator[Kind]:
    """All kinds of JPEG."""
    for some in (_coding, _spaces, _orientations, _profiles, _awkward):
        yield from some()
