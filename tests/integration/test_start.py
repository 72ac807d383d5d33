"""The first steps of a new user: `check`, `serve`, and one tile, by the command line alone."""

import os
import subprocess
import sys
from io import BytesIO
from pathlib import Path

import httpx
from PIL import Image

from support.servers import TRUST, running_server


def test_check_approves_of_a_folder_of_images(tmp_path: Path) -> None:
    (tmp_path / "source/scans").mkdir(parents=True)
    config = tmp_path / "settings.toml"
    config.write_text(
        f'source_path = "{tmp_path}/source"\ncache_path = "{tmp_path}/cache"\n'
        '[types.scans]\nsource = "disk"\n'
    )
    done = subprocess.run(
        [sys.executable, "-m", "iiif_server", "check", "--config", str(config)],
        env={name: value for name, value in os.environ.items() if not name.startswith("IIIF_")},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_sample_is_served_with_its_viewer_and_a_tile(tmp_path: Path) -> None:
    with running_server(tmp_path, "", arguments=["--sample"]) as server:
        base = f"{server.url}/sample:atlas.jpg"
        with httpx.Client(trust_env=False, verify=TRUST, timeout=120) as client:
            information = client.get(f"{base}/info.json").json()
            tile = client.get(f"{base}/512,0,512,512/256,/0/default.jpg")
    assert information["type"] == "ImageService3"
    assert tile.status_code == 200
    with Image.open(BytesIO(tile.content)) as picture:
        assert (picture.format, picture.size) == ("JPEG", (256, 256))
