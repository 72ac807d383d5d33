"""Sample values that are shown as black and white: of the type, of the image, or chosen."""

import io
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytest_asyncio
from numpy.typing import NDArray
from PIL import Image

from iiif_server.images.limits import LimitsOptions
from support.apps import Server, fetch_options, running_app, settings_below
from support.deep import samples_of
from support.jp2 import enumerated, jp2
from support.jpegs import lossless
from support.matrix.ffmpeg import LOSSLESS_J2K, encoded
from support.matrix.png_kinds import png
from support.psds import psd
from support.tiff_samples import TiffFile
from support.upstream import ranged, running_upstream

pytestmark = pytest.mark.asyncio(loop_scope="module")

Array = NDArray[Any]
TYPES = {
    "plain": {"source": "disk"},
    "data": {"source": "disk", "range": "data"},
    "chosen": {"source": "disk", "range": [500, 3_000]},
    "float": {"source": "disk", "range": [-2.5, 2.5]},
}
rng = np.random.default_rng(3)
WIDTH, HEIGHT = 60, 40
LOW, HIGH = 100, 4_000
VALUES = rng.integers(LOW, HIGH + 1, (HEIGHT, WIDTH, 3)).astype(np.uint16)
VALUES[0, 0], VALUES[-1, -1] = LOW, HIGH
GRAY = np.ascontiguousarray(VALUES[:, :, :1])
ALPHA = rng.integers(0, 65_536, (HEIGHT, WIDTH, 1)).astype(np.uint16)
RGBA = np.concatenate((VALUES, ALPHA), axis=2)
FLOATS = ((GRAY.astype(np.float32) - 2_050) / 500).astype(np.float32)


def spread(values: Array, low: float, high: float) -> Array:
    found: Array = np.rint(np.clip((values.astype(float) - low) / (high - low), 0, 1) * 65_535)
    return found


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Server]:
    settings = settings_below(
        tmp_path_factory.mktemp("range"),
        types=TYPES,
        encoding={"depth": 16},
        pyramids={"min_pixels": 1_000, "tile_size": 128},
    )
    async with running_app(settings) as server:
        yield server


async def shown(server: Server, type_: str, name: str, request: str = "full/max/0") -> Array:
    answer = await server.get(f"/{type_}:{name}/{request}/default.png")
    assert answer.status_code == 200, answer.text
    return samples_of(answer.content).astype(int)


def j2k_12_bits() -> bytes:
    stream = encoded("jpeg2000", "gray12le", [GRAY[:, :, 0]], options=LOSSLESS_J2K)
    head = jp2(stream, enumerated(17), count=1)
    size = (32).to_bytes(4, "big") * 2
    return head.replace(size, HEIGHT.to_bytes(4, "big") + WIDTH.to_bytes(4, "big"), 1)


INTEGERS: dict[str, tuple[Callable[[], bytes], Array]] = {
    "tiff": (TiffFile(GRAY, 1, 16).write, GRAY),
    "tiff tiled": (TiffFile(VALUES, 2, 16, tile=(16, 16)).write, VALUES),
    "tiff planar": (TiffFile(VALUES, 2, 16, planar=True).write, VALUES),
    "tiff 12 bits": (TiffFile(GRAY, 1, 12).write, GRAY),
    "tiff 32 bits": (TiffFile(GRAY.astype(np.uint32), 1, 32).write, GRAY),
    "tiff signed": (TiffFile(GRAY.astype(np.int16), 1, 16).write, GRAY),
    "png": (lambda: png(GRAY, 0, 16), GRAY),
    "png rgb": (lambda: png(VALUES, 2, 16), VALUES),
    "psd": (lambda: psd(VALUES, 3, bits=16), VALUES),
    "jp2": (j2k_12_bits, GRAY),
    "jpeg": (lambda: lossless(GRAY, 12), GRAY),
}


@pytest.mark.parametrize("name", INTEGERS)
@pytest.mark.parametrize(("type_", "low", "high"), [("data", LOW, HIGH), ("chosen", 500, 3_000)])
async def test_integers(server: Server, name: str, type_: str, low: int, high: int) -> None:
    write, values = INTEGERS[name]
    server.put(type_, f"{name}.x", write())
    whole = await shown(server, type_, f"{name}.x")
    # Samples of 12 bits are levels of 16 before they are spread.
    assert np.abs(whole - spread(values, low, high)).max() <= 2
    part = await shown(server, type_, f"{name}.x", "7,5,20,10/max/0")
    assert (part == whole[5:15, 7:27]).all()


async def test_white_is_the_least_where_the_file_says_so(server: Server) -> None:
    data = TiffFile(GRAY, 0, 16).write()
    for type_, low, high in (("data", LOW, HIGH), ("chosen", 500, 3_000)):
        server.put(type_, "white.tif", data)
        whole = await shown(server, type_, "white.tif")
        assert (whole == 65_535 - spread(GRAY, low, high)).all()


@pytest.mark.parametrize("name", ["png", "tif"])
async def test_alpha_is_not_spread(server: Server, name: str) -> None:
    data = png(RGBA, 6, 16) if name == "png" else TiffFile(RGBA, 2, 16, extra=[2]).write()
    server.put("data", f"alpha.{name}", data)
    whole = await shown(server, "data", f"alpha.{name}")
    assert (whole[:, :, 3:] == ALPHA).all()
    assert np.abs(whole[:, :, :3] - spread(VALUES, LOW, HIGH)).max() <= 1


