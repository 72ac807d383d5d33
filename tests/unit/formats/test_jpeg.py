"""Marker segments of JPEGs."""

from io import BytesIO

import pytest
from PIL import Image

from iiif_server.formats.jpeg import frame, icc_profile, icc_segments
from iiif_server.formats.jpeg_segments import (
    adobe_segment,
    icc_segments_of,
    jfif_segment,
    with_segments,
)
from iiif_server.iiif.geometry import Dimensions
from support import pictures
from support.pictures import HEIGHT, WIDTH, photograph


def test_icc_segments_of_a_jpeg_are_found_in_order() -> None:
    profile = pictures.wide_profile(150_000)
    data = pictures.jpeg(photograph(), icc_profile=profile, exif=pictures.exif(1))
    found = list(icc_segments(data))
    assert len(found) == 3
    assert b"".join(segment[18:] for segment in found) == profile
    assert not list(icc_segments(pictures.jpeg(photograph())))


def test_icc_segments_of_nonsense_are_none() -> None:
    for start in (b"", b"\xff\xd8", b"\xff\xd8\xff\xe2\0", b"\xff\xd8\xff\xe2\0\0" * 9, bytes(999)):
        assert not list(icc_segments(start))


@pytest.mark.parametrize("padding", [0, 65_000, 70_000, 150_000])
def test_a_profile_is_found_again_in_however_many_segments(padding: int) -> None:
    profile = pictures.wide_profile(padding)
    data = with_segments(pictures.jpeg(photograph()), b"".join(icc_segments_of(profile)))
    assert icc_profile(data) == profile
    assert Image.open(BytesIO(data)).info["icc_profile"] == profile


def test_what_has_no_profile_has_none() -> None:
    assert icc_profile(pictures.jpeg(photograph())) is None
    assert icc_profile(b"\xff\xd8\xff\xe2\0\x10ICC_PROFILE\0\x01\x01") is None


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"sampling": 0}])
def test_the_frame_tells_dimensions_and_components(options: dict[str, bool]) -> None:
    data = pictures.jpeg(photograph(), **options)
    assert frame(data) == (Dimensions(WIDTH, HEIGHT), 3)
    assert frame(pictures.jpeg(photograph()[..., 0])) == (Dimensions(WIDTH, HEIGHT), 1)


@pytest.mark.parametrize("start", [b"", b"\xff\xd8\xff\xd9", b"\xff\xd8\xff\xc0\0\x04\x08", b"P6"])
def test_what_has_no_frame_has_no_dimensions(start: bytes) -> None:
    assert frame(start) is None


def test_samples_of_more_than_eight_bits_are_no_frame_for_viewers() -> None:
    data = bytearray(pictures.jpeg(photograph()))
    data[data.index(b"\xff\xc0") + 4] = 12
    assert frame(bytes(data)) is None


def test_segments_say_their_length() -> None:
    for segment in (jfif_segment(), adobe_segment(), *icc_segments_of(b"x" * 999)):
        assert int.from_bytes(segment[2:4], "big") == len(segment) - 2
