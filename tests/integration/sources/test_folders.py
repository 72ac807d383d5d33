"""Folders of `disk` types: several of them, templates, extensions, Unicode forms, and links."""

import asyncio
import os
import re
from pathlib import Path
from typing import Any, Literal, cast
from unicodedata import normalize

import pytest

from iiif_server.errors import (
    ConfigurationError,
    FolderNotFoundError,
    IiifServerError,
    OriginalNotFoundError,
)
from iiif_server.iiif.identifier import Identifier
from iiif_server.images.originals import Originals
from iiif_server.settings import load_settings
from iiif_server.sources.base import SourceContext
from iiif_server.sources.disk import DiskOptions, DiskSource
from iiif_server.sources.fetching import Fetcher
from iiif_server.sources.unreadable import find_unreadable


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    root.mkdir()
    return root


def put(root: Path, *paths: str) -> None:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(f"{root.name}/{path}")


def source(*roots: Path, **options: Any) -> DiskSource:
    context = SourceContext("t", Path("/nowhere"), cast("Fetcher", None), lambda _: None)
    return DiskSource(context, DiskOptions(source="disk", path=roots or None, **options))


def found(source: DiskSource, name: str) -> str | None:
    """What the file of a name has in it; None if there is none."""

    async def hold() -> str | None:
        try:
            async with Originals({"t": source}).hold(Identifier("t", name)) as original:
                assert original.opened is not None
                return os.pread(original.opened.descriptor, 1000, 0).decode()
        except OriginalNotFoundError:
            return None

    return asyncio.run(hold())


def listed(source: DiskSource, folder: str = "") -> tuple[set[str], set[str]]:
    listing = source.browse(folder)
    assert len(set(listing.names)) == len(listing.names)
    return set(listing.folders), set(listing.names)


def assert_each_listed_name_is_found(source: DiskSource) -> None:
    names = list(source.names() or ())
    assert names
    for name in names:
        assert found(source, name) is not None, name


