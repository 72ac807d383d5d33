"""DICOM: frames, windows and ranges, and files that are refused before decoding."""

import json
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from iiif_server.codecs.decode import load
from iiif_server.codecs.jobs import render
from iiif_server.codecs.measure import measure_range
from iiif_server.codecs.metadata import read_metadata
from iiif_server.codecs.probe import probe
from iiif_server.errors import (
    DamagedOriginalError,
    NotAnImageError,
    OriginalRefusedError,
    OriginalTooLargeError,
    PageNotFoundError,
    UnsupportedOriginalError,
)
from iiif_server.plan.cost import cost_of_render
from iiif_server.plan.local_file import LocalFile
from iiif_server.plan.original_format import DEFAULT_BOUNDS, OriginalFormat
from iiif_server.plan.sample_ranges import has_range
from support.growth import measure_growth
from support.jpegs import lossless
from support.matrix.chart import RGB, painted
from support.matrix.dicom_kinds import (
    BIG,
    IMPLICIT,
    JPEG,
    JPEG_2000,
    JPEG_LS,
    LITTLE,
    LOSSLESS,
    PATIENT,
    RUNS,
    Elements,
    dicom,
    element,
    item,
    jpeg_ls,
    runs,
    slide,
)
from support.matrix.ffmpeg import jpeg2000
from support.matrix.jpegs import Jpeg
from support.rendering import EVERYTHING, derive, plan_request, write_file
from support.tiff_samples import TiffFile

PNG = "full/max/0/default.png"
VALUES = np.array([[-100, 0, 50, 100, 200, 300]], np.int16)[:, :, None]
WORDS = np.arange(64, dtype=np.uint16).reshape(8, 8, 1)
PIXELS = painted(RGB)[:16, :16]


def windowed(center: str, width: str, **more: tuple[int, str, str]) -> Elements:
    found = {0x0028_1050: ("DS", center), 0x0028_1051: ("DS", width)}
    return {**found, **{tag: (vr, value) for tag, vr, value in more.values()}}


def shown(path: Path, span: tuple[float, float] | None = None, page: int = 1) -> list[float]:
    header = replace(probe(path, 10**9, EVERYTHING, page), sample_range=span)
    with path.open("rb") as file:
        image = load(file.fileno(), header, 1).numpy()
    return [float(level) for level in np.ravel(image) / 65_535]


def test_it_is_not_read_by_default(tmp_path: Path) -> None:
    path = write_file(tmp_path, dicom(VALUES, "MONOCHROME2"))
    with pytest.raises(NotAnImageError):
        probe(path, 10**9, DEFAULT_BOUNDS)


def test_the_name_of_the_patient_is_nowhere(tmp_path: Path) -> None:
    path = write_file(tmp_path, dicom(VALUES, "MONOCHROME2"))
    assert PATIENT.encode() in path.read_bytes()
    header = probe(path, 10**9, EVERYTHING)
    found = read_metadata(LocalFile.at(path), location=True, max_pixels=10**9, bounds=EVERYTHING)
    assert json.loads(found) == {}
    assert "Doe" not in repr(header)
    assert b"Doe" not in derive(path, PNG, bounds=EVERYTHING).data


def test_a_preamble_may_be_the_start_of_a_tiff(tmp_path: Path) -> None:
    """A file that is both TIFF and DICOM is read as TIFF, which has levels."""
    path = write_file(tmp_path, dicom(PIXELS, "RGB", preamble=b"II*\0T\x18\x08\0"))
    assert probe(path, 10**9, EVERYTHING).format is OriginalFormat.DICOM
    tiff = TiffFile(PIXELS[:2, :3], 2, in_front=True, tags={305: (2, bytes(200))}).write()
    path = write_file(tmp_path, tiff[:128] + b"DICM" + tiff[132:])
    assert probe(path, 10**9, EVERYTHING).format is OriginalFormat.TIFF


