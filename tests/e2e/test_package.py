"""What is in a package that is built."""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
SCRIPTS = {
    "iiif_server/pages/bundle/openseadragon/openseadragon.min.js",
    "iiif_server/pages/bundle/openseadragon/LICENSE.txt",
    "iiif_server/pages/bundle/swagger-ui-dist/swagger-ui-bundle.js",
    "iiif_server/pages/bundle/swagger-ui-dist/swagger-ui.css",
    "iiif_server/pages/bundle/swagger-ui-dist/LICENSE",
}


def _build(project: Path, target: Path) -> tuple[set[str], str]:
    """The files of the wheel that is made of a project, and what was said meanwhile."""
    done = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(target)],
        cwd=project,
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    (wheel,) = target.glob("*.whl")
    return set(zipfile.ZipFile(wheel).namelist()), done.stdout + done.stderr


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


def test_a_wheel_without_the_scripts_says_so(tmp_path: Path) -> None:
    names, said = _build(_copy(tmp_path / "project", "bundle"), tmp_path / "dist")
    assert "iiif_server/pages/bundle.py" in names
    assert not names & SCRIPTS
    assert "make assets" in said