def test_the_first_folder_that_has_a_name_has_the_original(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    put(one, "a.jpg", "sub/x.jpg")
    put(two, "a.jpg", "b.jpg", "sub/x.jpg", "sub/y.jpg", "only/z.jpg")
    both = source(one, two, tmp_path / "missing")
    assert [found(both, name) for name in ("a.jpg", "b.jpg", "sub/y.jpg", "c.jpg")] == [
        "one/a.jpg",
        "two/b.jpg",
        "two/sub/y.jpg",
        None,
    ]
    assert listed(both) == ({"sub", "only"}, {"a.jpg", "b.jpg"})
    assert listed(both, "sub") == (set(), {"x.jpg", "y.jpg"})
    assert listed(both, "only") == (set(), {"z.jpg"})
    assert list(both.names() or ()) == ["a.jpg", "b.jpg", "only/z.jpg", "sub/x.jpg", "sub/y.jpg"]
    with pytest.raises(FolderNotFoundError):
        both.browse("neither")
    assert both.problems() == [
        f"the folder {tmp_path}/missing does not exist: create it and put the originals there"
    ]


def test_a_file_instead_of_a_folder_is_a_problem(root: Path) -> None:
    put(root, "a.jpg")
    assert source(root / "a.jpg").problems() == [
        f"{root}/a.jpg is not a folder: name the folder of the originals"
    ]


def test_a_prefix_and_a_suffix_are_added_to_names_and_left_out_of_listings(root: Path) -> None:
    put(root, "scans/p-1.tif", "scans/p-2.tif", "scans/p-3.jpg", "scans/q-4.tif", "5.tif")
    put(root, "scans/p-box/6.tif", "scans/p-", "scans/p-.tif", "scans/other/7.tif")
    disk = source(root, prefix="scans/p-", suffix=".tif")
    assert found(disk, "1") == "root/scans/p-1.tif"
    assert found(disk, "box/6") == "root/scans/p-box/6.tif"
    assert [found(disk, name) for name in ("1.tif", "3", "q-4", "5", "../5")] == [None] * 5
    assert listed(disk) == ({"box"}, {"1", "2"})
    assert listed(disk, "box") == (set(), {"6"})
    assert list(disk.names() or ()) == ["1", "2", "box/6"]
    assert_each_listed_name_is_found(disk)


def test_a_suffix_with_a_folder_cannot_be_listed(root: Path) -> None:
    put(root, "a/master.tif")
    disk = source(root, suffix="/master.tif")
    assert found(disk, "a") == "root/a/master.tif"
    assert (disk.browsable, disk.names()) == (False, None)
    with pytest.raises(FolderNotFoundError):
        disk.browse("")


def test_a_template_says_where_a_name_is(root: Path) -> None:
    put(root, "ab/cd/abcdef.tif", "x/scan/y.tif")
    disk = source(root, template="{name[0:2]}/{name[2:4]}/{name}.tif")
    assert found(disk, "abcdef") == "root/ab/cd/abcdef.tif"
    assert not disk.browsable
    assert found(source(root, template="{dir}/scan/{stem}.tif"), "x/y.jpg") == "root/x/scan/y.tif"
    assert source(root, template="x/{name}.tif").browsable


@pytest.mark.parametrize(
    "name",
    ["../secret", "..", "a/../../secret", "%2e%2e/secret", "..%5csecret", "..\\secret", "a\0",
     "%252e%252e%252fsecret", "/etc/passwd", ".hidden", "a/.hidden", "", "a//b"],
)  # fmt: skip
@pytest.mark.parametrize("options", [{}, {"prefix": "a/"}, {"template": "{name}.tif"}])
def test_names_that_lead_elsewhere_find_nothing(
    root: Path, name: str, options: dict[str, str]
) -> None:
    put(root.parent, "secret", "secret.tif")
    put(root, "a/.hidden", ".hidden", ".hidden.tif", "a/b")
    put(root, "..\\secret", "%2e%2e/secret", "..%5csecret")
    assert found(source(root, **options), name) is None


def test_odd_names_that_are_listed_are_found(root: Path) -> None:
    good = ["100%.jpg", "a%20b.jpg", "a%2Fb.jpg", "a;2", "a=b&c?d.jpg", "a\\b.jpg", "-x.jpg", "…"]
    bad = ["a%00.jpg", "a%250a.jpg", "..%5cx", "x\\..", "a\\", "%2e%2e", "a%2f..%2fb.jpg", " .."]
    put(root, *good, *bad, "%2e/in.jpg", "a b/in.jpg")
    disk = source(root)
    assert listed(disk) == ({"a b"}, set(good))
    assert set(disk.names() or ()) == {*good, "a b/in.jpg"}
    assert_each_listed_name_is_found(disk)
    assert [found(disk, name) for name in bad] == [None] * len(bad)


def test_extensions_may_be_left_out(root: Path) -> None:
    put(root, "1.tif", "2.jpg", "3.TIF", "4.tif", "4.jpg", "5", "5.tif", "6.png", "a/7.jpg")
    disk = source(root, extensions=[".tif", "jpg"])
    assert {name: found(disk, name) for name in ("1", "2", "3", "4", "5", "a/7")} == {
        "1": "root/1.tif",
        "2": "root/2.jpg",
        "3": "root/3.TIF",
        "4": "root/4.tif",
        "5": "root/5",
        "a/7": "root/a/7.jpg",
    }
    assert found(disk, "1.tif") == "root/1.tif"
    assert found(disk, "6") is None
    assert listed(disk) == ({"a"}, {"1", "2", "3", "4", "4.jpg", "5", "5.tif", "6.png"})
    assert_each_listed_name_is_found(disk)
    contents = [found(disk, name) for name in disk.names() or ()]
    assert len(set(contents)) == len(contents) == 9


def test_a_suffix_and_extensions_together(root: Path) -> None:
    put(root, "1_m.tif", "2_m.jpg", "3.tif", "4_m")
    disk = source(root, suffix="_m", extensions=["tif", "jpg"])
    assert listed(disk)[1] == {"1", "2", "4"}
    assert_each_listed_name_is_found(disk)


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_names_in_either_unicode_form_are_found(root: Path, form: Any) -> None:
    other: Any = "NFD" if form == "NFC" else "NFC"
    put(root, normalize(form, "Übersicht/größe/é.jpg"), normalize(other, "Übersicht 2/é.jpg"))
    mixed = f"{normalize(form, 'Ü')}/{normalize(other, 'é')}.tif"
    put(root, mixed)
    disk = source(root, extensions=["tif"])
    asked: Literal["NFC", "NFD"]
    for asked in ("NFC", "NFD"):
        assert found(disk, normalize(asked, "Übersicht/größe/é.jpg"))
        assert found(disk, normalize(asked, "Übersicht 2/é.jpg"))
        assert found(disk, normalize(asked, "Ü/é")) == f"root/{mixed}"
        assert found(disk, normalize(asked, "Ü/è")) is None
        assert listed(disk, normalize(asked, "Übersicht"))[0] == {normalize(form, "größe")}
    assert_each_listed_name_is_found(disk)


def test_two_files_whose_names_differ_in_their_form_stay_two(root: Path) -> None:
    put(root, normalize("NFC", "é.jpg"), normalize("NFD", "é.jpg"))
    disk = source(root)
    form: Literal["NFC", "NFD"]
    for form in ("NFC", "NFD"):
        assert found(disk, normalize(form, "é.jpg")) == "root/" + normalize(form, "é.jpg")


@pytest.fixture
def linked(root: Path, tmp_path: Path) -> Path:
    """A folder with links to a folder `nas` elsewhere, and to another that is not allowed."""
    nas, secret = tmp_path / "nas", tmp_path / "secret"
    put(nas, "deep/1.jpg", "2.jpg")
    put(secret, "3.jpg")
    put(root, "own.jpg")
    (root / "nas").symlink_to(nas)
    (root / "two.jpg").symlink_to(nas / "2.jpg")
    (root / "secret").symlink_to(secret)
    (root / "three.jpg").symlink_to(secret / "3.jpg")
    (root / "up").symlink_to(root)
    (nas / "out.jpg").symlink_to(secret / "3.jpg")
    (nas / "back").symlink_to(root)
    (nas / "again").symlink_to(nas)
    (root / "dangling.jpg").symlink_to(root / "nothing")
    return root


def test_links_lead_to_the_folders_that_are_named_and_no_others(linked: Path) -> None:
    nas = linked.parent / "nas"
    disk = source(linked, follow_links=str(nas))
    assert found(disk, "nas/deep/1.jpg") == "nas/deep/1.jpg"
    assert found(disk, "two.jpg") == "nas/2.jpg"
    for name in ("secret/3.jpg", "three.jpg", "nas/out.jpg", "dangling.jpg"):
        assert found(disk, name) is None
        assert found(source(linked), name) is None
    assert found(source(linked), "nas/2.jpg") is None
    assert listed(disk) == ({"nas", "up"}, {"own.jpg", "two.jpg"})
    assert listed(disk, "nas") == ({"deep", "back", "again"}, {"2.jpg"})
    assert listed(source(linked)) == ({"up"}, {"own.jpg"})
    assert list(disk.names() or ()) == ["own.jpg", "two.jpg", "nas/2.jpg", "nas/deep/1.jpg"]
    assert list(source(linked).names() or ()) == ["own.jpg"]


def test_a_folder_whose_name_begins_alike_is_another(linked: Path, tmp_path: Path) -> None:
    put(tmp_path / "nas2", "4.jpg")
    (linked / "four.jpg").symlink_to(tmp_path / "nas2/4.jpg")
    assert found(source(linked, follow_links=[tmp_path / "nas"]), "four.jpg") is None


def test_a_link_that_is_put_in_after_a_look_is_not_followed(
    linked: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nas = linked.parent / "nas"
    disk = source(linked, follow_links=[nas])
    real = os.path.realpath

    def swapped(path: Any, **keywords: Any) -> str:
        found = real(path, **keywords)
        if str(found).endswith("nas/2.jpg"):
            (nas / "2.jpg").unlink(missing_ok=True)
            (nas / "2.jpg").symlink_to(linked.parent / "secret/3.jpg")
        return str(found)

    monkeypatch.setattr(os.path, "realpath", swapped)
    with pytest.raises(IiifServerError):
        disk._open("nas/2.jpg", 1)


def test_links_that_leave_are_counted(linked: Path) -> None:
    survey = find_unreadable(linked)
    assert survey.outside_links is not None
    assert survey.outside_links.number == 4
    survey = find_unreadable(linked, [linked.parent / "nas"])
    assert survey.outside_links is not None
    assert survey.outside_links.number == 2
    assert survey.outside_links.example in {linked / "secret", linked / "three.jpg"}
    assert survey.link_target.startswith(f"{linked.parent}/secret")
    assert find_unreadable(linked, [linked.parent]).outside_links is None


def test_pages_that_are_files_of_their_own(root: Path) -> None:
    put(root, "book/1.tif", "book/2.tif", "book;2/1.tif")
    disk = source(root, template="{name}/{page}.tif")
    assert [found(disk, name) for name in ("book", "book;1", "book;2", "book;3")] == [
        "root/book/1.tif",
        "root/book/1.tif",
        "root/book;2/1.tif",  # a name of its own
        None,
    ]


def test_pages_of_a_file(root: Path) -> None:
    put(root, "a.tif", "b.tif", "b.tif;1", "b.tif;2")
    disk = source(root)
    assert found(disk, "a.tif;1") == "root/a.tif"
    assert [found(disk, f"b.tif;{number}") for number in (1, 2, 3)] == [
        "root/b.tif;1",
        "root/b.tif;2",
        "root/b.tif",
    ]
    for name in ("a.tif;0", "a.tif;01", "a.tif;x", "a.tif;", ";1", "a.tif;1;1"):
        assert found(disk, name) is None

    async def second() -> tuple[str, int | None]:
        async with Originals({"t": disk}).hold(Identifier("t", "a.tif;2")) as original:
            return original.file.path.name, original.page

    assert asyncio.run(second()) == ("a.tif", 2)


def test_where_an_original_is_looked_for(linked: Path) -> None:
    disk = source(linked, linked.parent / "nas", extensions=["jpg"])
    assert [(step.place, step.result) for step in disk.locate("2")] == [
        (f"{linked}/2", "no such file"),
        (f"{linked}/2.jpg", "no such file"),
        (f"{linked}/2.JPG", "no such file"),
        (f"{linked.parent}/nas/2", "no such file"),
        (f"{linked.parent}/nas/2.jpg", "found"),
    ]
    assert [step.found for step in disk.locate("2")] == [False] * 4 + [True]
    first = next(iter(disk.locate("three.jpg")))
    assert first.result.startswith(f"this is a link to {linked.parent}/secret/3.jpg, outside")
    assert next(iter(disk.locate("up"))).result == "not a file"
    with pytest.raises(OriginalNotFoundError):
        list(disk.locate("../x"))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('prefix = "/abs"', "types.a.prefix: must be a path below the folder of the type"),
        ('prefix = ".hidden/"', "types.a.prefix: must be a path below"),
        ('prefix = "a{x}/"', "types.a.prefix: there is no field {x}"),
        ('suffix = "/../x"', "types.a.suffix: a template must not have . or .."),
        ('template = "{nmae}"', "types.a.template: there is no field {nmae}: there are {name}, "),
        ('template = "/{name}"', "types.a.template: must be a path below"),
        ('template = "{name}"\nsuffix = "x"', "types.a.template: cannot be used with prefix or"),
        ('extensions = ["a/b"]', "types.a.extensions"),
        ("path = 1", "types.a.path: must be the path of a folder, or a list of them"),
        ('path = [""]', "types.a.path"),
        ("path = []", "types.a.path"),
        ("title = 1", "types.a.title: must be text"),
    ],
)  # fmt: skip
def test_settings_that_cannot_be_are_named(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "s.toml").write_text(f'[types.a]\nsource = "disk"\n{text}\n')
    with pytest.raises(ConfigurationError) as refused:
        load_settings(tmp_path / "s.toml")
    assert said in str(refused.value)