def test_elements_may_be_implicit_whatever_is_said(tmp_path: Path) -> None:
    """Some writers use this layout."""
    first = b"\x08\0\x05\0"
    data = dicom(PIXELS, "RGB").partition(first)[0] + first
    data += dicom(PIXELS, "RGB", syntax=IMPLICIT).partition(first)[2]
    made = np.asarray(derive(write_file(tmp_path, data), PNG, bounds=EVERYTHING).image)
    assert (made == PIXELS).all()


def test_bytes_may_be_in_words_whose_higher_byte_comes_first(tmp_path: Path) -> None:
    """PS3.5, 7.3; frames of an odd size begin inside a word."""
    frames = np.stack([painted(RGB)[:15, :15], painted(RGB)[5:20, 5:20]])
    stored = frames.tobytes()
    words = np.frombuffer(stored, ">u2").astype("<u2").tobytes()
    data = dicom(frames, "RGB", syntax=BIG)
    assert data.count(stored) == 1
    data = data.replace(stored, words).replace(b"\x7f\xe0\0\x10OB", b"\x7f\xe0\0\x10OW")
    path = write_file(tmp_path, data)
    for page, expected in enumerate(frames, 1):
        made = derive(path, PNG, bounds=EVERYTHING, page=page).image
        assert (np.asarray(made) == expected).all()


# --- windows and ranges -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({}, (VALUES.ravel() + 32_768.0) / 65_535),
        (windowed("100.5", "201"), [0, 0, 0.25, 0.5, 1, 1]),
        (windowed("100.5\\0", "201\\9"), [0, 0, 0.25, 0.5, 1, 1]),
        (windowed("100", "200", f=(0x0028_1056, "CS", "LINEAR_EXACT")), [0, 0, 0.25, 0.5, 1, 1]),
        (windowed("100", "1"), [0, 0, 0, 1, 1, 1]),
        (windowed("-99.5", "201", s=(0x0028_1053, "DS", "-1")), [1, 1, 0.75, 0.5, 0, 0]),
        (windowed("100.5", "201", p=(0x2050_0020, "CS", "INVERSE")), [1, 1, 0.75, 0.5, 0, 0]),
        (windowed("100", "1e-29", f=(0x0028_1056, "CS", "LINEAR_EXACT")), [0, 0, 0, 0, 1, 1]),
        (windowed("1e29", "1"), [0] * 6),
        (windowed("100", "1e-29", f=(0x0028_1056, "CS", "SIGMOID")), [0, 0, 0, 0.5, 1, 1]),
        (windowed("100.5", "201", s=(0x0028_1053, "DS", "1e-300")), [0, 0, 0.25, 0.5, 1, 1]),
        (windowed("nan", "201"), (VALUES.ravel() + 32_768.0) / 65_535),
        (windowed("100", "0"), (VALUES.ravel() + 32_768.0) / 65_535),
        (windowed("100", "inf"), (VALUES.ravel() + 32_768.0) / 65_535),
    ],
    ids=[
        "type",
        "window",
        "first",
        "exact",
        "step",
        "falling",
        "inverse",
        "narrow",
        "far",
        "sigmoid",
        "slope",
        "nan",
        "zero",
        "inf",
    ],
)
def test_the_first_window_counts(more: Elements, expected: Any, tmp_path: Path) -> None:
    found = shown(write_file(tmp_path, dicom(VALUES, "MONOCHROME2", more=more)))
    assert found == pytest.approx(list(expected), abs=1e-4)


def test_a_range_that_is_chosen_is_in_the_units_of_the_window(tmp_path: Path) -> None:
    rescaled: Elements = {**windowed("0", "9"), 0x0028_1052: ("DS", "-50"),
                          0x0028_1053: ("DS", "2")}  # fmt: skip
    path = write_file(tmp_path, dicom(VALUES, "MONOCHROME2", more=rescaled))
    header = probe(path, 10**9, EVERYTHING)
    assert has_range(header)
    assert measure_range(LocalFile.at(path), header=header) == (-250, 550)
    expected = [0, 0, 0.125, 0.375, 0.875, 1]
    assert shown(path, (0, 400)) == pytest.approx(expected, abs=1e-4)


