"""Packages as users install them: the wheel, the sdist, and `pip install .`."""

import os
import re
import shutil
import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path
from urllib.parse import urljoin

import httpx
import pytest

from support.servers import TRUST, running_server

ROOT = Path(__file__).parents[2]
SCRIPTS = {
    "iiif_server/pages/bundle/openseadragon/openseadragon.min.js",
    "iiif_server/pages/bundle/openseadragon/LICENSE.txt",
    "iiif_server/pages/bundle/swagger-ui-dist/swagger-ui-bundle.js",
    "iiif_server/pages/bundle/swagger-ui-dist/swagger-ui.css",
    "iiif_server/pages/bundle/swagger-ui-dist/LICENSE",
}


def _file_names(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def _run_build(
    project: Path, folder: Path, target: str, **environment: str
) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", target, "-d", str(folder)],
        cwd=project,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def _build_package(project: Path, folder: Path, target: str) -> Path:
    done = _run_build(project, folder, target)
    assert done.returncode == 0, done.stderr
    (package,) = folder.iterdir()
    return package


def _copy_checkout(target: Path) -> Path:
    """Copy the files of the repository that a build needs, without npm's scripts."""
    target.mkdir()
    for name in ("pyproject.toml", "hatch_build.py", "README.md", "LICENSE", ".gitignore"):
        shutil.copy(ROOT / name, target / name)
    ignored = shutil.ignore_patterns("__pycache__", "bundle", "node_modules")
    shutil.copytree(ROOT / "src", target / "src", ignore=ignored)
    (target / "assets").mkdir()
    for name in ("bundle", "package.json", "package-lock.json"):
        shutil.copy(ROOT / "assets" / name, target / "assets" / name)
    return target


def _path_without_npm(folder: Path) -> str:
    """Return a PATH with all programs except those of Node.js."""
    folder.mkdir()
    for place in reversed(os.environ["PATH"].split(os.pathsep)):
        for program in Path(place).iterdir() if Path(place).is_dir() else ():
            if program.name not in {"npm", "node", "npx"}:
                link = folder / program.name
                link.unlink(missing_ok=True)
                link.symlink_to(program)
    return str(folder)


def _write_constraints(folder: Path) -> Path:
    """Write the versions of the lock file, with markers and without hashes.

    Pip resolves the dependencies from the metadata.
    """
    lock = (ROOT / "requirements.lock").read_text()
    file = folder / "constraints.txt"
    file.write_text("\n".join(re.findall(r"^([a-z][^\s=]*==[^\\\n]+)", lock, re.MULTILINE)))
    return file


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sdist")
    return _build_package(_copy_checkout(folder / "project"), folder / "dist", "sdist")


@pytest.fixture(scope="module")
def project_of_sdist(sdist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("unpacked")
    with tarfile.open(sdist) as archive:
        archive.extractall(folder, filter="data")
    (project,) = folder.iterdir()
    return project


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Wheel built by pip from a fresh checkout, without npm."""
    folder = tmp_path_factory.mktemp("wheel")
    project = _copy_checkout(folder / "project")
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--no-deps", "--wheel-dir", folder / "dist", "."],
        cwd=project,
        env=os.environ | {"PATH": _path_without_npm(folder / "bin")},
        check=True,
        timeout=300,
    )
    (package,) = (folder / "dist").iterdir()
    return package


def test_wheel_built_without_npm_contains_scripts_licences_and_pages(
    wheel: Path,
) -> None:
    names = _file_names(wheel)
    assert names >= SCRIPTS
    own = {
        f"iiif_server/{path.relative_to(ROOT / 'src/iiif_server').as_posix()}"
        for folder in ("static", "templates")
        for path in (ROOT / "src/iiif_server/pages" / folder).rglob("*")
        if path.is_file()
    }
    assert own
    assert own <= names


def test_wheel_built_from_the_sdist_has_the_same_files(
    project_of_sdist: Path, wheel: Path, tmp_path: Path
) -> None:
    done = _run_build(project_of_sdist, tmp_path / "dist", "wheel", PATH="/nowhere")
    assert done.returncode == 0, done.stderr
    (package,) = (tmp_path / "dist").iterdir()
    assert _file_names(package) == _file_names(wheel)


@pytest.mark.parametrize("target", ["wheel", "sdist"])
def test_build_without_scripts_fails_with_instructions(tmp_path: Path, target: str) -> None:
    project = _copy_checkout(tmp_path / "project")
    (tmp_path / "dirname").symlink_to(shutil.which("dirname") or "")
    (tmp_path / "bash").symlink_to(shutil.which("bash") or "")
    (tmp_path / "env").symlink_to(shutil.which("env") or "")
    done = _run_build(project, tmp_path / "dist", target, PATH=str(tmp_path))
    assert done.returncode != 0
    assert "apt-get install nodejs npm" in done.stderr
    assert "IIIF_BUILD_WITHOUT_ASSETS=1" in done.stderr


@pytest.mark.parametrize("target", ["wheel", "sdist"])
def test_build_without_assets_by_option_warns(tmp_path: Path, target: str) -> None:
    project = _copy_checkout(tmp_path / "project")
    done = _run_build(project, tmp_path / "dist", target, IIIF_BUILD_WITHOUT_ASSETS="1")
    assert done.returncode == 0
    assert f"This {target} is built without the scripts" in done.stdout + done.stderr
    assert "make assets" in done.stdout + done.stderr


def test_wheel_without_assets_has_all_other_files(tmp_path: Path, wheel: Path) -> None:
    project = _copy_checkout(tmp_path / "project")
    done = _run_build(project, tmp_path / "dist", "wheel", IIIF_BUILD_WITHOUT_ASSETS="1")
    assert done.returncode == 0
    (package,) = (tmp_path / "dist").iterdir()
    bundled = {name for name in _file_names(wheel) if "/pages/bundle/" in name}
    assert _file_names(package) == _file_names(wheel) - bundled


def test_installed_package_serves_viewer_script_and_tile(
    wheel: Path, sdist: Path, tmp_path: Path
) -> None:
    """New virtual environment, without the packages of developers."""
    venv.create(tmp_path / "venv", with_pip=True)
    pip = [str(tmp_path / "venv/bin/pip"), "--disable-pip-version-check", "install", "--quiet"]
    constraint = ["--constraint", str(_write_constraints(tmp_path))]
    subprocess.run([*pip, *constraint, str(wheel)], check=True, timeout=300)
    _assert_serves(tmp_path / "venv/bin/iiif-server", tmp_path / "of-wheel")
    subprocess.run([*pip, "--force-reinstall", "--no-deps", str(sdist)], check=True, timeout=300)
    _assert_serves(tmp_path / "venv/bin/iiif-server", tmp_path / "of-sdist")
    shutil.rmtree(tmp_path / "venv")


def _assert_serves(program: Path, folder: Path) -> None:
    with running_server(folder, "", program=[str(program)], arguments=["--sample"]) as server:
        page = _get(f"{server.url}/sample:atlas.jpg/view")
        script = re.search(r'src="([^"]*openseadragon[^"]*[.]js)"', page.text)
        assert script
        assert len(_get(urljoin(str(page.url), script[1])).content) > 100_000
        tile = _get(f"{server.url}/sample:atlas.jpg/0,0,512,512/512,/0/default.jpg")
        assert tile.headers["content-type"] == "image/jpeg"


def _get(url: str) -> httpx.Response:
    response = httpx.get(url, trust_env=False, verify=TRUST, timeout=60)
    assert response.status_code == 200, response.text
    return response
