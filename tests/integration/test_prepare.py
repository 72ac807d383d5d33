"""`iiif-server prepare`: pyramids ahead of time."""

import asyncio
import os
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from PIL import Image

from iiif_server.cli import main
from iiif_server.commands.common import ProgressLines
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
    for name in ("notes.txt", "a.jpg.md5", "below/b.xml", "Thumbs.db", "README"):
        (folder / name).write_text("no image")
    (folder / "broken.tif").write_text("called an image")
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
    counted = "2 made, 0 there already, 1 too small to need one, 1 failed, 5 no images."
    assert counted in result.output
    assert "disk:broken.tif: The original is not an image" in result.output
    assert "Listing the originals of disk" in result.output
    assert ".hidden" not in result.output
    assert result.exit_code == 1


def test_a_folder_without_settings(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As `serve FOLDER` serves it: the type is named after the folder, the cache is the user's."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "caches"))
    monkeypatch.delenv("CACHE_DIRECTORY", raising=False)
    folder = str(config.parent / "source" / "disk")
    named = CliRunner().invoke(main, ["prepare", "--folder", folder, "a.jpg"])
    assert "0 made, 0 there already, 1 too small to need one, 0 failed" in named.output
    assert (tmp_path / "caches" / "iiif-server").is_dir()
    unknown = CliRunner().invoke(main, ["prepare", "--folder", folder, "--type", "Disk"])
    assert "There is no type 'Disk' in the settings: they have disk." in unknown.output
    missing = CliRunner().invoke(main, ["prepare", "--folder", f"{folder}/none", "a.jpg"])
    assert f"There is no folder {folder}/none." in missing.output
    assert (named.exit_code, unknown.exit_code, missing.exit_code) == (0, 1, 1)


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
        (("--type", "nothing"), "There is no type 'nothing' in the settings"),
        (("a.jpg",), "has no type"),
        (("disk:a.jpg", "disk:50%.jpg"), 'About "disk:50%.jpg": The URL contains a %'),
        (("disk:gone.jpg",), "disk:gone.jpg: There is no image"),
    ],
)
def test_what_cannot_be_prepared_is_said(
    config: Path, arguments: tuple[str, ...], said: str
) -> None:
    result = prepare(config, *arguments)
    assert said in result.output
    assert result.exit_code != 0


def test_a_list_that_is_no_text_is_said(config: Path, tmp_path: Path) -> None:
    (tmp_path / "listed").write_bytes(b"\xff\xfe")
    result = prepare(config, "--identifiers", str(tmp_path / "listed"))
    assert "not text in UTF-8" in result.output
    assert result.exit_code == 2


def test_files_that_are_no_images_are_no_failures(config: Path) -> None:
    result = prepare(config, "disk:notes.txt", "disk:a.jpg")
    assert (
        "1 made, 0 there already, 0 too small to need one, 0 failed, 1 no images." in result.output
    )
    assert result.exit_code == 0


def test_shards_are_parts_of_all(config: Path) -> None:
    made = [
        int(
            prepare(config, "--type", "disk", "--shard", f"{n}/3")
            .output.split(" made")[0]
            .split()[-1]
        )
        for n in (1, 2, 3)
    ]
    assert sum(made) == 2
    assert "0 made, 2 there already" in prepare(config, "--type", "disk").output


@pytest.mark.parametrize("shard", ["0/2", "3/2", "2", "1/0", "a/b", "1/2/3"])
def test_shards_that_cannot_be_are_refused(config: Path, shard: str) -> None:
    result = prepare(config, "--type", "disk", "--shard", shard)
    assert result.exit_code == 2
    assert "the second of four parts" in result.output


def test_small_originals_are_read_once_until_they_change(config: Path, tmp_path: Path) -> None:
    """A repeated run asks no worker for them: even one that would fail is not read."""
    small = tmp_path / "source" / "disk" / "small.jpg"
    assert "1 too small" in prepare(config, "disk:small.jpg").output
    status = small.stat()
    small.write_bytes(bytes(status.st_size))
    os.utime(small, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert "1 too small" in prepare(config, "disk:small.jpg").output
    os.utime(small)
    assert "1 failed" in prepare(config, "disk:small.jpg").output
    config.write_text(config.read_text().replace("100000", "1000"))
    os.utime(small, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert "1 failed" in prepare(config, "disk:small.jpg").output


def test_a_cache_of_what_is_small_that_cannot_be_used_is_done_without(
    config: Path, tmp_path: Path
) -> None:
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "prepared.sqlite").write_text("no database" * 100)
    assert "1 too small" in prepare(config, "disk:small.jpg").output


def test_progress_is_told_in_lines_with_rate_and_remaining_time() -> None:
    now, lines = [0.0], list[str]()
    progress = ProgressLines("Preparing", 1000, lines.append, lambda: now[0])
    for _ in range(1000):
        now[0] += 0.1
        progress.advance()
    assert lines[0] == "Preparing: 30 of 1,000 (3 %), 10.0 per second, 0:01:37 left"
    assert 5 < len(lines) < 40


def test_all_pages_are_prepared_if_they_are_meant(config: Path, tmp_path: Path) -> None:
    page, small = (Image.linear_gradient("L").resize(size) for size in (LARGE, SMALL))
    folder = tmp_path / "source" / "disk"
    small.save(folder / "pages.tif", save_all=True, append_images=[page, small, page])
    first = prepare(config, "disk:pages.tif")
    assert "1 too small" in first.output
    assert "3 further pages were left out: --pages includes them." in first.output
    second = prepare(config, "--pages", "disk:pages.tif")
    assert "2 made, 0 there already, 2 too small" in second.output
    again = prepare(config, "--pages", "--type", "disk")
    assert "2 made, 2 there already, 3 too small" in again.output
    assert "left out" not in again.output
    one = prepare(config, "disk:pages.tif;4")
    assert "1 there already" in one.output
    assert "left out" not in one.output
    beyond = prepare(config, "disk:pages.tif;5")
    assert beyond.exit_code == 1
    assert "failed  disk:pages.tif;5: " in beyond.output


def test_pages_of_what_a_lookup_finds_are_prepared(config: Path, tmp_path: Path) -> None:
    page = Image.linear_gradient("L").resize(LARGE)
    path = tmp_path / "source" / "disk" / "pages.tif"
    page.save(path, save_all=True, append_images=[page])
    (tmp_path / "table.csv").write_text("id,path\nbook,pages.tif\n")
    lookup = f'[types.books]\nsource = "lookup"\ntypes = ["disk"]\ntable = "{tmp_path}/table.csv"\n'
    config.write_text(config.read_text() + lookup)
    assert "1 made" in prepare(config, "books:book").output
    assert "1 made, 1 there already" in prepare(config, "--pages", "--type", "books").output
    assert "1 there already" in prepare(config, "books:book;2").output
