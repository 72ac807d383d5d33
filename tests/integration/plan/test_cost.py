"""What a job is said to take, and what a process really takes."""

from pathlib import Path

import pytest
from PIL import Image

from iiif_server.codecs.jobs import build_part, render
from iiif_server.codecs.probe import probe
from iiif_server.iiif.geometry import square
from iiif_server.plan.build_plan import BuildPlan
from iiif_server.plan.cost import Cost, cost_of_build, cost_of_render
from iiif_server.plan.grid import Grid, Part
from iiif_server.plan.local_file import LocalFile
from iiif_server.plan.render_plan import tile_profile
from support import pictures
from support.growth import measure_growth
from support.rendering import plan_request

SIZE = (3200, 2400)
"""Large enough for the pixels to weigh more than what every job takes."""
ALWAYS = 48_000_000
"""What an estimate may be too high by, whatever it is about."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("originals")
    small = Image.fromarray(pictures.photograph(800, 600))
    image = small.resize(SIZE, Image.Resampling.BILINEAR)
    image.save(folder / "plain.jpg", quality=88, subsampling=2)
    image.save(folder / "progressive.jpg", quality=88, subsampling=0, progressive=True)
    image.save(folder / "plain.png", compress_level=1)
    return folder


def check(estimated: Cost, taken: int) -> None:
    assert taken < estimated.bytes < 3 * taken + ALWAYS


@pytest.mark.parametrize(
    ("name", "request_"),
    [
        ("plain.jpg", "full/max/90/default.jpg"),
        ("plain.jpg", "full/pct:50/0/default.jpg"),
        ("plain.jpg", "full/max/0/default.webp"),
        ("plain.jpg", "full/max/33/default.png"),
        ("progressive.jpg", "full/200,/0/default.jpg"),
        ("plain.png", "full/max/90/default.jpg"),
        ("plain.png", "full/max/0/default.gif"),
    ],
)
def test_a_derivative_takes_less_than_estimated_and_not_much_less(
    folder: Path, name: str, request_: str
) -> None:
    plan = plan_request(folder / name, request_, target=folder / "made")
    check(cost_of_render(plan), measure_growth(render, plan))


@pytest.mark.parametrize("lossless", [pytest.param(True, marks=pytest.mark.needs_lossless), False])
@pytest.mark.parametrize("part", list(Part))
@pytest.mark.parametrize("name", ["plain.jpg", "progressive.jpg"])
def test_a_build_takes_less_than_estimated_and_not_much_less(
    folder: Path, name: str, part: Part, *, lossless: bool
) -> None:
    path = folder / name
    header = probe(path, 10**9)
    plan = BuildPlan(
        original=LocalFile.at(path),
        header=header,
        part=part,
        grid=Grid(header.dimensions, square(512)),
        profile=tile_profile(header),
        lossless=lossless,
        reduced_quality=80,
        full_quality=85,
        target=folder / "part",
    )
    plan.target.touch()
    check(cost_of_build(plan), measure_growth(build_part, plan))