def test_stored_bits_may_begin_above_the_lowest(tmp_path: Path) -> None:
    """The other bits belong to overlays."""
    levels = np.array([[0, 1_000, 4_095]], np.uint16)[:, :, None]
    more: Elements = {0x0028_0102: ("US", 13)}
    path = write_file(tmp_path, dicom(levels << 2 | 0xC003, "MONOCHROME2", stored=12, more=more))
    assert shown(path) == pytest.approx([0, 1_000 / 4_095, 1], abs=1e-4)


def test_two_pixels_share_chroma(tmp_path: Path) -> None:
    """Red and dark red by BT.601: two luma samples, Cb and Cr."""
    data = bytes([76, 38, 85, 255]) * 4
    path = write_file(tmp_path, dicom(PIXELS[:4, :2], "YBR_FULL_422", data=data))
    made = np.asarray(derive(path, PNG, bounds=EVERYTHING).image)
    assert np.abs(made.astype(int) - [[254, 0, 0], [216, 0, 0]]).max() <= 1


# --- frames -------------------------------------------------------------------------------------


def levels_of(path: Path, count: int) -> list[int]:
    return [
        int(np.asarray(derive(path, PNG, bounds=EVERYTHING, page=page).image)[0, 0])
        for page in range(1, count + 1)
    ]


FRAMES = np.full((3, 8, 8, 1), 1, np.uint8) * np.array([10, 20, 30], np.uint8)[:, None, None, None]


def in_two(at: int) -> list[bytes]:
    """Split each frame into two fragments, the first of `first` bytes."""
    whole = [jpeg_ls(frame).ljust(200, b"\0") for frame in FRAMES]
    return [part for data in whole for part in (data[:at], data[at:])]


@pytest.mark.parametrize(
    ("fragments", "offsets"),
    [
        ([], ()),
        ([jpeg_ls(frame) for frame in FRAMES], ()),
        (in_two(20), ()),
        (in_two(20), (0, 216, 432)),
    ],
    ids=["native", "one each", "by their starts", "by the table"],
)
def test_frames_are_pages(fragments: list[bytes], offsets: tuple[int, ...], tmp_path: Path) -> None:
    syntax = JPEG_LS if fragments else LITTLE
    data = dicom(FRAMES, "MONOCHROME2", fragments=fragments, offsets=offsets, syntax=syntax)
    path = write_file(tmp_path, data)
    assert probe(path, 10**9, EVERYTHING).pages == 3
    assert levels_of(path, 3) == [10, 20, 30]
    with pytest.raises(PageNotFoundError):
        probe(path, 10**9, EVERYTHING, page=4)


def test_each_frame_has_its_window(tmp_path: Path) -> None:
    groups = [{0x0028_9132: ("SQ", [windowed(f"{center}.5", "11")])} for center in (15, 15, 25)]
    more: Elements = {0x5200_9230: ("SQ", groups)}
    path = write_file(tmp_path, dicom(FRAMES, "MONOCHROME2", more=more))
    assert levels_of(path, 3) == [0, 255, 255]
    path = write_file(tmp_path, dicom(FRAMES[::-1], "MONOCHROME2", more=more))
    assert levels_of(path, 3) == [255, 255, 0]


# --- refusals -----------------------------------------------------------------------------------


def deep(levels: int) -> bytes:
    """Nested sequences."""
    inner = b""
    for _ in range(levels):
        body = item(inner) + struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)
        inner = struct.pack("<HH2sHI", 0x0008, 0x1140, b"SQ", 0, 0xFFFF_FFFF) + body
    return inner


def with_elements(more: bytes, syntax: str = LITTLE) -> bytes:
    """File with more elements before those of the image."""
    data = dicom(WORDS, "MONOCHROME2", syntax=syntax)
    at = data.index(b"\x08\0\x05\0CS")
    return data[:at] + more + data[at:]


def said(**changes: Any) -> Callable[[], bytes]:
    """File with other values in its elements."""
    found = {int(tag, 16): value for tag, value in changes.items()}
    return lambda: dicom(WORDS, "MONOCHROME2", more=found)


