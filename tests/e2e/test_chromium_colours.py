"""Chromium as an independent decoder: it shows the originals of the matrix as the server does."""

import base64
from collections.abc import Iterator
from fnmatch import fnmatchcase
from io import BytesIO
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, Page

from support.matrix.chart import HEIGHT, WIDTH, Kind, measured
from support.matrix.colours import delta_e
from support.matrix.every import KINDS
from support.matrix.views import LOSSLESS_NEAR, WHOLE
from support.servers import Server

pytestmark = pytest.mark.e2e

FORMATS = ("jpeg", "png", "avif", "webp", "bmp", "gif")
OTHERWISE = {
    "jpeg 12 bits*": "is not opened",
    "jpeg lossless*": "is not opened",
    "jpeg no end marker": "is not opened",
    "avif broken profile": "is not opened",
    "jpeg CMYK*": "inks become colours by a formula, whatever their profile is",
    "jpeg YCCK*": "inks become colours by a formula, whatever their profile is",
    "* BT.2020*": "the curve is taken for that of a display (BT.1886), not of a camera",
    "png eXIf ? behind the pixels": "what follows the pixels is not read",
    "png animated, default image apart": "the first frame is shown",
    "webp EXIF*": "the orientation is not read",
}
"""What Chromium does otherwise, and how."""
OPENED = [
    kind
    for kind in KINDS
    if kind.name.split()[0] in FORMATS
    and not any(fnmatchcase(kind.name, pattern) for pattern in OTHERWISE)
]
_DRAW = """async (text) => {
    const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
    const picture = await createImageBitmap(new Blob([bytes]));
    const canvas = new OffscreenCanvas(picture.width, picture.height);
    canvas.getContext("2d", { colorSpace: "srgb" }).drawImage(picture, 0, 0);
    const blob = await canvas.convertToBlob({ type: "image/png" });
    const made = new Uint8Array(await blob.arrayBuffer());
    return btoa(Array.from(made, (byte) => String.fromCharCode(byte)).join(""));
}"""


@pytest.fixture(scope="module")
def page(browser: Browser) -> Iterator[Page]:
    opened = browser.new_page()
    yield opened
    opened.close()


def _lab(data: bytes) -> Any:
    with Image.open(BytesIO(data)) as image:
        assert image.size == (WIDTH, HEIGHT)
        found = measured(image, WHOLE)
    return np.array([found[number] for number in sorted(found)])


@pytest.mark.parametrize("kind", OPENED, ids=str)
def test_chromium_shows_the_same_colours(kind: Kind, server: Server, page: Page) -> None:
    data = kind.write()
    name = f"{OPENED.index(kind)}.original"
    (server.source / name).write_bytes(data)
    answer = httpx.get(f"{server.url}/pictures:{name}/full/max/0/default.png")
    drawn = base64.b64decode(page.evaluate(_DRAW, base64.b64encode(data).decode()))
    off = delta_e(_lab(answer.content), _lab(drawn))
    assert off.max() <= LOSSLESS_NEAR, f"{off.max():.1f} of patch {int(off.argmax())}"
