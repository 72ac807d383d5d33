"""What is in a package that is built."""

import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPTS = {
    "iiif_server/pages/bundle/openseadragon/openseadragon.min.js",
    "iiif_server/pages/bundle/openseadragon/LICENSE.txt",
    "iiif_server/pages/bundle/swagger-ui-dist/swagger-ui-bundle.js",
    "iiif_server/pages/bundle/swagger-ui-dist/swagger-ui.css",
    "iiif_server/pages/bundle/swagger-ui-dist/LICENSE",
}


def _build(project: Path, folder: Path) -> tuple[set[str], str]:
    """The files of the wheel that is made of a project, and what was said meanwhile."""
    wheel, said = _built(project, folder, "wheel")
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist()), said


def _built(project: Path, folder: Path, target: str) -> tuple[Path, str]:
    """The package that is made of a project, and what was said meanwhile."""
    done = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", target, "-d", str(folder)],
        cwd=project,
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    (package,) = folder.iterdir()
    return package, done.stdout + done.stderr


def _copy(target: Path, *ignored: str) -> Path:
    for name in ("pyproject.toml", "hatch_build.py", "README.md", "LICENSE", ".gitignore"):
        target.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, target / name)
    ignore = shutil.ignore_patterns("__pycache__", *ignored)
    shutil.copytree(ROOT / "src", target / "src", ignore=ignore)
    return target


def test_a_wheel_has_the_scripts_with_their_licences_and_all_pages(tmp_path: Path) -> None:
    names, said = _build(_copy(tmp_path / "project"), tmp_path / "dist")
    assert names >= SCRIPTS
    own = {
        f"iiif_server/{path.relative_to(ROOT / 'src/iiif_server').as_posix()}"
        for folder in ("static", "templates")
        for path in (ROOT / "src/iiif_server/pages" / folder).rglob("*")
        if path.is_file()
    }
    assert own
    assert own <= names
    assert "make assets" not in said


def test_a_wheel_of_an_sdist_has_them_too(tmp_path: Path) -> None:
    sdist, _ = _built(_copy(tmp_path / "project"), tmp_path / "sdist", "sdist")
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path, filter="data")
    (project,) = tmp_path.glob("iiif_server-*")
    names, said = _build(project, tmp_path / "dist")
    assert names >= SCRIPTS
    assert "make assets" not in said


def test_without_npm_it_is_said_what_to_install(tmp_path: Path) -> None:
    (tmp_path / "dirname").symlink_to(shutil.which("dirname") or "")
    done = subprocess.run(
        [shutil.which("bash") or "", str(ROOT / "assets" / "bundle")],
        env={"PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=20,
    )
    assert done.returncode == 1
    assert "apt-get install nodejs npm" in done.stderr


@pytest.mark.parametrize("target", ["wheel", "sdist"])
def test_a_package_without_the_scripts_says_so(tmp_path: Path, target: str) -> None:
    _, said = _built(_copy(tmp_path / "project", "bundle"), tmp_path / "dist", target)
    assert f"This {target} has no scripts" in said
    assert "make assets" in said


def test_a_package_without_the_scripts_is_whole_but_for_them(tmp_path: Path) -> None:
    names, _ = _build(_copy(tmp_path / "project", "bundle"), tmp_path / "dist")
    assert "iiif_server/pages/bundle.py" in names
    assert not names & SCRIPTS
