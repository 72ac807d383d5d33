"""`iiif-server export`: images as files, for any web server."""

import asyncio
import fcntl
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import pytest
from click.testing import CliRunner, Result

from iiif_server.cli import main
from iiif_server.codecs.probe import probe
from iiif_server.commands import export as exporting
from iiif_server.commands.export import files as export_files
from iiif_server.errors import ConfigurationError
from iiif_server.iiif.geometry import Limits, square
from iiif_server.iiif.identifier import parse_identifier
from iiif_server.iiif.information import Service
from iiif_server.iiif.static import StaticImage, folder_of
from iiif_server.iiif.versions import V3
from iiif_server.settings import load_settings
from support.apps import picture, running_app
from support.pages import bundle
from support.presentation import read_by_prezi

BASE = "https://static.example.org/iiif"
KEY = "a-key-of-these-tests-with-enough-letters"


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """Settings with two images that have pyramids, a small one, and one that is no image."""
    folder = tmp_path / "source" / "disk"
    (folder / "below").mkdir(parents=True)
    (folder / "a.jpg").write_bytes(picture(700, 500))
    (folder / "below" / "b 1.png").write_bytes(picture(650, 301, "PNG"))
    (folder / "small.jpg").write_bytes(picture(100, 80))
    (folder / "notes.txt").write_text("no image")
    (tmp_path / "source" / "closed").mkdir()
    (tmp_path / "source" / "closed" / "c.jpg").write_bytes(picture(100, 80))
    path = tmp_path / "settings.toml"
    path.write_text(
        f'source_path = "{tmp_path}/source"\ncache_path = "{tmp_path}/cache"\n'
        f'image_pool_size = 1\nsize_pool_size = 1\nsigning.keys = ["{KEY}"]\n'
        '[types.disk]\nsource = "disk"\nrights = "https://example.org/rights"\n'
        '[types.closed]\nsource = "disk"\naccess = "signed"\n'
        '[types.away]\nsource = "web"\nurl = "http://192.0.2.1/{name}"\n'
        "[pyramids]\nmin_pixels = 100000\ntile_size = 128\n"
    )
    return path


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "out"


def export(config: Path, target: Path, *arguments: str) -> Result:
    common = ["export", "--config", str(config), "--to", str(target), "--base-url", BASE]
    return CliRunner().invoke(main, [*common, *arguments])


def files(folder: Path) -> dict[str, Path]:
    """The images that were written, by their path below the folder of their image."""
    return {path.relative_to(folder).as_posix(): path for path in folder.rglob("default.jpg")}


@pytest.mark.parametrize(("version", "prefix"), [("3.0", "/iiif/3"), ("2.1", "/iiif/2")])
async def test_every_file_is_what_the_server_answers_byte_for_byte(
    config: Path, target: Path, version: str, prefix: str
) -> None:
    names = ["disk:a.jpg", "disk:below%2Fb%201.png", "disk:small.jpg"]
    result = await asyncio.to_thread(export, config, target, "--version", version, *names)
    assert result.exit_code == 0, result.output
    compared = 0
    async with running_app(load_settings(config)) as server:
        for name in names:
            folder = target / folder_of(parse_identifier(name))
            for path, file in files(folder).items():
                answer = await server.get(f"{prefix}/{name}/{quote(path)}")
                assert answer.status_code == 200, path
                assert answer.content == file.read_bytes(), path
                compared += 1
    assert compared == len(files(target)) > 60


def test_documents_name_the_address_at_which_they_will_be(config: Path, target: Path) -> None:
    assert export(config, target, "disk:a.jpg").exit_code == 0
    folder = target / "disk" / "a.jpg"
    information = json.loads((folder / "info.json").read_text())
    assert information["id"] == f"{BASE}/disk/a.jpg"
    assert (information["profile"], information["width"]) == ("level0", 700)
    manifest = json.loads((folder / "manifest.json").read_text())
    read_by_prezi(manifest)
    assert manifest["id"] == f"{BASE}/disk/a.jpg/manifest.json"
    body = manifest["items"][0]["items"][0]["items"][0]["body"]
    assert body["service"] == [
        {"id": f"{BASE}/disk/a.jpg", "type": "ImageService3", "profile": "level0"}
    ]
    for image in (body, *manifest["thumbnail"]):
        assert (target / image["id"].removeprefix(f"{BASE}/")).is_file()


