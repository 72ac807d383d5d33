"""What a page does without the scripts that it needs."""

from pathlib import Path

import pytest

from iiif_server.errors import NotBundledError
from iiif_server.pages.files import bundled


def test_a_bundled_package_is_a_folder_and_its_files_are_found(tmp_path: Path) -> None:
    (tmp_path / "viewer").mkdir()
    (tmp_path / "viewer/viewer.js").write_text("")
    assert bundled("viewer", tmp_path) == tmp_path / "viewer"
    assert bundled("viewer/viewer.js", tmp_path).read_text() == ""


@pytest.mark.parametrize("name", ["viewer", "viewer/viewer.js"])
def test_what_is_not_there_names_itself_and_the_command_that_brings_it(
    tmp_path: Path, name: str
) -> None:
    with pytest.raises(NotBundledError, match=r"without viewer,.*`make assets`"):
        bundled(name, tmp_path)