def coded(syntax: str, data: bytes, pixels: Any = PIXELS, kind: str = "RGB") -> Callable[[], bytes]:
    return lambda: dicom(pixels, kind, syntax=syntax, fragments=[data])


_RUNS = runs(PIXELS)
PALETTE: Elements = {
    **{0x0028_1101 + at: ("US", [24, 0, 16]) for at in range(3)},
    **{0x0028_1221 + at: ("OW", bytes(48)) for at in range(3)},
}
SHORT: Elements = {0x0028_3010: ("SQ", [{0x0028_3002: ("US", [256, 0, 16]),
                                         0x0028_3006: ("OW", bytes(40))}])}  # fmt: skip
HOSTILE: dict[str, tuple[Callable[[], bytes], type[OriginalRefusedError]]] = {
    "deflated": (lambda: dicom(WORDS, "MONOCHROME2", syntax="1.2.840.10008.1.2.1.99"),
                 UnsupportedOriginalError),
    "video": (coded("1.2.840.10008.1.2.4.102", b"ab"), UnsupportedOriginalError),
    "1 bit": (said(**{"00280100": ("US", 1)}), UnsupportedOriginalError),
    "colours of 32 bits": (lambda: dicom(PIXELS.astype(np.uint32), "RGB"),
                           UnsupportedOriginalError),
    "no pixels": (lambda: dicom(WORDS, "MONOCHROME2").partition(b"\xe0\x7f\x10\0")[0],
                  UnsupportedOriginalError),
    "floating point": (lambda: with_elements(element(0x7FE0_0008, "UN", b"\0\0\0\0")),
                       UnsupportedOriginalError),
    "another space": (said(**{"00280004": ("CS", "ARGB")}), UnsupportedOriginalError),
    "other samples": (said(**{"00280002": ("US", 3)}), DamagedOriginalError),
    "more bits than there are": (said(**{"00280101": ("US", 17)}), DamagedOriginalError),
    "no rows": (said(**{"00280010": ("US", 0)}), DamagedOriginalError),
    "rows without a number": (said(**{"00280010": ("US", b"")}), DamagedOriginalError),
    "larger than its pixels": (said(**{"00280010": ("US", 9)}), DamagedOriginalError),
    "large": (said(**{"00280010": ("US", 65_535), "00280011": ("US", 65_535)}),
              OriginalTooLargeError),
    "many frames": (said(**{"00280008": ("IS", 999_999_999)}), OriginalTooLargeError),
    "frames that it has not": (said(**{"00280008": ("IS", 2)}), DamagedOriginalError),
    "deep": (lambda: with_elements(deep(20)), DamagedOriginalError),
    "many elements": (lambda: with_elements(element(0x0008_0006, "CS", b"") * 200_001),
                      OriginalTooLargeError),
    "an element beyond the end": (
        lambda: with_elements(struct.pack("<HH2sHI", 8, 6, b"UN", 0, 0x7FFF_FFFF)),
        DamagedOriginalError,
    ),
    "no representation": (lambda: with_elements(b"\x08\0\x06\0\xff\xff\0\0"), DamagedOriginalError),
    "a sequence of no items": (
        lambda: with_elements(struct.pack("<HH2sHI", 8, 6, b"SQ", 0, 0xFFFF_FFFF) + bytes(8)),
        DamagedOriginalError,
    ),
    "a palette in segments": (lambda: dicom(PIXELS[:, :, :1], "PALETTE COLOR", more=PALETTE),
                              DamagedOriginalError),
    "a short table": (lambda: dicom(WORDS, "MONOCHROME2", more=SHORT), DamagedOriginalError),
    "a sparse slide": (lambda: slide(painted(RGB), full=False), UnsupportedOriginalError),
    "fragments in native syntax": (coded(LITTLE, b"ab"), DamagedOriginalError),
    "no fragments in a coded one": (lambda: dicom(PIXELS, "RGB", syntax=JPEG, data=b"ab"),
                                    DamagedOriginalError),
    "an empty fragment": (coded(JPEG, b""), DamagedOriginalError),
    "fragments that end early": (lambda: coded(JPEG, Jpeg(PIXELS).write())()[:-300],
                                 DamagedOriginalError),
    "a JPEG of other sides": (coded(JPEG, Jpeg(painted(RGB)).write()), DamagedOriginalError),
    "a JPEG of gray": (coded(JPEG, Jpeg(PIXELS[:, :, :1]).write()), DamagedOriginalError),
    "a JPEG that ends early": (coded(LOSSLESS, lossless(PIXELS, 8)[:60]), DamagedOriginalError),
    "a JPEG-LS of other sides": (coded(JPEG_LS, jpeg_ls(painted(RGB))), DamagedOriginalError),
    "a JPEG 2000 of other sides": (coded(JPEG_2000, jpeg2000(painted(RGB))), OriginalRefusedError),
    "a JPEG 2000 of gray": (coded(JPEG_2000, jpeg2000(PIXELS[:, :, :1])), DamagedOriginalError),
    "run lengths that end early": (coded(RUNS, _RUNS[:80]), DamagedOriginalError),
    "run lengths of fewer samples": (coded(RUNS, runs(PIXELS[:, :, :1])), DamagedOriginalError),
    "run lengths of nothing": (coded(RUNS, bytes(64)), DamagedOriginalError),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_what_is_not_read_is_refused(name: str, tmp_path: Path) -> None:
    write, error = HOSTILE[name]
    with pytest.raises(error) as told:
        derive(write_file(tmp_path, write()), PNG, bounds=EVERYTHING)
    assert "Doe" not in str(told.value)


@pytest.mark.parametrize("data", [dicom(WORDS, "MONOCHROME2"), coded(RUNS, _RUNS)()],
                         ids=["native", "coded"])  # fmt: skip
def test_files_that_end_early_are_damaged(data: bytes, tmp_path: Path) -> None:
    for length in range(132, len(data) - 30, 7):
        # Between two elements, it may as well be one of the files that have no pixels.
        with pytest.raises((DamagedOriginalError, UnsupportedOriginalError)):
            derive(write_file(tmp_path, data[:length]), PNG, bounds=EVERYTHING)


def test_tiles_of_a_slide_cost_what_they_show(tmp_path: Path) -> None:
    path = write_file(tmp_path, slide(np.zeros((2_400, 2_400, 3), np.uint8), 240))
    costs = []
    for request in ("960,960,480,480/max/0/default.png", PNG):
        plan = plan_request(path, request, bounds=EVERYTHING)
        costs.append(cost_of_render(plan))
        assert measure_growth(render, plan) < costs[-1].bytes
    part, whole = costs
    assert part.bytes < whole.bytes / 3
    assert part.effort < whole.effort / 10


LARGE = np.random.default_rng(1).integers(0, 255, (1_500, 1_500, 3), np.uint8)
DEEP = LARGE[:, :, :1].astype(np.uint16) * 257
COSTS: dict[str, Callable[[], bytes]] = {
    "window": lambda: dicom(DEEP, "MONOCHROME2", more=windowed("30000", "9000"), stored=15),
    "sigmoid": lambda: dicom(
        DEEP, "MONOCHROME2", more=windowed("30000", "9000", f=(0x0028_1056, "CS", "SIGMOID"))
    ),
    "RGB": lambda: dicom(LARGE, "RGB", planar=True),
    "YBR": lambda: dicom(LARGE, "YBR_FULL"),
    "JPEG-LS": lambda: dicom(DEEP, "MONOCHROME2", syntax=JPEG_LS, fragments=[jpeg_ls(DEEP)]),
    "JPEG 2000": lambda: dicom(LARGE, "RGB", syntax=JPEG_2000, fragments=[jpeg2000(LARGE)]),
    "slide": lambda: slide(LARGE, 256),
}


@pytest.mark.parametrize("name", COSTS)
def test_a_decoder_takes_what_is_estimated(name: str, tmp_path: Path) -> None:
    plan = plan_request(write_file(tmp_path, COSTS[name]()), PNG, bounds=EVERYTHING)
    assert measure_growth(render, plan) < cost_of_render(plan).bytes
