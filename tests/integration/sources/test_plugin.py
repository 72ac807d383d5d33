"""A source in another package, found by its entry point."""

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from iiif_server.server import readiness
from support.apps import picture, running_process
from support.servers import ADMIN_TOKEN

MODULE = '''
"""Originals that are drawn on demand: the name `64x48` is an image of that size."""

from contextlib import asynccontextmanager

from PIL import Image
from pydantic import Field

from iiif_server.errors import OriginalNotFoundError
from iiif_server.sources.base import Source, TypeOptions


class DrawnOptions(TypeOptions):
    colour: str = Field(pattern="^[a-z]+$")


class DrawnSource(Source[DrawnOptions]):
    options_model = DrawnOptions

    @asynccontextmanager
    async def hold(self, name):
        width, cross, height = name.partition("x")
        if not (width.isdecimal() and cross and height.isdecimal()):
            raise OriginalNotFoundError("A name here is like 640x480.")
        # `surroundings` is the old name of `context`: it works for one release.
        path = self.surroundings.folder / f"{name}.png"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (int(width), int(height)), self.options.colour).save(path)
        yield path

    def problems(self):
        return [] if self.options.colour != "beige" else ["beige is out of fashion: choose another"]
'''


def installed(root: Path) -> str:
    """A folder for PYTHONPATH that holds the package as an installer would have left it."""
    folder = root / "site"
    information = folder / "drawn_originals-1.0.dist-info"
    information.mkdir(parents=True)
    (folder / "drawn_originals.py").write_text(MODULE)
    (information / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: drawn-originals\nVersion: 1.0\n"
    )
    (information / "entry_points.txt").write_text(
        "[iiif_server.sources]\ndrawn = drawn_originals:DrawnSource\n"
        "broken = drawn_originals:Missing\nno_source = drawn_originals:DrawnOptions\n"
    )
    return str(folder)


def configuration(root: Path, options: str) -> str:
    """A settings file with one type, `art`, and one of our own beside it."""
    path = root / "settings.toml"
    path.write_text(
        f'source_path = "{root}/source"\ncache_path = "{root}/cache"\n'
        'image_pool_size = 1\nsize_pool_size = 1\ntypes.disk.source = "disk"\n'
        f'admin.token = "{ADMIN_TOKEN}"\n'
        f"[types.art]\n{options}"
    )
    return str(path)


def test_images_of_a_plug_in_are_served(tmp_path: Path) -> None:
    config = configuration(tmp_path, 'source = "drawn"\ncolour = "teal"\nrights = "urn:free"\n')
    (tmp_path / "source" / "disk").mkdir(parents=True)
    (tmp_path / "source" / "disk" / "pic.jpg").write_bytes(picture())
    with running_process(
        "--config", config, environment={"PYTHONPATH": installed(tmp_path)}
    ) as process:
        information = httpx.get(f"{process.base}/art:64x48/info.json").json()
        assert (information["width"], information["height"]) == (64, 48)
        assert information["rights"] == "urn:free"
        image = httpx.get(f"{process.base}/art:64x48/full/32,/90/default.png")
        assert image.headers["content-type"] == "image/png"
        missing = httpx.get(f"{process.base}/art:banana/info.json")
        assert (missing.status_code, missing.json()) == (
            404,
            {"error": "A name here is like 640x480."},
        )
        assert httpx.get(f"{process.base}/disk:pic.jpg/info.json").status_code == 200
        assert process.status()["types"]["art"] == "drawn"


def test_the_plug_in_of_the_documentation_works_as_it_is_printed(tmp_path: Path) -> None:
    """Copied letter by letter, with originals in a folder that no setting names."""
    page = (Path(__file__).parents[3] / "docs" / "plugins.md").read_text()
    code, entry_points, settings = re.findall(r"```(?:python|toml)\n(.*?)```", page, re.DOTALL)[:3]
    catalogue, elsewhere = tmp_path / "plates.csv", tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "plate 1.jpg").write_bytes(picture())
    catalogue.write_text(f"1,{elsewhere}/plate 1.jpg\n2,{elsewhere}/none.jpg\n")
    folder = tmp_path / "site"
    information = folder / "my_package-1.0.dist-info"
    information.mkdir(parents=True)
    (folder / "my_package.py").write_text(code)
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: my-package\nVersion: 1\n")
    group = entry_points.replace('[project.entry-points."iiif_server.sources"]', "")
    (information / "entry_points.txt").write_text("[iiif_server.sources]" + group.replace('"', ""))
    config = Path(configuration(tmp_path, ""))
    config.write_text(
        config.read_text().replace("[types.art]\n", "")
        + settings.replace("/srv/plates.csv", str(catalogue))
    )
    (tmp_path / "source" / "disk").mkdir(parents=True)
    with running_process(
        "--config", str(config), environment={"PYTHONPATH": str(folder)}
    ) as process:
        image = httpx.get(f"{process.base}/plates:1/full/32,/90/default.png")
        assert (image.status_code, image.headers["content-type"]) == (200, "image/png")
        assert httpx.get(f"{process.base}/plates:1/full/max/0/default.jpg").content == picture()
        for missing in ("plates:2", "plates:3"):
            assert httpx.get(f"{process.base}/{missing}/info.json").status_code == 404
        assert httpx.get(f"{process.base}/health/ready").status_code == 200
        assert checked(config, folder).returncode == 0
        catalogue.unlink()
        for name in ("plates:1", "plates:3"):
            gone = httpx.get(f"{process.base}/{name}/info.json")
            assert (gone.status_code, gone.json()["error"]) == (
                502,
                "The catalogue cannot be read.",
            )
        time.sleep(readiness.RESULT_TTL)
        assert httpx.get(f"{process.base}/health/ready").status_code == 503
    check = checked(config, folder)
    assert check.returncode == 1
    said = f"FAIL  type plates: the catalogue {catalogue} cannot be read: No such file or directory"
    assert said in check.stdout


def checked(config: Path, packages: Path) -> "subprocess.CompletedProcess[str]":
    """What `iiif-server check` finds with packages in a folder."""
    return subprocess.run(
        [sys.executable, "-m", "iiif_server", "check", "--config", str(config)],
        env={**os.environ, "PYTHONPATH": str(packages)},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ('source = "drawn"\ncolour = "beige"', "type art: beige is out of fashion"),
        ('source = "drawn"\ncolour = "#fff"', 'must be text that matches ^[a-z]+$; found "#fff"'),
        ('source = "drawn"', "types.art.colour: must be set: text that matches ^[a-z]+$"),
        ('source = "drawn"\ncolor = "red"', "no such setting; did you mean colour?"),
        ('source = "drown"', "did you mean drawn?"),
        ('source = "broken"', "the source 'broken' cannot be loaded"),
        ('source = "no_source"', "the source 'no_source' is not a subclass of Source"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_plug_in_is_said_by_check(
    tmp_path: Path, options: str, words: str
) -> None:
    (tmp_path / "source" / "disk").mkdir(parents=True)
    done = checked(Path(configuration(tmp_path, options)), Path(installed(tmp_path)))
    assert done.returncode == 1
    assert words in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
