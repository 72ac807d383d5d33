"""A full disk: no partial file stays, and fetches succeed again when there is space."""

import asyncio
import os
import resource
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import httpx
import pytest

from iiif_server.errors import SourceUnavailableError
from iiif_server.sources.base import SourceContext
from iiif_server.sources.fetching import Fetcher
from iiif_server.sources.web import WebOptions, WebSource
from iiif_server.telemetry.events import Event
from support.apps import Process, fetch_options, picture, running_process
from support.upstream import Upstream, running_upstream, send, validated

PICTURE, OTHER = picture(900, 700), picture(800, 600)
ROOM = 10_000
"""Bytes: less than the pictures have."""


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with running_upstream() as upstream:
        yield upstream


@contextmanager
def full_disk(process: Process, room: int = ROOM) -> Iterator[None]:
    """No file of the server can grow beyond so many bytes, as if there were no more room."""
    limits = resource.prlimit(process.popen.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(process.popen.pid, resource.RLIMIT_FSIZE, (room, limits[1]))
    try:
        yield
    finally:
        resource.prlimit(process.popen.pid, resource.RLIMIT_FSIZE, limits)


def settings(root: Path, upstream: Upstream) -> str:
    path = root / "settings.toml"
    path.write_text(
        f'source_path = "{root}/source"\ncache_path = "{root}/cache"\n'
        "image_pool_size = 1\nsize_pool_size = 1\n"
        '[fetch]\nallow_networks = ["127.0.0.1/32"]\nfailure_ttl = 0\n'
        "refresh_after = 0.001\nrefresh_wait = 30\n"
        f'[types.web]\nsource = "web"\nurl = "{upstream.base}/{{name}}"\n'
    )
    return str(path)


def files(root: Path) -> dict[str, bytes]:
    """What is kept of originals, whole or not, incoming files included."""
    source = root / "source"
    return {
        str(path.relative_to(source)): path.read_bytes()
        for path in source.rglob("*")
        if path.is_file() and ".provenance" not in path.parts
    }


def width(process: Process) -> int:
    """The width of the original, as its information has it."""
    response = httpx.get(f"{process.base}/web:x/info.json", trust_env=False, timeout=60)
    assert response.status_code == 200, response.text
    return int(response.json()["width"])


def test_a_full_disk_keeps_nothing_half_written_and_is_asked_again_when_there_is_room(
    tmp_path: Path, upstream: Upstream
) -> None:
    assert min(len(PICTURE), len(OTHER)) > ROOM
    upstream.otherwise = validated(PICTURE, ETag='"1"')
    with running_process("--config", settings(tmp_path, upstream)) as process:
        with full_disk(process):
            response = httpx.get(f"{process.base}/web:x/info.json", trust_env=False, timeout=60)
            assert response.status_code == 502
            assert "stored on disk" in response.json()["error"]
            assert files(tmp_path) == {}
        assert width(process) == 900
        upstream.otherwise = validated(OTHER, ETag='"2"')
        with full_disk(process):
            assert width(process) == 900  # what is there is served
            assert files(tmp_path) == {"web/x": PICTURE}
        assert width(process) == 800
        assert files(tmp_path) == {"web/x": OTHER}


@pytest.mark.parametrize("missing", [1, 100, 8_192])
def test_an_original_whose_last_bytes_find_no_room_is_not_kept(
    tmp_path: Path, upstream: Upstream, missing: int
) -> None:
    """They may be written only when the file is closed, as many as its buffer holds."""
    upstream.otherwise = validated(PICTURE, ETag='"1"')
    with running_process("--config", settings(tmp_path, upstream)) as process:
        with full_disk(process, len(PICTURE) - missing):
            response = httpx.get(f"{process.base}/web:x/info.json", trust_env=False, timeout=60)
            assert response.status_code == 502
            assert files(tmp_path) == {}
        assert width(process) == 900
        assert files(tmp_path) == {"web/x": PICTURE}


def files_below(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


@asynccontextmanager
async def source_of(root: Path, upstream: Upstream) -> AsyncIterator[WebSource]:
    """A type whose folder is below `root`, though it may be that nothing can be there."""
    events: list[Event] = []
    fetcher = Fetcher(fetch_options(), 1, root / ".incoming")
    web = WebOptions(source="web", url=f"{upstream.base}/{{name}}")
    yield WebSource(SourceContext("web", root / "web", fetcher, events.append), web)
    await fetcher.close()


async def refused(source: WebSource) -> str:
    """The sentence with which an original is refused."""
    with pytest.raises(SourceUnavailableError) as error:
        async with asyncio.timeout(60), source.hold("x"):
            pytest.fail("there is no such original")
    return str(error.value)


@pytest.mark.parametrize("blocked", [".incoming", "web"])
async def test_a_folder_that_cannot_be_is_no_crash(
    tmp_path: Path, upstream: Upstream, blocked: str
) -> None:
    upstream.otherwise = send(PICTURE)
    (tmp_path / blocked).write_bytes(b"a file where a folder should be")
    async with source_of(tmp_path, upstream) as source:
        assert "stored on disk" in await refused(source)
    (tmp_path / blocked).unlink()
    assert files_below(tmp_path) == []
    async with source_of(tmp_path, upstream) as source, source.hold("x") as kept:
        assert os.pread(kept.descriptor, 1 << 20, 0) == PICTURE


async def test_a_disk_that_cannot_be_read_is_no_crash(tmp_path: Path, upstream: Upstream) -> None:
    folder = tmp_path
    while len(str(folder)) < 4096:  # which no system call takes
        folder /= "deep" * 50
    async with source_of(folder, upstream) as source:
        assert "disk" in await refused(source)
    assert upstream.requests == []


async def test_a_type_folder_in_a_loop_of_links_is_no_crash(
    tmp_path: Path, upstream: Upstream
) -> None:
    (tmp_path / "web").symlink_to(tmp_path / "web")
    async with source_of(tmp_path, upstream) as source:
        assert "disk" in await refused(source)