@pytest.mark.parametrize("tile", [None, (32, 16)])
async def test_floating_point(server: Server, tile: tuple[int, int] | None) -> None:
    values = FLOATS.copy()
    values[3, :4, 0] = np.nan, np.inf, -np.inf, 0.5
    data = TiffFile(values, 1, 32, tile=tile).write()
    finite = np.nan_to_num(values, nan=-1e9, posinf=1e9, neginf=-1e9)
    low, high = float(FLOATS.min()), float(FLOATS.max())
    for type_, span in (("plain", (0, 1)), ("data", (low, high)), ("float", (-2.5, 2.5))):
        server.put(type_, f"{tile}.tif", data)
        whole = await shown(server, type_, f"{tile}.tif")
        assert np.abs(whole - spread(finite, *span)).max() <= 1


async def test_a_pyramid_is_shown_with_the_range_of_the_whole_image(server: Server) -> None:
    ramp = np.linspace(100, 300, 512).astype(np.uint16)[None, :, None].repeat(300, axis=0)
    ramp[0, 0] = 4_000
    server.put("data", "ramp.tif", TiffFile(ramp, 1, 16).write())
    for _ in range(2):
        answer = await server.get("/data:ramp.tif/256,128,128,128/128,/0/default.jpg")
        assert answer.status_code == 200
        part = await shown(server, "data", "ramp.tif", "256,128,128,128/max/0")
        assert np.abs(part - spread(ramp[128:256, 256:384], 100, 4_000)).max() <= 1


async def test_images_of_8_bits_do_not_change(server: Server) -> None:
    data = png((VALUES >> 6).astype(np.uint8), 2)
    for type_ in ("plain", "data", "chosen"):
        server.put(type_, "eight.png", data)
    plain, *others = [
        await shown(server, type_, "eight.png") for type_ in TYPES if type_ != "float"
    ]
    assert all((one == plain).all() for one in others)


@pytest.mark.parametrize("value", [np.nan, 7.0, np.inf])
async def test_an_image_without_a_range_is_shown_by_its_type(server: Server, value: float) -> None:
    values = np.full((HEIGHT, WIDTH, 1), value, np.float32)
    for type_ in ("plain", "data"):
        server.put(type_, f"{value}.tif", TiffFile(values, 1, 32).write())
    plain, data = [await shown(server, type_, f"{value}.tif") for type_ in ("plain", "data")]
    assert (plain == data).all()


async def test_an_image_that_cannot_be_looked_through_is_refused(server: Server) -> None:
    pieces = [b"\xff" * 5_000]
    data = TiffFile(GRAY, 1, 16, deflate=True, rows=HEIGHT, pieces=pieces).write()
    server.put("data", "damaged.tif", data)
    for request in ("info.json", "full/max/0/default.jpg"):
        answer = await server.get(f"/data:damaged.tif/{request}")
        assert answer.status_code == 422, answer.text


async def test_an_image_too_large_to_be_looked_through_says_what_can_be_done(
    tmp_path: Path,
) -> None:
    settings = settings_below(
        tmp_path,
        types={name: TYPES[name] for name in ("data", "float")},
        limits=LimitsOptions(memory=100_000_000),
    )
    pixels = np.zeros((4_000, 4_000, 1))
    async with running_app(settings) as server:
        for type_ in ("data", "float"):
            server.put(type_, "large.tif", TiffFile(pixels, 1, 64, tile=(256, 256)).write())
        refused, shown_ = [
            await server.get(f"/{type_}:large.tif/info.json") for type_ in ("data", "float")
        ]
    assert (refused.status_code, shown_.status_code) == (413, 200)
    for told in ('"data"', 'range = "data"', "limits.memory", 'range = "type" or two numbers'):
        assert told in refused.json()["error"]
    assert "smaller size" not in refused.json()["error"]


async def test_a_changed_range_makes_other_images(tmp_path: Path) -> None:
    ramp = np.linspace(0, 60_000, 300).astype(np.uint16)[None, :, None].repeat(200, axis=0)
    brightness = []
    for range_ in ("type", [0, 30_000], "data", [0, 30_000]):
        settings = settings_below(
            tmp_path,
            types={"disk": {"source": "disk", "range": range_}},
            pyramids={"min_pixels": 1_000, "tile_size": 128},
        )
        async with running_app(settings) as server:
            server.put("disk", "a.tif", TiffFile(ramp, 1, 16).write())
            for request in ("0,0,128,128/128,/0/default.jpg", "130,7,100,100/max/0/default.jpg"):
                answer = await server.get(f"/disk:a.tif/{request}")
                with Image.open(io.BytesIO(answer.content)) as image:
                    brightness.append(round(float(np.asarray(image).mean())))
    assert brightness[2:4] == brightness[6:]
    assert brightness[0] < brightness[4] < brightness[2]
    assert brightness[1] < brightness[5] < brightness[3]


async def test_an_original_that_is_read_in_parts_is_fetched_as_a_whole(tmp_path: Path) -> None:
    side = 512
    values = rng.integers(LOW, HIGH, (side, side, 1)).astype(np.uint16)
    values[0, 0], values[-1, -1] = LOW, HIGH
    data = TiffFile(values, 1, 16, tile=(128, 128), in_front=True).write()
    with running_upstream() as upstream:
        upstream.replies["/a.tif"] = ranged(data)
        url = f"{upstream.base}/{{name}}"
        settings = settings_below(
            tmp_path,
            types={"web": {"source": "web", "url": url, "range": "data"}},
            encoding={"depth": 16},
            fetch=fetch_options(),
        )
        async with running_app(settings) as server:
            part = await shown(server, "web", "a.tif", "0,0,128,128/128,/0")
    assert np.abs(part - spread(values[:128, :128], LOW, HIGH)).max() <= 1