def test_paths_are_relative_to_the_settings_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "s.toml").write_text(
        '[types.a]\nsource = "disk"\npath = "x"\nfollow_links = ["../nas"]\n'
        '[types.b]\nsource = "disk"\npath = ["y", "/abs", "~"]\n[types.c]\nsource = "disk"\n'
    )
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.setenv("IIIF_TYPES__C__PATH", '["/p,q", "/r"]')
    types = cast("dict[str, DiskOptions]", load_settings(tmp_path / "s.toml").types)
    assert types["a"].path == (tmp_path / "x",)
    assert types["a"].follow_links == (tmp_path / "../nas",)
    assert types["b"].path == (tmp_path / "y", Path("/abs"), Path("/home/me"))
    assert types["c"].path == (Path("/p,q"), Path("/r"))
    monkeypatch.setenv("IIIF_TYPES__C__PATH", "/with, comma")
    types = cast("dict[str, DiskOptions]", load_settings(tmp_path / "s.toml").types)
    assert types["c"].path == (Path("/with, comma"),)


def test_the_cache_must_not_be_among_originals_that_are_served(tmp_path: Path) -> None:
    for cache, refused in (("x/cache", True), ("x/.cache/iiif", False), (".", True)):
        (tmp_path / "s.toml").write_text(
            f'cache_path = "{cache}"\nsource_path = "elsewhere"\n'
            '[types.a]\nsource = "disk"\npath = "x"\n'
        )
        if refused:
            with pytest.raises(ConfigurationError, match="must not contain each other"):
                load_settings(tmp_path / "s.toml")
        else:
            load_settings(tmp_path / "s.toml")


def test_the_configuration_in_the_documentation(tmp_path: Path) -> None:
    page = (Path(__file__).parents[3] / "docs/sources/disk.md").read_text()
    (text,) = re.findall(r"```toml\n(.*?)```", page, re.DOTALL)
    (tmp_path / "s.toml").write_text(text.replace('"/', f'"{tmp_path}/'))
    settings = load_settings(tmp_path / "s.toml")
    put(tmp_path, "srv/scans/a/1.jpg", "mnt/nas/plates/masters/plate-0815.tif", "mnt/nas/2.jpg")
    put(tmp_path, "srv/books/b1/b1234/7.jpg")
    (tmp_path / "srv/scans/link.jpg").symlink_to(tmp_path / "mnt/nas/2.jpg")
    context = SourceContext("t", Path("/nowhere"), cast("Fetcher", None), lambda _: None)
    disks = {
        name: DiskSource(context, cast("DiskOptions", options))
        for name, options in settings.types.items()
    }
    assert found(disks["scans"], "a/1") is not None
    assert found(disks["scans"], "link") is not None
    assert found(disks["plates"], "0815") is not None
    assert found(disks["books"], "b1234;7") is not None
    assert settings.types["scans"].title == "Scans of the reading room"
