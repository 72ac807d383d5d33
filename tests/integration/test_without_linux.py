"""The server runs without what only Linux has: a static proof for macOS, which cannot run here."""

import os
import subprocess
import sys
from io import BytesIO
from pathlib import Path

import httpx
import pytest
from PIL import Image

from support import pictures
from support.servers import ADMIN_TOKEN, TRUST, running_server

WITHOUT = str(Path(__file__).parents[1] / "support/without_linux")
EVERYTHING = """
import importlib, os, pkgutil, socket, sys
assert sys.platform != "linux"
assert not hasattr(os, "preadv")
from unittest.mock import MagicMock
sys.modules["psutil"] = MagicMock()  # of Dask; on macOS, its wheel has other libraries
import iiif_server
names = [module.name for module in pkgutil.walk_packages(iiif_server.__path__, "iiif_server.")]
for name in names:
    if not name.endswith("__main__"):
        importlib.import_module(name)
print(len(names))
"""


def test_every_module_can_be_imported() -> None:
    done = subprocess.run(
        [sys.executable, "-c", EVERYTHING],
        env=os.environ | {"PYTHONPATH": WITHOUT},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 100


@pytest.mark.parametrize("processes", [1, 2])
def test_workers_start_and_tiles_are_made_and_kept(tmp_path: Path, processes: int) -> None:
    settings = f"admin.token = '{ADMIN_TOKEN}'\npyramids.min_pixels = 1000000\n"
    arguments = ["--workers", str(processes)]
    environment = {"PYTHONPATH": WITHOUT}
    with running_server(tmp_path, settings, environment, arguments=arguments) as server:
        picture = pictures.jpeg(pictures.photograph(1600, 1200))
        (server.source / "a.jpg").write_bytes(picture)
        with httpx.Client(trust_env=False, verify=TRUST, timeout=120) as client:
            base = f"{server.url}/pictures:a.jpg"
            for name in ["full/max", "full/200,", "0,0,512,512/512,", "512,512,512,512/256,"] * 2:
                response = client.get(f"{base}/{name}/0/default.jpg")
                assert response.status_code == 200, response.text
                with Image.open(BytesIO(response.content)) as derivative:
                    derivative.load()
            header = {"Authorization": f"Bearer {ADMIN_TOKEN}"}
            status = client.get(f"{server.url}/admin/status", headers=header)
            assert status.status_code == 200, status.text
    log = server.log.read_text()
    assert "Traceback" not in log, log
    assert "Error" not in log, log


def test_check_finds_no_fault(tmp_path: Path) -> None:
    (tmp_path / "source/scans").mkdir(parents=True)
    config = tmp_path / "settings.toml"
    config.write_text(
        f'source_path = "{tmp_path}/source"\ncache_path = "{tmp_path}/cache"\n'
        '[types.scans]\nsource = "disk"\n'
    )
    done = subprocess.run(
        [sys.executable, "-m", "iiif_server", "check", "--config", str(config)],
        env=os.environ | {"PYTHONPATH": WITHOUT},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert "Traceback" not in done.stderr, done.stderr
    assert done.returncode == 0, done.stdout + done.stderr
