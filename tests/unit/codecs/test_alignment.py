"""Crops that libvips, which scales around the centre, does not shift."""

import numpy as np
import pytest
import pyvips
from PIL import Image

from iiif_server.codecs.alignment import Span, aligned_span
from support import pictures
from support.rendering import psnr

TOLERANCE = 0.05


def test_whole_pixels_at_both_ends_need_nothing_more() -> None:
    assert aligned_span(100, 800, 500, TOLERANCE) == Span(100, 900, 0, 500)


def test_what_is_not_scaled_is_cut_at_whole_pixels_or_not_at_all() -> None:
    assert aligned_span(3, 50, 50, TOLERANCE) == Span(3, 53, 0, 50)
    assert aligned_span(3.5, 50, 50, TOLERANCE) is None


@pytest.mark.parametrize("start", [0.25, 10.5, 33.125, 7.75])
@pytest.mark.parametrize(("extent", "size"), [(150.5, 101), (180.25, 97), (201.0, 150)])
def test_the_result_is_what_interpolating_between_pixels_would_give(
    start: float, extent: float, size: int
) -> None:
    pixels = np.random.default_rng(3).integers(0, 256, (40, 280, 3), dtype=np.uint8)
    span = aligned_span(start, extent, size, TOLERANCE)
    assert span is not None
    padded = np.pad(pixels, ((0, 0), (60, 60), (0, 0)), mode="edge")
    cut = np.ascontiguousarray(padded[:, 60 + span.start : 60 + span.end])
    scaled = pictures.vips(cut, "srgb").resize(size / extent, vscale=1, kernel="lanczos3")
    assert scaled.width == span.total
    made = np.ndarray(buffer=scaled.write_to_memory(), dtype=np.uint8, shape=(40, span.total, 3))[
        :, span.before : span.before + size
    ]
    box = (start, 0, start + extent, 40)
    true = Image.fromarray(pixels).resize((size, 40), Image.Resampling.LANCZOS, box=box)
    assert psnr(made[:, 4:-4], np.asarray(true)[:, 4:-4]) > 33
    shifted = Image.fromarray(pixels).resize(
        (size, 40), Image.Resampling.LANCZOS, box=(start + 0.5, 0, start + 0.5 + extent, 40)
    )
    assert psnr(made[:, 4:-4], np.asarray(shifted)[:, 4:-4]) < 25, "half a pixel would be noticed"


def test_libvips_still_scales_about_the_middle() -> None:
    # What all of this rests on: a pixel that is added is spread over both ends.
    ramp = pictures.vips(
        np.tile(np.arange(0, 250, dtype=np.uint8)[None, :, None], (4, 1, 3)), "srgb"
    )
    scaled = ramp.resize(100 / 199, vscale=1, kernel="linear")
    assert scaled.width == round(250 * 100 / 199)
    middle = scaled.crop(scaled.width // 2 - 1, 0, 2, 1).avg()
    assert abs(middle - 124.5) < 1
    assert pyvips.at_least_libvips(8, 15)
