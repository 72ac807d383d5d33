"""`iiif-server export`: images as files, for any web server."""

import asyncio
import fcntl
import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from click.testing import CliRunner, Result
from PIL import Image

from iiif_server.cli import main
from iiif_server.codecs.probe import probe
from iiif_server.commands import export as exporting
from iiif_server.commands.export import files as export_files
from iiif_server.errors import ConfigurationError
from iiif_server.iiif.geometry import Limits, square
from iiif_server.iiif.identifier import Identifier, parse_identifier
from iiif_server.iiif.information import Service
from iiif_server.iiif.static import StaticImage, folder_of
from iiif_server.iiif.versions import V3
from iiif_server.settings import load_settings
from support.apps import picture, running_app
from support.disks import small_disk
from support.pages import write_bundle
from support.presentation import parse_with_prezi

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
    parse_with_prezi(manifest)
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
    parse_with_prezi(manifest)
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
    assert "0 failed, 1 no images." in result.output
    assert result.exit_code == 0
    listed = config.parent / "list"
    listed.write_text("disk:small.jpg\n\ndisk:small.jpg\n")
    result = export(config, target, "--identifiers", str(listed))
    assert "1 image: 0 files written (0 bytes), 1 there already; 0 failed." in result.output


def test_signed_types_are_not_opened_to_everyone_by_accident(config: Path, target: Path) -> None:
    result = export(config, target, "closed:c.jpg")
    assert result.exit_code == 1
    assert "add --include-signed to export it nevertheless" in result.output
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
        (("disk:a.jpg", "disk:50%.jpg"), 'About "disk:50%.jpg": The URL contains a %'),
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
    def test_it_shows_the_files_beside_it(
        self, config: Path, target: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(exporting, "BUNDLE", write_bundle(tmp_path / "bundle"))
        assert export(config, target, "disk:a.jpg").exit_code == 0
        page = (target / "disk/a.jpg/index.html").read_text()
        assert '<script src="../../openseadragon.min.js">' in page
        assert (target / "openseadragon.min.js").exists()
        assert "<title>a.jpg</title>" in page

    def test_without_the_script_all_else_is_exported(
        self, config: Path, target: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(exporting, "BUNDLE", tmp_path / "no bundle")
        result = export(config, target, "disk:small.jpg")
        assert "No viewer beside the images: " in result.output
        assert "make assets" in result.output
        assert (target / "disk/small.jpg/info.json").exists()
        assert not (target / "disk/small.jpg/index.html").exists()


class TestShards:
    def test_shards_are_parts_of_all(self, config: Path, target: Path, tmp_path: Path) -> None:
        for number in (1, 2, 3):
            assert export(config, target, "--type", "disk", "--shard", f"{number}/3").exit_code == 0
        whole = tmp_path / "whole"
        assert export(config, whole, "--type", "disk").exit_code == 0
        assert tree(target) == tree(whole)

    @pytest.mark.parametrize(
        ("held", "shard", "runs"),
        [
            ((1, 1), "1/2", False),
            ((1, 2), "1/1", False),
            ((1, 2), "1/2", False),
            ((1, 2), "2/2", True),
        ],
    )
    def test_only_other_shards_write_to_the_folder_at_the_same_time(
        self, config: Path, target: Path, held: tuple[int, int], shard: str, *, runs: bool
    ) -> None:
        target.mkdir()
        with export_files.locked(target, held):
            result = export(config, target, "--type", "disk", "--shard", shard)
        assert (result.exit_code == 0) is runs
        assert ("Another run is writing" in result.output) is not runs


def tree(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_pages_are_images_of_their_own(config: Path, target: Path, tmp_path: Path) -> None:
    page = Image.linear_gradient("L").resize((300, 200))
    path = tmp_path / "source" / "disk" / "pages.tif"
    page.save(path, save_all=True, append_images=[page, page])
    first = export(config, target, "disk:pages.tif")
    assert "1 image: " in first.output
    assert "2 further pages were left out: --pages includes them." in first.output
    second = export(config, target, "--pages", "disk:pages.tif")
    assert "3 images: " in second.output
    for name in ("pages.tif", "pages.tif;2", "pages.tif;3"):
        assert (target / folder_of(Identifier("disk", name)) / "info.json").exists()


def test_a_file_that_is_in_the_way_of_one_image_does_not_stop_the_others(
    config: Path, target: Path
) -> None:
    (target / "disk").mkdir(parents=True)
    (target / "disk" / "a.jpg").write_text("in the way")
    result = export(config, target, "disk:a.jpg", "disk:small.jpg")
    assert f"failed  disk:a.jpg: {target}/disk/a.jpg cannot be written: " in result.output
    assert "1 image: " in result.output
    assert result.exit_code == 1


def test_a_folder_that_cannot_be_made_is_an_error(config: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    result = export(config, tmp_path / "file" / "out", "disk:a.jpg", "disk:small.jpg")
    assert f"{tmp_path}/file/out cannot be written: Not a directory" in result.output
    assert isinstance(result.exception, SystemExit)


def test_a_disk_that_is_full_ends_the_run(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exporting, "check_space", lambda *_: None)  # somebody fills it later
    with small_disk(tmp_path / "small", 2) as disk:
        monkeypatch.setattr(exporting, "BUNDLE", tmp_path / "no bundle")
        disk.fill(leave=1 << 14)
        result = export(config, disk.folder, "disk:a.jpg", "disk:small.jpg")
    assert result.exit_code == 1
    assert "cannot be written: No space left on device" in result.output
    assert "No further image can be processed." in result.output


def test_a_folder_that_a_worker_does_not_have_ends_the_run(
    config: Path, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a Dask worker of another machine, which is not this command's."""

    def elsewhere(task: Any, **changes: Any) -> Any:
        if "work" in changes:
            changes["options"] = replace(changes["options"], folder=target / "elsewhere")
        return replace(task, **changes)

    monkeypatch.setattr("iiif_server.commands.export.replace", elsewhere)
    result = export(config, target, "disk:a.jpg", "disk:small.jpg")
    assert "elsewhere cannot be written: it is missing here, and all machines" in result.output
    assert "No further image can be processed." in result.output
    assert not (target / "elsewhere").exists()
