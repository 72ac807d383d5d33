"""The libturbojpeg of workers: chosen by a setting, loaded in their sandbox, reported."""

import shutil
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from iiif_server.cli import main
from iiif_server.codecs import libturbojpeg
from iiif_server.errors import ConfigurationError
from support import pictures
from support.apps import running_app, settings_below

TYPES = {"disk": {"source": "disk"}}
REGION = "/disk:pic.jpg/64,64,64,64/max/0/default.jpg"


def settings(folder: Path, turbojpeg: str, **workers: Any) -> Any:
    return settings_below(folder, types=TYPES, workers={"turbojpeg": turbojpeg, **workers})


def library_outside_of_the_system(folder: Path) -> Path:
    """A copy of the library in a folder that no sandbox allows by itself."""
    report = libturbojpeg.library_report()
    return Path(shutil.copy(report.path, folder / "libturbojpeg.so.0"))


@pytest.mark.needs_lossless
@pytest.mark.parametrize("confinement", ["auto", "off"])
async def test_workers_use_the_library_of_the_setting(confinement: str, tmp_path: Path) -> None:
    path = library_outside_of_the_system(tmp_path)
    chosen = settings(tmp_path / "server", str(path), confinement=confinement)
    async with running_app(chosen) as server:
        server.put("disk", "pic.jpg", pictures.jpeg(pictures.photograph()))
        answer = await server.get(REGION)
        assert 'desc="jpegtran"' in answer.headers["server-timing"]
        status = await server.status()
        assert status["engines"]["jpegtran"] is True
        assert status["turbojpeg"]["path"] == str(path)
        assert status["turbojpeg"]["version"] == libturbojpeg.library_report().version
        public = (await server.get("/status")).text
        assert str(path) not in public


async def test_without_a_library_tiles_are_compressed_anew(tmp_path: Path) -> None:
    async with running_app(settings(tmp_path, "off")) as server:
        server.put("disk", "pic.jpg", pictures.jpeg(pictures.photograph()))
        answer = await server.get(REGION)
        assert 'desc="raster"' in answer.headers["server-timing"]
        status = await server.status()
        assert status["engines"]["jpegtran"] is False
        assert status["turbojpeg"]["path"] == ""
        assert "libturbojpeg0 (Debian)" in status["turbojpeg"]["advice"]


async def test_a_library_that_cannot_be_used_is_a_configuration_error(tmp_path: Path) -> None:
    chosen = settings(tmp_path, str(tmp_path / "missing.so"))
    with pytest.raises(ConfigurationError, match=r'workers\.turbojpeg = ".*missing\.so" cannot be'):
        async with running_app(chosen):
            pass


@pytest.mark.parametrize("value", ["libturbojpeg.so.0", "./lib.so", "", "none", "AUTO"])
def test_a_relative_path_is_refused(value: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="absolute path of libturbojpeg"):
        settings(tmp_path, value)


@pytest.mark.parametrize(
    ("value", "line"),
    [
        ("off", "ok    turbojpeg: libturbojpeg is switched off by workers.turbojpeg. JPEG tiles"),
        ("/missing.so", 'FAIL  turbojpeg: workers.turbojpeg = "/missing.so" cannot be used: '),
    ],
)
def test_check_tells_what_is_wrong_with_the_library(value: str, line: str, tmp_path: Path) -> None:
    assert any(found.startswith(line) for found in checked(tmp_path, value))


@pytest.mark.needs_lossless
def test_check_names_the_library_and_its_version(tmp_path: Path) -> None:
    path = library_outside_of_the_system(tmp_path)
    version = libturbojpeg.library_report().version
    line = f"ok    turbojpeg: lossless JPEG tiles by {path}, version {version}"
    assert any(found.startswith(line) for found in checked(tmp_path, str(path)))


@pytest.mark.needs_lossless
def test_check_reports_the_library_of_a_worker_and_not_its_own(tmp_path: Path) -> None:
    """The process of `check` itself has loaded the library, before the file was removed."""
    path = library_outside_of_the_system(tmp_path)
    assert libturbojpeg.report(str(path)).lossless
    path.unlink()
    lines = checked(tmp_path, str(path))
    assert any(line.startswith(f'FAIL  turbojpeg: workers.turbojpeg = "{path}"') for line in lines)


def checked(folder: Path, turbojpeg: str) -> list[str]:
    """The lines of `iiif-server check` with a library."""
    config = folder / "settings.toml"
    config.write_text(
        f'cache_path = "{folder / "cache"}"\nsource_path = "{folder / "source"}"\n'
        f'types.disk.source = "disk"\nworkers.turbojpeg = "{turbojpeg}"\n'
        f'workers.confinement = "off"\n'
    )
    runner = CliRunner(env={"IIIF_WORKERS__TURBOJPEG": None})  # it comes before the file
    return runner.invoke(main, ["check", "--config", str(config)]).output.splitlines()
