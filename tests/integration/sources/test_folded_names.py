"""Names that differ in case or Unicode form are different originals, on every disk."""

import asyncio
import os
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from urllib.parse import quote

import pytest

from iiif_server.errors import SourceUnavailableError
from iiif_server.sources.base import SourceContext
from iiif_server.sources.fetching import Fetcher
from iiif_server.sources.stored_names import PROBE, is_entry
from iiif_server.sources.web import WebOptions, WebSource
from support.apps import fetch_options, picture
from support.hanging import Folding, hanging_mount
from support.upstream import Upstream, running_upstream, send


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with running_upstream() as upstream:
        yield upstream


def source_of(root: Path, upstream: Upstream) -> WebSource:
    fetcher = Fetcher(fetch_options(), 2, root.with_name("incoming"))
    context = SourceContext("web", root, fetcher, lambda _: None)
    return WebSource(context, WebOptions(source="web", url=f"{upstream.base}/{{name}}"))


async def held(source: WebSource, name: str) -> bytes:
    async with source.hold(name) as opened:
        return os.pread(opened.descriptor, 1 << 20, 0)


@pytest.mark.parametrize("name", ["IMG_1.JPG", "Folder/a.jpg", "caf\xe9", "cafe\u0301", "a:b"])
async def test_what_is_kept_under_its_name_is_found(
    tmp_path: Path, upstream: Upstream, name: str
) -> None:
    """By operators, or by versions of the server that hashed fewer names."""
    path = tmp_path / "web" / name
    path.parent.mkdir(parents=True)
    path.write_bytes(picture())
    source = source_of(tmp_path / "web", upstream)
    assert await held(source, name) == picture()
    assert upstream.requests == []
    await source.context.fetcher.close()


async def test_what_is_kept_under_its_name_and_damaged_is_replaced_where_it_is(
    tmp_path: Path, upstream: Upstream
) -> None:
    name, root = "IMG_1.JPG", tmp_path / "web"
    upstream.replies[f"/{name}"] = send(picture())
    source = source_of(root, upstream)
    await held(source, name)
    hashed = root / ".hashed" / sha256(name.encode()).hexdigest()
    times = (root / name).stat()
    (root / name).write_bytes(picture()[:-9] + bytes(9))
    os.utime(root / name, ns=(times.st_atime_ns, times.st_mtime_ns))
    for _ in range(2):
        assert await held(source, name) == picture()
    assert upstream.count(f"/{name}") == 2
    assert not hashed.exists()
    await source.context.fetcher.close()


@pytest.mark.parametrize(
    ("name", "ours"),
    [("Scan.jpg", True), ("scan.jpg", False), ("SCAN.JPG", False), ("caf\xe9", True),
     ("cafe\u0301", False), ("CAF\xc9", False), ("b.jpg", True), ("B.jpg", False), ("7", True),
     ("no such file", True)],
)  # fmt: skip
def test_a_disk_that_folds_names_gives_no_name_the_file_of_another(
    tmp_path: Path, name: str, *, ours: bool
) -> None:
    files = {"Scan.jpg": b"1", "caf\xe9": b"2", "b.jpg": b"3", "7": b"4"}
    with hanging_mount(tmp_path / "mount", files, folds="both") as mount:
        assert (mount.folder / "SCAN.jpg").read_bytes() == b"1"
        assert is_entry(mount.folder, name) is ours


FOLDING = {PROBE: b"", "Scan.jpg": picture()}


async def test_on_such_a_disk_no_original_is_another(tmp_path: Path, upstream: Upstream) -> None:
    """A file under another spelling is neither served nor replaced; the own one is."""
    with hanging_mount(tmp_path / "mount", FOLDING, folds="both") as mount:
        source = source_of(mount.folder, upstream)
        assert await held(source, "Scan.jpg") == picture()
        assert upstream.requests == []
        for name in ("scan.jpg", "SCAN.JPG"):
            upstream.replies[f"/{name}"] = send(picture(64, 64))
            with pytest.raises(SourceUnavailableError):  # the mount takes no file
                await held(source, name)
            assert upstream.count(f"/{name}") == 1
        await source.context.fetcher.close()


@pytest.mark.parametrize("folds", ["both", "case", "normalisation", "nothing"])
def test_what_such_a_disk_could_confuse_is_kept_under_its_hash(
    tmp_path: Path, upstream: Upstream, folds: Folding
) -> None:
    """Before any of them is there: two that are fetched at once are two files from the start."""
    same = ["new.jpg", "folder/new", "Scan.jpg"]
    other = [
        "New.jpg",
        "NEW.JPG",
        "Folder/new",
        "caf\xe9",
        "cafe\u0301",
        "\xc5ngstrom/1",
        "A\u030angstrom/1",
        "\u1112\u1161\u11ab",
        "\ud55c",
        "stra\xdfe",
        "\u212a",
        "a.",
    ]
    folding = folds != "nothing"
    with hanging_mount(tmp_path / "mount", FOLDING, folds=folds) as mount:
        kept = source_of(mount.folder, upstream)._fetched
        for name in same + ([] if folding else [*other, "scan.jpg"]):
            assert kept._places.new(name) == mount.folder / name
        hashed = [kept._places.new(name) for name in other if folding]
        assert len(set(hashed)) == len(hashed)
        assert {path.parent.name for path in hashed} <= {".hashed"}
        if folds in {"both", "case"}:
            assert kept._places.new("scan.jpg").parent.name == ".hashed"


async def test_both_unicode_forms_fetched_at_once_are_two_originals(
    tmp_path: Path, upstream: Upstream
) -> None:
    names = {"caf\xe9": picture(), "cafe\u0301": picture(64, 64)}
    for name, data in names.items():
        upstream.replies[f"/{quote(name)}"] = send(data)
    source = source_of(tmp_path / "web", upstream)
    for _ in range(2):
        assert await asyncio.gather(*(held(source, name) for name in names)) == [*names.values()]
    assert len(upstream.requests) == 2
    await source.context.fetcher.close()