def test_manifests_of_the_older_version_name_its_service(config: Path, target: Path) -> None:
    assert export(config, target, "--version", "2.1", "disk:small.jpg").exit_code == 0
    manifest = json.loads((target / "disk/small.jpg/manifest.json").read_text())
    read_by_prezi(manifest)
    body = manifest["items"][0]["items"][0]["items"][0]["body"]
    assert body["service"][0]["@type"] == "ImageService2"
    assert (target / body["id"].removeprefix(f"{BASE}/")).is_file()


def test_what_is_there_and_whole_is_left_alone(config: Path, target: Path) -> None:
    first = export(config, target, "disk:a.jpg")
    folder = target / "disk" / "a.jpg"
    before = {path: path.stat().st_mtime_ns for path in files(folder).values()}
    some, other, third, *_ = sorted(before)
    some.write_bytes(some.read_bytes()[:-10])  # as after a power cut
    other.write_bytes(bytes(other.stat().st_size))
    third.unlink()
    result = export(config, target, "disk:a.jpg")
    assert f"3 files written ({sum(p.stat().st_size for p in (some, other, third)):,} bytes)" in (
        result.output
    )
    assert f"{len(before) - 3} there already" in result.output
    rest = set(before) - {some, other, third}
    assert all(path.stat().st_mtime_ns == before[path] for path in rest)
    assert f"{len(before)} files written" in first.output
    assert not list(target.rglob("*.part"))


def test_what_an_interrupted_run_has_left_is_written_over(config: Path, target: Path) -> None:
    part = target / "disk/small.jpg/full/max/0/.default.jpg.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(b"half of a fi")
    assert export(config, target, "disk:small.jpg").exit_code == 0
    assert [path.name for path in part.parent.iterdir()] == ["default.jpg"]


def test_two_runs_do_not_write_to_one_folder_at_a_time(config: Path, target: Path) -> None:
    target.mkdir()
    opened = os.open(target, os.O_RDONLY)
    try:
        fcntl.flock(opened, fcntl.LOCK_EX)
        result = export(config, target, "disk:small.jpg")
    finally:
        os.close(opened)
    assert result.exit_code == 1
    assert f"Another run is writing to {target}." in result.output
    assert not list(target.iterdir())


def test_a_replaced_original_is_exported_anew_and_nothing_of_the_old_one_stays(
    config: Path, target: Path
) -> None:
    assert export(config, target, "disk:a.jpg").exit_code == 0
    (config.parent / "source/disk/a.jpg").write_bytes(picture(300, 200))
    assert export(config, target, "disk:a.jpg").exit_code == 0
    folder = target / "disk" / "a.jpg"
    assert json.loads((folder / "info.json").read_text())["width"] == 300
    assert len(files(folder)) < 12


def test_a_folder_that_is_not_ours_is_never_emptied(config: Path, target: Path) -> None:
    folder = target / "disk" / "a.jpg"
    folder.mkdir(parents=True)
    (folder / "mine.txt").write_text("not to be removed")
    assert export(config, target, "disk:a.jpg").exit_code == 0
    assert (folder / "mine.txt").exists()


def test_all_of_a_type_or_of_a_list(config: Path, target: Path) -> None:
    result = export(config, target, "--type", "disk")
    assert "3 images" in result.output
    assert "disk:notes.txt: The original is not an image" in result.output
    assert result.exit_code == 1
    listed = config.parent / "list"
    listed.write_text("disk:small.jpg\n\ndisk:small.jpg\n")
    result = export(config, target, "--identifiers", str(listed))
    assert "1 image: 0 files written (0 bytes), 1 there already; 0 failed." in result.output


