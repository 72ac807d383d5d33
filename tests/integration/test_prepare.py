"""`iiif-server prepare`: pyramids ahead of time."""

import asyncio
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from PIL import Image

from iiif_server.cli import main
from iiif_server.settings import load_settings
from support.apps import running_app
from support.servers import ADMIN_TOKEN

LARGE = (700, 500)
SMALL = (100, 80)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """Settings with two large originals on disk, a small one, and one that is no image."""
    folder = tmp_path / "source" / "disk"
    (folder / "below").mkdir(parents=True)
    for name, size in (("a.jpg", LARGE), ("below/b.png", LARGE), ("small.jpg", SMALL)):
        Image.linear_gradient("L").resize(size).convert("RGB").save(folder / name)
    (folder / "notes.txt").write_text("no image")
    (folder / ".hidden").write_text("not listed")
    path = tmp_path / "settings.toml"
    path.write_text(
        f'source_path = "{tmp_path}/source"\ncache_path = "{tmp_path}/cache"\n'
        f'admin.token = "{ADMIN_TOKEN}"\n'
        'image_pool_size = 1\nsize_pool_size = 1\n[types.disk]\nsource = "disk"\n'
        '[types.away]\nsource = "web"\nurl = "http://192.0.2.1/{name}"\n'
        "[pyramids]\nmin_pixels = 100000\ntile_size = 128\n"
    )
    return path


def prepare(config: Path, *arguments: str, input_: str | None = None) -> Result:
    return CliRunner().invoke(main, ["prepare", "--config", str(config), *arguments], input=input_)


def test_all_of_a_type_are_prepared_and_what_fails_is_named(config: Path) -> None:
    result = prepare(config, "--type", "disk")
    assert "2 made, 0 there already, 1 too small to need one, 1 failed." in result.output
    assert "disk:notes.txt: The original is not an image" in result.output
    assert ".hidden" not in result.output
    assert result.exit_code == 1


def test_what_is_there_is_left_alone(config: Path, tmp_path: Path) -> None:
    assert prepare(config, "disk:a.jpg").exit_code == 0
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.szi")}
    assert len(before) == 2
    result = prepare(config, "disk:a.jpg", "disk:below/b.png")
    assert "1 made, 1 there already" in result.output
    assert before.items() <= {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*.szi")}.items()


def test_identifiers_come_from_a_file_or_standard_input(config: Path, tmp_path: Path) -> None:
    listed = tmp_path / "list"
    listed.write_text("disk:a.jpg\n\n")
    assert "1 made" in prepare(config, "--identifiers", str(listed)).output
    assert "1 there already" in prepare(config, "--identifiers", "-", input_="disk:a.jpg\n").output


async def test_a_prepared_image_is_served_without_making_anything(config: Path) -> None:
    await asyncio.to_thread(prepare, config, "disk:a.jpg")
    async with running_app(load_settings(config)) as server:
        assert (await server.get("/disk:a.jpg/0,0,128,128/128,128/0/default.jpg")).is_success
        status = await server.status()
    assert status["pools"]["image"]["done"] == 0
    assert status["made_by"] == {"tile": 1}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "Give identifiers"),
        (("--type", "disk", "disk:a.jpg"), "Give identifiers"),
        (("--type", "away"), "cannot be listed"),
        (("--type", "nothing"), "This server has no type"),
        (("a.jpg",), "has no type"),
        (("disk:a.jpg", "disk:50%.jpg"), 'About "disk:50%.jpg": The URL holds a %'),
        (("disk:gone.jpg",), "disk:gone.jpg: There is no image"),
    ],
)
def test_what_cannot_be_prepared_is_said(
    config: Path, arguments: tuple[str, ...], said: str
) -> None:
    result = prepare(config, *arguments)
    assert said in result.output
    assert result.exit_code != 0
