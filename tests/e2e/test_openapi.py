"""schemathesis against /openapi.json: no 5xx, no undocumented status, no undocumented content."""

import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from support.servers import running_server

CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
    "response_headers_conformance",
    "unsupported_method",
)
RUNNER = "from schemathesis.cli import schemathesis; schemathesis()"


@pytest.mark.e2e
def test_responses_conform_to_openapi_and_none_is_5xx(tmp_path: Path) -> None:
    with running_server(tmp_path, '[types.sample]\nsource = "disk"') as server:
        # The identifier of the examples in the document.
        path = server.source.parent / "sample" / "atlas.jpg"
        path.parent.mkdir()
        Image.linear_gradient("L").resize((2000, 1500)).convert("RGB").save(path)
        done = subprocess.run(
            [
                sys.executable,
                "-c",
                RUNNER,
                "run",
                f"{server.url}/openapi.json",
                f"--checks={','.join(CHECKS)}",
                "--max-examples=40",
                "--workers=2",
                "--request-timeout=60",
                "--no-color",
                "--seed=1",
            ],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
    assert " passed" in done.stdout
