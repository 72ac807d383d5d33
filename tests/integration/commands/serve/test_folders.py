"""`iiif-server serve FOLDER...`: folders without a settings file."""

import os
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from support.apps import picture
from support.privileges import unprivileged
from support.servers import TRUST, free_port, server_environment, started_process

SERVE = (sys.executable, "-m", "iiif_server", "serve")


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    one, two = tmp_path / "Bilder 2024", tmp_path / "home" / "scans"
    for folder in (one, two):
        (folder / "in").mkdir(parents=True)
        (folder / "1.jpg").write_bytes(picture())
        (folder / "in/2.jpg").write_bytes(picture())
    return one, two


def contents(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


@pytest.mark.parametrize("arguments", [(), ("--workers", "2")], ids=["one process", "two"])
def test_folders_are_served_as_they_are(
    tmp_path: Path, folders: tuple[Path, Path], arguments: tuple[str, ...]
) -> None:
    one, two = folders
    port, log = free_port(), tmp_path / "log"
    before = contents(one), contents(two)
    environment = {
        "HOME": str(tmp_path / "home"),
        "XDG_CACHE_HOME": str(tmp_path / "caches"),
        "IIIF_IMAGE_POOL_SIZE": "2",
    }
    command = [*SERVE, ".", "~/scans", "--port", str(port), *arguments]
    with (
        started_process(command, port, log, environment, folder=one),
        httpx.Client(base_url=f"http://127.0.0.1:{port}", verify=TRUST, timeout=60) as client,
    ):
        for path in ("1.jpg", "in%2F2.jpg", "bilder-2024:1.jpg", "scans:in/2.jpg"):
            assert client.get(f"/{path}/info.json").status_code == 200, path
            assert client.get(f"/{path}/full/50,/0/default.jpg").status_code == 200, path
        front = client.get("/").text
        assert ">Bilder 2024</a>" in front
        assert ">scans</a>" in front
        assert "<h1>Bilder 2024</h1>" in client.get("/?folder=bilder-2024").text
        assert ">Bilder 2024</a>" in client.get("/1.jpg/view").text
        labels = [item["label"]["none"] for item in client.get("/collection.json").json()["items"]]
        assert labels == [["Bilder 2024"], ["scans"]]
        assert client.get("/bilder-2024/collection.json").json()["label"]["none"] == ["Bilder 2024"]
    (cache,) = (tmp_path / "caches/iiif-server").iterdir()
    assert f"{cache}   the cache" in log.read_text()
    assert f"/?folder=scans   {two}" in log.read_text()
    assert (contents(one), contents(two)) == before


def test_folders_beside_those_of_a_settings_file(
    tmp_path: Path, folders: tuple[Path, Path]
) -> None:
    port = free_port()
    (tmp_path / "s.toml").write_text(
        f'image_pool_size = 2\n[types.scans]\nsource = "disk"\npath = "{folders[1]}"\n'
    )
    command = [*SERVE, str(folders[0]), str(folders[1]), "--config", str(tmp_path / "s.toml")]
    with started_process([*command, f"--port={port}"], port, tmp_path / "log"):
        for name in ("1.jpg", "bilder-2024:1.jpg", "scans:1.jpg", "scans-2:1.jpg"):
            url = f"http://127.0.0.1:{port}/{name}/info.json"
            assert httpx.get(url, verify=TRUST).status_code == 200, name
    assert (tmp_path / "data/cache").is_dir()


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("/", "/ is no folder of images: name the folder that they are in"),
        ("", "An empty name is no folder of images"),
        ("Bilder 2024/1.jpg", 'in, as in: iiif-server serve "{tmp}/Bilder 2024"'),
        ("nothing", "There is no folder {tmp}/nothing."),
        ("~nobody-here/x", "There is no folder {tmp}/~nobody-here/x."),
        ("closed", "cannot read the folder {tmp}/closed: change its permissions."),
    ],
)  # fmt: skip
def test_what_cannot_be_served_is_told(
    tmp_path: Path, folders: tuple[Path, Path], written: str, said: str
) -> None:
    (tmp_path / "closed").mkdir(mode=0)
    done = subprocess.run(
        [*unprivileged(), *SERVE, str(folders[1]), written],
        cwd=tmp_path,
        env={**server_environment(), "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 1
    assert said.format(tmp=tmp_path) in done.stderr
    assert "Traceback" not in done.stderr


def test_a_cache_inside_a_folder_that_is_served_must_be_hidden(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    command = [*SERVE, str(home), "--port", str(free_port())]
    visible = {**server_environment(), "XDG_CACHE_HOME": str(home / "cache")}
    done = subprocess.run(
        command, env=visible, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 1
    assert "must not contain each other" in done.stderr


def test_a_folder_of_a_name_that_is_no_text(tmp_path: Path) -> None:
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff"))
    folder.mkdir()
    (folder / "1.jpg").write_bytes(picture())
    port = free_port()
    environment = {"XDG_CACHE_HOME": str(tmp_path / "caches"), "IIIF_IMAGE_POOL_SIZE": "2"}
    with started_process(
        [*SERVE, str(folder), f"--port={port}"], port, tmp_path / "log", environment
    ):
        url = f"http://127.0.0.1:{port}/folder:1.jpg/info.json"
        assert httpx.get(url, verify=TRUST).status_code == 200
