"""`fetch.keep_bytes` and `fetch.keep_files`: eviction of fetched originals."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from iiif_server.errors import OriginalChangedError
from iiif_server.sources.fetched import FetchedOriginals
from iiif_server.sources.fetched_store import FetchedLimits, FetchedStore
from iiif_server.sources.fetching import HttpUpstream
from iiif_server.sources.provenance import Validators
from iiif_server.sources.upstreams import Arrival
from iiif_server.telemetry.events import FetchFailed, Rendered
from support.apps import (
    Server,
    assert_problem,
    fetch_options,
    picture,
    running_app,
    settings_below,
    sleep_until_revalidated,
    web_settings,
)
from support.disks import small_disk
from support.upstream import Upstream, running_upstream, send, unbounded
from support.waiting import async_wait_until

SIZE = 20_000
HOLD = """
import os, sys
from iiif_server.sources.fetched_store import lock_for_use
descriptor = os.open(sys.argv[1], os.O_RDONLY)
print(lock_for_use(descriptor), flush=True)
sys.stdin.read()
"""


def padded(seed: int, size: int = SIZE) -> bytes:
    data = picture(60 + seed, 40)
    return data + bytes(size - len(data))


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with running_upstream() as upstream:
        for number in range(10):
            upstream.replies[f"/{number}"] = send(padded(number))
        yield upstream


async def view(server: Server, name: object) -> int:
    # What was found within the last second is not looked for again.
    server.services.images._images.clear()
    return (await server.get(f"/web:{name}/info.json")).status_code


def stored(server: Server) -> list[str]:
    folder = server.settings.source_path / "web"
    names = [path.name for path in folder.iterdir() if path.is_file()]
    records = list((folder / ".provenance").iterdir())
    assert len(records) == len([name for name in names if not name.startswith("own")])
    return sorted(names)


@pytest.mark.parametrize("options", [{"keep_bytes": 3 * SIZE}, {"keep_files": 3}])
async def test_the_least_recently_used_go_first_also_after_a_restart(
    upstream: Upstream, tmp_path: Path, options: dict[str, int]
) -> None:
    chosen = web_settings(tmp_path, upstream.base, **options)
    async with running_app(chosen) as server:
        for name in (0, 1, 2, 0):
            assert await view(server, name) == 200
        assert stored(server) == ["0", "1", "2"]
        assert await view(server, 3) == 200
        assert stored(server) == ["0", "2", "3"]
        assert await view(server, 0) == 200
    async with running_app(chosen) as server:
        assert await view(server, 4) == 200
        assert stored(server) == ["0", "3", "4"]
        assert await view(server, 2) == 200  # it is fetched again
        assert upstream.count("/2") == 2
        status = await server.status()
        assert status["fetched"] == {"files": 3, "size": 3 * SIZE, "evicted": 2}


async def test_what_is_stored_and_evicted_is_in_the_metrics(
    upstream: Upstream, tmp_path: Path
) -> None:
    chosen = web_settings(tmp_path, upstream.base, keep_files=2)
    allowed = chosen.metrics.model_validate({"allow_networks": ["127.0.0.0/8"]})
    async with running_app(chosen.model_copy(update={"metrics": allowed})) as server:
        for name in range(3):
            assert await view(server, name) == 200
        lines = (await server.get("/metrics")).text.splitlines()
    assert "iiif_fetched_files 2.0" in lines
    assert f"iiif_fetched_stored_bytes {2.0 * SIZE}" in lines
    assert "iiif_fetched_evictions_total 1.0" in lines


async def test_without_limits_nothing_is_removed_and_there_is_no_index(
    upstream: Upstream, tmp_path: Path
) -> None:
    async with running_app(web_settings(tmp_path, upstream.base)) as server:
        for name in range(10):
            assert await view(server, name) == 200
        assert len(stored(server)) == 10
        assert (await server.status())["fetched"] is None
    assert not (tmp_path / "source/.fetched").exists()


async def test_originals_of_before_there_were_limits_count(
    upstream: Upstream, tmp_path: Path
) -> None:
    async with running_app(web_settings(tmp_path, upstream.base)) as server:
        for name in range(6):
            assert await view(server, name) == 200
    async with running_app(web_settings(tmp_path, upstream.base, keep_files=2)) as server:
        await async_wait_until(lambda: len(stored(server)) == 2)
        assert stored(server) == ["4", "5"]


async def test_files_of_an_operator_are_never_removed(upstream: Upstream, tmp_path: Path) -> None:
    async with running_app(web_settings(tmp_path, upstream.base, keep_files=1)) as server:
        server.put("web", "own", padded(8))
        server.put("web", "own2", padded(9, 10 * SIZE))
        assert await view(server, "own") == 200
        for name in range(4):
            assert await view(server, name) == 200
        assert stored(server) == ["3", "own", "own2"]


async def test_an_original_that_an_operator_has_replaced_is_theirs(
    upstream: Upstream, tmp_path: Path
) -> None:
    async with running_app(web_settings(tmp_path, upstream.base, keep_files=1)) as server:
        assert await view(server, 0) == 200
        theirs = server.put("web", "0", picture(90, 90))
        assert await view(server, 1) == 200
        assert theirs.read_bytes() == picture(90, 90)
        assert await view(server, 0) == 200
    assert upstream.count("/0") == 1


@pytest.mark.parametrize("announced", [True, False])
async def test_what_is_larger_than_all_that_is_kept_is_refused_and_displaces_nothing(
    upstream: Upstream,
    tmp_path: Path,
    announced: bool,  # noqa: FBT001
) -> None:
    large = padded(1, 4 * SIZE)
    upstream.replies["/large"] = send(large) if announced else unbounded(large, 3_000_000)
    async with running_app(web_settings(tmp_path, upstream.base, keep_bytes=3 * SIZE)) as server:
        assert await view(server, 0) == 200
        assert_problem(await server.get("/web:large/info.json"), 413, "60 kB")
        assert stored(server) == ["0"]
        assert list((tmp_path / "source/.incoming").iterdir()) == []
        assert await view(server, 1) == 200
        assert stored(server) == ["0", "1"]


async def test_what_is_in_use_is_not_evicted_by_another_process_either(
    upstream: Upstream, tmp_path: Path
) -> None:
    async with running_app(web_settings(tmp_path, upstream.base, keep_bytes=SIZE)) as server:
        assert await view(server, 0) == 200
        with subprocess.Popen(  # noqa: ASYNC220 - it answers at once
            [sys.executable, "-c", HOLD, str(server.original_path("web", "0"))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        ) as holder:
            assert holder.stdout is not None
            assert holder.stdout.readline() == b"True\n"
            assert_problem(await server.get("/web:1/info.json"), 503, "space")
            assert "keep_bytes" in server.events_of(FetchFailed)[-1].reason
            assert stored(server) == ["0"]
            holder.communicate()
        assert await view(server, 1) == 200
        assert stored(server) == ["1"]


async def test_what_is_held_here_is_not_evicted(upstream: Upstream, tmp_path: Path) -> None:
    async with running_app(web_settings(tmp_path, upstream.base, keep_files=1)) as server:
        identifier = server.services.identifiers.read("web:0")
        async with server.services.originals.hold(identifier):
            assert_problem(await server.get("/web:1/info.json"), 503, "space")
            assert stored(server) == ["0"]
        assert await view(server, 1) == 200


async def test_an_original_that_is_evicted_again_and_again_is_not_fetched_for_ever(
    upstream: Upstream, tmp_path: Path
) -> None:
    async with running_app(web_settings(tmp_path, upstream.base, keep_files=1)) as server:
        source = server.services.originals.source("web")
        fetch_original = HttpUpstream.fetch

        class Vanishing(HttpUpstream):
            async def fetch(self, target: Path, known: Validators) -> Arrival | None:
                arrival = await fetch_original(self, target, known)
                target.unlink()  # noqa: ASYNC240 - of this test
                return arrival

        gone = Vanishing(server.services.fetcher, f"{upstream.base}/0", bool)
        with pytest.raises(OriginalChangedError):
            async with FetchedOriginals(source.context).hold("0", gone):
                pass
        assert upstream.count("/0") == 3


async def test_originals_being_fetched_count(upstream: Upstream, tmp_path: Path) -> None:
    upstream.replies["/slow"] = send(padded(1, 2 * SIZE))
    async with running_app(web_settings(tmp_path, upstream.base, keep_bytes=3 * SIZE)) as server:
        store = server.services.fetcher.store
        assert store is not None
        room = store.reserve_file()
        room.reserve(2 * SIZE)
        assert_problem(await server.get("/web:slow/info.json"), 503, "space")
        assert await view(server, 0) == 200
        room.close()
        assert await view(server, "slow") == 200


async def test_derivatives_of_an_evicted_original_are_valid_when_it_is_back(
    upstream: Upstream, tmp_path: Path
) -> None:
    async with running_app(web_settings(tmp_path, upstream.base, keep_files=1)) as server:
        path = "/web:0/full/30,/0/default.jpg"
        first = await server.get(path)
        assert await view(server, 1) == 200
        assert stored(server) == ["1"]
        await sleep_until_revalidated()
        rendered = len(server.events_of(Rendered))
        again = await server.get(path)
        assert (again.status_code, again.content) == (200, first.content)
        assert again.headers["etag"] == first.headers["etag"]
        assert len(server.events_of(Rendered)) == rendered
        assert upstream.count("/0") == 2


async def test_an_index_that_is_damaged_is_made_again(upstream: Upstream, tmp_path: Path) -> None:
    chosen = web_settings(tmp_path, upstream.base, keep_files=2)
    async with running_app(chosen) as server:
        for name in (0, 1):
            assert await view(server, name) == 200
    index = tmp_path / "source/.fetched/index.sqlite"
    index.write_bytes(b"no database" * 1000)
    async with running_app(chosen) as server:
        store = server.services.fetcher.store
        assert store is not None
        await async_wait_until(lambda: store.stats.files == 2)
        assert await view(server, 2) == 200
        assert len(stored(server)) == 2


def test_two_processes_share_the_limits(tmp_path: Path) -> None:
    """Each knows of what the other has stored."""
    one, other = (FetchedStore(tmp_path, FetchedLimits(1000, None, 0)) for _ in range(2))
    for number in range(20):
        store = (one, other)[number % 2]
        room = store.reserve_file()
        room.reserve(300)
        path = tmp_path / "t" / str(number)
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(bytes(300))
        room.store(path, path.stat())
        room.close()
    assert sorted(os.listdir(tmp_path / "t")) == ["17", "18", "19"]
    one.close()
    other.close()


async def test_free_space_is_made_by_eviction_unless_others_have_taken_it(
    upstream: Upstream, tmp_path: Path
) -> None:
    megabyte = 1_000_000
    for number in range(6):
        upstream.replies[f"/{number}"] = send(padded(number, 2 * megabyte))
    with small_disk(tmp_path / "disk", 12) as disk:
        chosen = settings_below(
            tmp_path,
            source_path=disk.folder,
            fetch=fetch_options(keep_files=100),
            types={"web": {"source": "web", "url": f"{upstream.base}/{{name}}"}},
            cache={"min_free": 4 * megabyte},
        )
        async with running_app(chosen) as server:
            for number in range(6):
                assert await view(server, number) == 200
            assert stored(server)[-1] == "5"
            assert 1 < len(stored(server)) < 5
            assert disk.free >= 4 * megabyte
            before = stored(server)
            disk.fill(leave=0)
            assert_problem(await server.get("/web:0/info.json"), 503, "space")
            assert stored(server) == before
            disk.empty()
