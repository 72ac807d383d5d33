"""Official IIIF validator, with its own test image."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from support.servers import Server

HERE = Path(__file__).parent / "validator"
IMAGE = "67352ccc-d1b0-11e1-89ae-279075081939.png"


@pytest.mark.e2e
@pytest.mark.parametrize("level", [2, 3])
@pytest.mark.parametrize(("version", "prefix"), [("2.0", "iiif/2"), ("3.0", "iiif/3"), ("3.0", "")])
def test_official_validator_finds_no_failure(
    server: Server,
    version: str,
    prefix: str,
    level: int,
    record_property: Callable[[str, object], None],
) -> None:
    shutil.copy(HERE / IMAGE, server.source)
    host = server.url.removeprefix("http://")
    done = subprocess.run(
        [sys.executable, "run.py", host, prefix, f"pictures:{IMAGE}", version, str(level)],
        cwd=HERE,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    summary = done.stdout.strip().rpartition("\n")[2]
    record_property("counts", f"{summary} (/{prefix})")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 failed" in summary
    assert int(summary.split(" run")[0].rpartition(" ")[2]) >= 25  # it did run its tests
