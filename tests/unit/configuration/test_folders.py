"""Types that `serve FOLDER` creates: their names and titles."""

import os
from pathlib import Path

import pytest

from iiif_server.configuration.folders import add_folders, cache_of, slug, types_of


@pytest.mark.parametrize(
    ("name", "type_"),
    [
        ("scans", "scans"),
        ("Bilder 2024", "bilder-2024"),
        ("Müller & Söhne (Größe)", "muller-sohne-groe"),
        ("Mu\u0308ller", "muller"),
        ("a.b_c", "a.b_c"),
        (".hidden", "hidden"),
        ("--x--", "x"),
        ("日本", "folder"),
        ("\udcff", "folder"),
        ("a:b/c", "a-b-c"),
        ("x" * 300, "x" * 40),
    ],
)
def test_a_name_becomes_ascii(name: str, type_: str) -> None:
    assert slug(name) == type_


def names(*paths: str, taken: tuple[str, ...] = ()) -> list[str]:
    return list(types_of([Path(path) for path in paths], taken))


def test_equal_names_get_numbers_that_stay() -> None:
    assert names("/a/scans", "/b/scans", "/c/Scans") == ["scans", "scans-2", "scans-3"]
    assert names("/a/scans", "/b/scans", "/c/scans-2") == ["scans", "scans-3", "scans-2"]
    assert names("/a/scans", taken=("Scans",)) == ["scans-2"]
    assert names("/a/ark", "/b/HTTPS") == ["ark-2", "https-2"]
    assert names("/日本", "/中国") == ["folder", "folder-2"]


def test_people_see_the_names_of_the_folders() -> None:
    types = types_of([Path("/a/Bilder 2024"), Path("/b/x"), Path("/c/x")])
    assert [options["title"] for options in types.values()] == ["Bilder 2024", "x (b)", "x (c)"]
    assert types["bilder-2024"] == {
        "source": "disk",
        "path": ["/a/Bilder 2024"],
        "title": "Bilder 2024",
    }
    assert types_of([Path(os.fsdecode(b"/a/\xff"))])["folder"]["title"] == "\ufffd"


def test_folders_are_added_to_what_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CACHE_DIRECTORY", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", "/c")
    content: dict[str, object] = {"types": {"x": {"source": "disk"}}, "default_type": "x"}
    add_folders(content, [Path("/a/y")], alone=False)
    assert list(content["types"]) == ["x", "y"]  # type: ignore[call-overload]
    assert content["default_type"] == "x"
    assert "cache_path" not in content
    alone: dict[str, object] = {}
    add_folders(alone, [Path("/a/y"), Path("/a/z")], alone=True)
    assert alone["default_type"] == "y"
    assert alone["cache_path"] == str(cache_of([Path("/a/y"), Path("/a/z")]))
    mine: dict[str, object] = {"cache_path": "/mine"}
    add_folders(mine, [Path("/a/y")], alone=True)
    assert mine["cache_path"] == "/mine"
    monkeypatch.setenv("CACHE_DIRECTORY", "/var/cache/iiif")
    service: dict[str, object] = {}
    add_folders(service, [Path("/a/y")], alone=True)
    assert "cache_path" not in service
    nothing: dict[str, object] = {}
    add_folders(nothing, [], alone=True)
    assert nothing == {"types": {}}
    invalid: dict[str, object] = {"types": 1}  # which is reported later
    add_folders(invalid, [Path("/a/y")], alone=True)
    assert invalid == {"types": 1}


def test_the_cache_of_other_folders_is_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/c")
    one, other = cache_of([Path("/a/Bilder 1")]), cache_of([Path("/b/Bilder 1")])
    assert one.parent == other.parent == Path("/c/iiif-server")
    assert one.name.startswith("bilder-1-")
    assert one != other
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")  # which is ignored, as XDG says
    monkeypatch.setenv("HOME", "/home/me")
    assert cache_of([Path("/a")]).parent == Path("/home/me/.cache/iiif-server")
