"""`iiif-server locate`: the steps of the search for an original."""

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from iiif_server.cli import main
from support.apps import picture


@pytest.fixture
def config(tmp_path: Path) -> Path:
    config = tmp_path / "settings.toml"
    config.write_text(
        'default_type = "scans"\n'
        '[types.scans]\nsource = "disk"\npath = ["one", "two"]\nextensions = ["jpg"]\n'
        '[types.web]\nsource = "web"\nurl = "http://a:word@127.0.0.1:1/{name}.jpg?key=S3CRET"\n'
    )
    (tmp_path / "two").mkdir()
    (tmp_path / "two/1.jpg").write_bytes(picture())
    return config


def located(config: Path | None, *arguments: str) -> Result:
    named = ["--config", str(config)] if config else []
    return CliRunner().invoke(main, ["locate", *named, *arguments])


def test_each_step_is_shown(config: Path) -> None:
    done = located(config, "scans:1")
    folder = config.parent
    assert done.output.splitlines() == [
        "identifier  scans:1",
        "type        scans, source disk",
        "name        1",
        f"tried       {folder}/one/1: no such file",
        f"tried       {folder}/one/1.jpg: no such file",
        f"tried       {folder}/one/1.JPG: no such file",
        f"tried       {folder}/two/1: no such file",
        f"found       {folder}/two/1.jpg: found",
        f"original    {folder}/two/1.jpg, {len(picture()) / 1000:.1f} kB",
    ]
    assert done.exit_code == 0


def test_what_is_not_found_ends_with_1(config: Path) -> None:
    done = located(config, "2%20x")
    assert done.exit_code == 1
    assert f"{config.parent}/two/2 x.JPG: no such file" in done.output
    assert "Not found: There is no image with this identifier." in done.output


@pytest.mark.parametrize(
    ("identifier", "said"),
    [
        ("nothing:1", "Not found: This server has no type"),
        ("scans:%zz", "Not found: The URL contains a % that"),
        ("scans:../x", "Not found: There is no image with this identifier."),
    ],
)
def test_what_is_no_identifier_is_told(config: Path, identifier: str, said: str) -> None:
    done = located(config, identifier)
    assert (done.exit_code, done.output.splitlines()[-1].startswith(said)) == (1, True)


def test_the_file_of_a_page_is_located(config: Path) -> None:
    done = located(config, "1;2")
    assert (done.exit_code, "page 2 of this name" in done.output) == (0, True)


def test_a_page_is_looked_for_as_a_name_first(config: Path) -> None:
    done = located(config, "1;1")
    assert done.exit_code == 0
    assert f"tried       {config.parent}/one/1;1: no such file" in done.output
    assert "tried       1: page 1 of this name" in done.output
    assert f"found       {config.parent}/two/1.jpg: found" in done.output


def test_a_url_is_shown_without_its_secrets(config: Path) -> None:
    done = located(config, "web:a/b")
    assert done.exit_code == 1
    assert "127.0.0.1:1/a/b.jpg" in done.output
    assert "S3CRET" not in done.output
    assert "word" not in done.output


def test_a_folder_of_serve(config: Path) -> None:
    folder = config.parent / "two"
    done = located(None, "--folder", str(folder), "1.jpg")
    assert done.exit_code == 0
    assert f"found       {folder}/1.jpg: found" in done.output


def test_a_lookup_shows_its_answer_and_where_that_is_looked_for(config: Path) -> None:
    table = config.parent / "table.csv"
    table.write_text("id,name,path\na,1,\nb,9,\nc,,two/1.jpg\n")
    with config.open("a") as file:
        file.write('[types.catalogue]\nsource = "lookup"\ntable = "table.csv"\ntypes = ["scans"]\n')
    found, lost, unknown = (located(config, f"catalogue:{name}") for name in ("a", "b", "z"))
    assert "tried       lookup: 1, to be served by the type scans\n" in found.output
    assert f"found       {config.parent}/two/1.jpg: found\n" in found.output
    assert found.exit_code == 0
    assert "tried       lookup: 9, to be served by the type scans\n" in lost.output
    assert f"{config.parent}/two/9.jpg: no such file\n" in lost.output
    assert lost.exit_code == 1
    assert "tried       lookup: it has no row or answer for this name\n" in unknown.output
    assert unknown.exit_code == 1