def test_signed_types_are_not_opened_to_everyone_by_accident(config: Path, target: Path) -> None:
    result = export(config, target, "closed:c.jpg")
    assert result.exit_code == 1
    assert "say --include-signed if that is meant" in result.output
    assert not (target / "closed").exists()
    assert export(config, target, "--include-signed", "closed:c.jpg").exit_code == 0
    assert (target / "closed/c.jpg/info.json").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "Give identifiers"),
        (("--type", "disk", "disk:a.jpg"), "Give identifiers"),
        (("--type", "away"), "cannot be listed"),
        (("nothing:a.jpg",), "This server has no type"),
        (("a.jpg",), "has no type"),
        (("disk:a.jpg", "disk:50%.jpg"), 'About "disk:50%.jpg": The URL holds a %'),
        (("disk:gone.jpg",), "disk:gone.jpg: There is no image"),
        (("--base-url", "static.example.org", "disk:a.jpg"), "--base-url https://"),
    ],
)
def test_what_cannot_be_exported_is_said(
    config: Path, target: Path, arguments: tuple[str, ...], said: str
) -> None:
    result = export(config, target, *arguments)
    assert said in result.output
    assert result.exit_code != 0


def test_without_a_base_url_that_of_the_settings_counts(config: Path, target: Path) -> None:
    config.write_text(f'base_url = "https://images.example.org"\n{config.read_text()}')
    arguments = ["export", "--config", str(config), "--to", str(target), "disk:small.jpg"]
    assert CliRunner().invoke(main, arguments).exit_code == 0
    information = json.loads((target / "disk/small.jpg/info.json").read_text())
    assert information["id"] == "https://images.example.org/disk/small.jpg"


@contextmanager
def silently(_: str, __: int | None) -> Iterator[Callable[[], None]]:
    """Progress that nobody sees."""
    yield lambda: None


class TestSpace:
    def test_too_little_is_found_out_before_anything_is_written(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigurationError, match="export fewer images at a time"):
            export_files.check_space(tmp_path / "out", 10, 10**18)
        status = os.statvfs(tmp_path)
        if status.f_files:
            with pytest.raises(ConfigurationError, match="entries"):
                export_files.check_space(tmp_path / "out", status.f_favail, 0)
        export_files.check_space(tmp_path / "out", 10, 10**6)

    @pytest.mark.parametrize("name", ["a.jpg", "below/b 1.png"])
    def test_files_take_no_more_than_was_estimated_and_not_much_less(
        self, config: Path, target: Path, name: str
    ) -> None:
        assert export(config, target, f"disk:{name.replace(' ', '%20')}").exit_code == 0
        blocks = sum(path.stat().st_blocks * 512 for path in (target / "disk").rglob("*"))
        original = config.parent / "source/disk" / name
        header = probe(original, 10**9)
        service = Service(Limits(max_area=400_000_000), (), 200, square(128))
        image = StaticImage(V3, header.dimensions, service)
        estimated = export_files.estimate(
            image.files(), export_files.density(header, original.stat().st_size)
        )
        assert len(list(image.files())) == len(files(target))
        assert blocks <= estimated <= 10 * blocks


class TestPage:
    async def test_it_shows_the_files_beside_it(
        self, config: Path, target: Path, tmp_path: Path
    ) -> None:
        await exporting.export_images(
            load_settings(config),
            None,
            ["disk:a.jpg"],
            exporting.Target(target, BASE),
            silently,
            bundle=bundle(tmp_path / "bundle"),
        )
        page = (target / "disk/a.jpg/index.html").read_text()
        assert '<script src="../../openseadragon.min.js">' in page
        assert (target / "openseadragon.min.js").exists()
        assert "<title>a.jpg</title>" in page

    async def test_without_the_script_all_else_is_exported(
        self, config: Path, target: Path, tmp_path: Path
    ) -> None:
        summary = await exporting.export_images(
            load_settings(config),
            None,
            ["disk:small.jpg"],
            exporting.Target(target, BASE),
            silently,
            bundle=tmp_path / "no bundle",
        )
        assert "make assets" in summary.without_page
        assert (target / "disk/small.jpg/info.json").exists()
        assert not (target / "disk/small.jpg/index.html").exists()
