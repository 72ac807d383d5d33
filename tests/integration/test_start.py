"""The first steps of a new user: `check`, `serve`, and one tile, by the command line alone."""

import os
import re
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


PROGRAM = """
import atexit, pathlib, sys
from iiif_server.cli import main

list_ = pathlib.Path(sys.argv.pop(1))
atexit.register(lambda: list_.write_text(chr(10).join(sys.modules)))
main()
"""
"""`iiif-server` that writes the names of its modules to a file when it ends."""
CODECS = ("pyvips", "PIL", "cffi", "_cffi_backend", "jpegtran", "numpy", "cykooz")


def test_the_sample_is_served_with_its_viewer_and_a_tile(tmp_path: Path) -> None:
    """Without a codec in the server process, as one that draws the sample or reads a tile."""
    loaded = tmp_path / "modules"
    program = [sys.executable, "-c", PROGRAM, str(loaded)]
    with running_server(tmp_path, "", program=program, arguments=["--sample"]) as server:
        base = f"{server.url}/sample:atlas.jpg"
        with httpx.Client(trust_env=False, verify=TRUST, timeout=120) as client:
            information = client.get(f"{base}/info.json").json()
            tile = client.get(f"{base}/512,0,512,512/256,/0/default.jpg")
    assert information["type"] == "ImageService3"
    assert tile.status_code == 200
    with Image.open(BytesIO(tile.content)) as picture:
        assert (picture.format, picture.size) == ("JPEG", (256, 256))
    modules = set(loaded.read_text().split())
    assert {"iiif_server.app", "fastapi", "uvicorn"} <= modules
    packages = {name.partition(".")[0] for name in modules}
    assert packages.isdisjoint(CODECS)
    assert packages.isdisjoint({"obstore", "boto3"})  # only for types in object stores
    assert not [name for name in modules if name.startswith("iiif_server.codecs")]


def test_the_examples_of_openapi_are_answered_by_a_fresh_installation(tmp_path: Path) -> None:
    """Such as one without settings: it has the sample image only."""
    with (
        running_server(tmp_path, "", arguments=["--sample"]) as server,
        httpx.Client(base_url=server.url, trust_env=False, verify=TRUST, timeout=120) as client,
    ):
        named = 0
        for path, operations in client.get("/openapi.json").json()["paths"].items():
            parameters = operations["get"].get("parameters", [])
            examples = {
                parameter["name"]: parameter["schema"]["examples"][0]
                for parameter in parameters
                if parameter["in"] == "path" or parameter.get("required")
            }
            query = {
                parameter["name"]: examples.pop(parameter["name"])
                for parameter in parameters
                if parameter["in"] == "query" and parameter["name"] in examples
            }
            answer = client.get(path.format_map(examples), params=query, follow_redirects=True)
            assert answer.status_code == 200, (path, examples, answer.text)
            named += "sample:atlas.jpg" in {*examples.values(), *query.values()}
        assert named >= 10
        page = client.get("/docs")
        if page.status_code == 503:  # the scripts of pages are not bundled in a clean clone
            assert "make assets" in page.text
            return
        (shown,) = re.findall('data-example="([^"]*)"', page.text)
        assert client.get(f"/{shown}/info.json").status_code == 200
