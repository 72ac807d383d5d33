"""Sandbox of a worker of another user than root, without access to a type's folder."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from iiif_server.workers.sandbox import landlock
from support.hanging import hanging_mount

NOBODY = 65534
SCRIPT = """
import json, os, sys, sysconfig
from pathlib import Path
from iiif_server.workers.sandbox.confinement import Confinement, StaleError, begin_job
from iiif_server.workers.sandbox.confinement import confine, sandbox_status
from iiif_server.workers.sandbox.limits import Limits

sysconfig.get_config_vars()  # loads modules, which may be in the home of root
os.setgroups([])
os.setresgid({user}, {user}, {user})
os.setresuid({user}, {user}, {user})
*folders, outside = map(Path, sys.argv[1:])
limits = Limits(
    memory=1 << 29, address_space=1 << 32, cpu_seconds=5, file_size=1 << 20, open_files=64
)
problems = confine(Confinement(tuple(folders), (), limits))

def tried(path):
    try:
        begin_job([path])
        return path.read_text()
    except (OSError, StaleError) as error:
        return type(error).__name__

print(json.dumps({{
    "user": os.getresuid(),
    "landlock": sandbox_status().landlock,
    "seccomp": sandbox_status().seccomp,
    "problems": list(problems),
    "read": [tried(folder / "original") for folder in folders],
    "outside": tried(outside),
}}))
"""

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user"),
    pytest.mark.skipif(not landlock.version(), reason="this system has no Landlock"),
]


@pytest.fixture
def root() -> Iterator[Path]:
    """A folder that all users may enter, with two types' folders and a file beside them."""
    with tempfile.TemporaryDirectory(prefix="iiif-other-user-") as name:
        root = Path(name)
        root.chmod(0o755)
        for type_ in ("open", "bad"):
            (root / type_).mkdir()
            (root / type_ / "original").write_text(type_)
        (root / "outside").write_text("secret")
        yield root


def in_sandbox(root: Path) -> Any:
    """What a process of another user finds in its sandbox."""
    paths = [root / name for name in ("open", "bad", "outside")]
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT.format(user=NOBODY), *map(str, paths)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def assert_only_this_folder_is_lost(root: Path, *, told: bool) -> None:
    found = in_sandbox(root)
    assert found["user"] == [NOBODY] * 3
    assert (found["landlock"], bool(found["seccomp"])) == (landlock.version(), True)
    assert found["read"][0] == "open"
    assert found["read"][1] in {"PermissionError", "OSError"}
    assert found["outside"] == "PermissionError"  # though this user may read it
    about = [problem for problem in found["problems"] if str(root / "bad") in problem]
    assert len(about) == told


def close_file(root: Path) -> None:
    (root / "bad" / "original").chmod(0o600)


def close_folder(root: Path) -> None:
    (root / "bad").chmod(0)


def close_entry(root: Path) -> None:
    (root / "bad").chmod(0o744)


@pytest.mark.parametrize("close", [close_file, close_folder, close_entry])
def test_what_its_user_may_not_read_is_refused(root: Path, close: Callable[[Path], None]) -> None:
    close(root)
    assert_only_this_folder_is_lost(root, told=False)


def put_below_a_closed_folder(root: Path) -> None:
    (root / "closed").mkdir(mode=0o700)
    (root / "bad").rename(root / "closed" / "bad")
    (root / "bad").symlink_to("closed/bad")


def make_a_loop(root: Path) -> None:
    shutil.rmtree(root / "bad")
    (root / "bad").symlink_to("bad")


@pytest.mark.parametrize("change", [put_below_a_closed_folder, make_a_loop])
def test_a_folder_that_cannot_be_opened_is_left_out_and_told(
    root: Path, change: Callable[[Path], None]
) -> None:
    """EACCES and ELOOP."""
    change(root)
    assert_only_this_folder_is_lost(root, told=True)


def test_a_folder_whose_disk_fails_is_left_out_and_told(root: Path) -> None:
    """ENOTCONN, as a type's disk that has gone away says instead of EIO or ESTALE."""
    shutil.rmtree(root / "bad")
    with hanging_mount(root / "bad", {"original": b"bad"}) as mount:
        mount.abort()
        assert_only_this_folder_is_lost(root, told=True)
