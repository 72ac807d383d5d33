"""Views of the chart through the whole path of a request, with and without a pyramid."""

import warnings
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from iiif_server.images.limits import LimitsOptions
from iiif_server.images.pyramid_options import PyramidOptions
from iiif_server.plan.encoding import EncodingOptions
from support.apps import Server, decode_image, running_app, settings_below
from support.matrix.chart import HEIGHT, WIDTH, Kind, measured
from support.matrix.colours import delta_e

SIDE = 128
"""Side of a tile."""
LOSSLESS_NEAR, JPEG_NEAR = 2.0, 3.0
"""Delta E 2000 by which a patch may be off."""


@dataclass(frozen=True)
class View:
    """Request, and the part of the chart that it shows."""

    region: tuple[int, int, int, int]
    size: tuple[int, int]
    format: str
    engines: tuple[str, ...] = ()
    """What may make it; any if empty."""

    @property
    def path(self) -> str:
        """Path below the identifier."""
        region = ",".join(map(str, self.region))
        up = "^" if self.size[0] > self.region[2] else ""
        return f"{region}/{up}{self.size[0]},{self.size[1]}/0/default.{self.format}"


WHOLE = (0, 0, WIDTH, HEIGHT)
HALF = (-(-WIDTH // 2), -(-HEIGHT // 2))
RIGHT = (SIDE, 0, WIDTH - SIDE, SIDE)
INNER = (36, 36, 140, 70)
PLAIN = (
    View(WHOLE, (WIDTH, HEIGHT), "png"),
    View(WHOLE, (WIDTH, HEIGHT), "jpg"),
    View(WHOLE, HALF, "jpg"),
    View(WHOLE, (60, 40), "png"),
    View(RIGHT, RIGHT[2:], "jpg"),
    View(INNER, INNER[2:], "png"),
    View(INNER, (280, 140), "png"),
    View(WHOLE, (WIDTH, HEIGHT), "gif"),
)
"""Of the original itself."""
FROM_PYRAMID = (
    View(WHOLE, (60, 40), "png"),
    View(INNER, (280, 140), "jpg"),
)


def tiles(side: int) -> tuple[View, ...]:
    """Return a tile of full resolution and one of half, which start the build of both parts."""
    reduced = min(WIDTH, 2 * side), min(HEIGHT, 2 * side)
    size = -(-reduced[0] // 2), -(-reduced[1] // 2)
    made = ("tile",) if side == SIDE else ()
    views = (View((0, 0, *reduced), size, "jpg", made),)
    if side >= WIDTH:
        return views
    full = min(WIDTH - side, side), min(HEIGHT, side)
    return (*views, View((side, 0, *full), full, "jpg", made and ("tile", "jpegtran")))


@asynccontextmanager
async def running_servers(folder: Path) -> AsyncIterator[tuple[Server, Server]]:
    """Run the application without pyramids, and with a pyramid of every original."""
    async with (
        _running(folder / "plain", enabled=False) as plain,
        _running(folder / "pyramids", min_pixels=1) as pyramids,
    ):
        yield plain, pyramids


def _running(folder: Path, **pyramids: Any) -> Any:
    options = PyramidOptions.model_validate({"tile_size": SIDE, "quality": 95, **pyramids})
    types = {"disk": {"source": "disk"}}
    # Patches are small: at the quality by default, chroma is halved, which blurs them.
    encoding = EncodingOptions(jpeg_quality=95)
    limits = LimitsOptions(rare=True)
    return running_app(
        settings_below(folder, types=types, pyramids=options, encoding=encoding, limits=limits)
    )


async def find_faults(plain: Server, pyramids: Server, kind: Kind) -> list[str]:
    """Return the faults in the views of a kind; an empty list if there are none."""
    data, name = kind.write(), f"{kind.name}.original"
    found = []
    for server, views in ((plain, PLAIN), (pyramids, FROM_PYRAMID)):
        server.put("disk", name, data)
        info = await server.get(f"/disk:{quote(name)}/info.json")
        if info.status_code != 200:
            return [f"info.json: {info.text}"]
        if (size := (info.json()["width"], info.json()["height"])) != (WIDTH, HEIGHT):
            return [f"info.json: {size}"]
        made = tiles(info.json()["tiles"][0]["width"]) if server is pyramids else ()
        for view in (*made, *views):
            if view.format == "gif" and kind.dithered:
                continue
            found += await _faults_of(server, name, view, kind)
        server.remove("disk", name)
    return found


async def _faults_of(server: Server, name: str, view: View, kind: Kind) -> list[str]:
    where = f"{'pyramid ' if server.settings.pyramids.enabled else ''}{view.path}"
    answer = await server.get(f"/disk:{quote(name)}/{view.path}")
    if answer.status_code != 200:
        return [f"{where}: {answer.text}"]
    engine = answer.headers["server-timing"].partition('desc="')[2].partition('"')[0]
    if view.engines and engine not in view.engines:
        return [f"{where}: made by {engine}"]
    with warnings.catch_warnings(action="ignore"):  # of originals that are passed on
        image = decode_image(answer)
    if image.size != view.size:
        return [f"{where}: {image.size}"]
    seen = measured(image, view.region)
    if not seen:
        return [f"{where}: shows no patch"]
    numbers = list(seen)
    off = delta_e(np.array([seen[number] for number in numbers]), kind.lab[numbers])
    near = (LOSSLESS_NEAR if view.format == "png" else JPEG_NEAR) + kind.near
    if off.max() <= near:
        return []
    worst = numbers[int(off.argmax())]
    labs = [np.round(lab, 1).tolist() for lab in (seen[worst], kind.lab[worst])]
    count = int((off > near).sum())
    return [f"{where} by {engine}: {count} patches, {worst}: {off.max():.1f}, {labs}"]
