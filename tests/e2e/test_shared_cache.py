"""Two replicas with one bucket: each serves what the other has rendered."""

import asyncio
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from iiif_server.commands.check import check_shared_cache
from iiif_server.iiif.identifier import Identifier
from iiif_server.images.keys import group_of
from iiif_server.settings import Settings
from support.moto_store import BUCKET
from support.replicas import PREFIX, Site, running_site
from support.servers import ADMIN_TOKEN, TRUST, ServerProcess, free_port, server_environment
from support.waiting import wait_until

pytestmark = pytest.mark.e2e

TILE = "512,512,512,512/512,/0/default.jpg"
REDUCED = "0,0,2048,2048/512,/0/default.jpg"
REGION = "100,100,700,500/350,/90/gray.png"
PURGE_SECONDS = 15


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with running_site(tmp_path) as running:
        yield running


def get(server: ServerProcess, path: str) -> httpx.Response:
    answer = server.get(f"/{path}")
    assert answer.status_code == 200, (path, answer.text)
    return answer


def test_replica_serves_images_of_another_without_fetching_the_original(site: Site) -> None:
    site.original("a.jpg", 1)
    first = site.replica()
    made = {path: get(first, f"web:a.jpg/{path}").content for path in (TILE, REDUCED, REGION)}
    get(first, "web:a.jpg/info.json")
    site.wait_until_uploaded(first)
    assert site.upstream.count("/a.jpg") == 1
    second = site.replica()
    site.relay.reset()
    assert get(second, f"web:a.jpg/{TILE}").content == made[TILE]
    tiles = [line for line in site.relay.requests if line.startswith("GET")]
    assert len(tiles) <= 4, tiles  # record, table, tile; and the whole part behind them
    assert get(second, "web:a.jpg/info.json").json()["width"] == 3000
    for path, data in made.items():
        assert get(second, f"web:a.jpg/{path}").content == data
    assert site.upstream.count("/a.jpg") == 1
    # What nobody has made needs the original, once.
    get(second, "web:a.jpg/10,10,1500,1500/300,/0/bitonal.png")
    assert site.upstream.count("/a.jpg") == 2
    assert "Traceback" not in second.log


def test_purge_deletes_in_the_bucket_and_in_the_other_replica(site: Site) -> None:
    site.original("a.jpg", 1)
    site.original("b.jpg", 2)
    first, second = site.replica(), site.replica()
    for server in (first, second):
        for name in ("a.jpg", "b.jpg"):
            get(server, f"web:{name}/{TILE}")
            get(server, f"web:{name}/{REGION}")
        site.wait_until_uploaded(server)
    before = len(site.objects())
    purge = httpx.delete(
        f"{first.url}/admin/cache/web:a.jpg",
        headers={"Authorization": f"Bearer {ADMIN_TOKEN}"},
        trust_env=False,
        verify=TRUST,
        timeout=60,
    )
    assert purge.status_code == 200, purge.text
    assert not [name for name in site.objects() if group_of(Identifier("web", "a.jpg")) in name]
    left = [name for name in site.objects() if "/entries/" in name]
    assert 0 < len(left) < before

    group = group_of(Identifier("web", "a.jpg"))

    def count_cache_files(server: ServerProcess) -> int:
        return sum(group in str(path) for path in (server.folder / "cache").rglob("*.*"))

    wait_until(lambda: count_cache_files(first) == count_cache_files(second) == 0, PURGE_SECONDS)
    assert "SharedPurgeSeen" in second.log


def test_purge_during_an_outage_is_repeated_until_the_bucket_is_back(site: Site) -> None:
    site.original("a.jpg", 1)
    server = site.replica()
    get(server, f"web:a.jpg/{TILE}")
    site.wait_until_uploaded(server)
    site.relay.last = 0  # the store vanishes
    purge = httpx.delete(
        f"{server.url}/admin/cache/web:a.jpg",
        headers={"Authorization": f"Bearer {ADMIN_TOKEN}"},
        trust_env=False,
        verify=TRUST,
        timeout=120,
    )
    assert purge.status_code == 503
    assert "repeated in the shared cache until it succeeds" in purge.text
    server.kill()
    server.start()
    assert [name for name in site.objects() if "/entries/" in name]
    site.relay.last = None
    wait_until(lambda: not [name for name in site.objects() if "/entries/" in name])


@contextmanager
def hanging_store() -> Iterator[int]:
    """Store that accepts connections and never answers; yield its port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        connections: list[socket.socket] = []

        def accept() -> None:
            while True:
                try:
                    connections.append(listener.accept()[0])
                except OSError:
                    return

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        yield int(listener.getsockname()[1])
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()
        for one in connections:
            one.close()


@pytest.mark.parametrize("kind", ["refuses", "hangs"])
def test_unavailable_bucket_fails_no_request(site: Site, kind: str) -> None:
    site.original("a.jpg", 1)
    with ExitStack() as stack:
        port = free_port() if kind == "refuses" else stack.enter_context(hanging_store())
        server = site.replica(port, "shared_timeout = '200 ms'")
        for path in (TILE, REDUCED, REGION, "full/300,/0/default.webp"):
            get(server, f"web:a.jpg/{path}")
        wait_until(lambda: server.status()["shared"]["state"] != "closed", 30)
        # An open circuit breaker costs nothing any more.
        get(server, "web:a.jpg/full/301,/0/default.webp")
        assert server.log.count("SharedCacheFailed") == 1, server.log


def test_corrupted_objects_in_the_bucket_fail_no_request(site: Site) -> None:
    site.original("a.jpg", 1)
    first = site.replica()
    made = {path: get(first, f"web:a.jpg/{path}").content for path in (TILE, REDUCED, REGION)}
    site.wait_until_uploaded(first)
    client = site.store.client("s3")
    names = [name for name in site.objects() if "/entries/" in name]
    for number, name in enumerate(names):
        corrupted = bytearray(client.get_object(Bucket=BUCKET, Key=name)["Body"].read())
        if number % 2:
            del corrupted[len(corrupted) // 2 :]
        else:
            for at in range(20, len(corrupted), 97):
                corrupted[at] ^= 0x5A
        client.put_object(Bucket=BUCKET, Key=name, Body=bytes(corrupted))
    second = site.replica()
    for path, data in made.items():
        assert get(second, f"web:a.jpg/{path}").content == data
    site.wait_until_uploaded(second)


def test_bucket_without_write_permission_fails_no_request(site: Site) -> None:
    site.original("a.jpg", 1)
    reader = site.store.user("reader", ["s3:GetObject", "s3:ListBucket"])
    site.store.lock()
    server = site.replica()
    server.end()
    keys = server.settings.replace("_id = 'admin'", f"_id = '{reader.key}'")
    server.configure(keys.replace("_key = 'admin'", f"_key = '{reader.secret}'"))
    server.start()
    for path in (TILE, REDUCED, REGION):
        get(server, f"web:a.jpg/{path}")
    wait_until(lambda: server.status()["shared"]["failures"], 30)
    assert site.objects(reader) == []


@pytest.mark.parametrize("last", [0, 3_000, 100_000])
def test_bucket_that_vanishes_in_the_middle_of_an_object_loses_no_response(
    site: Site, last: int
) -> None:
    site.original("a.jpg", 1)
    first = site.replica()
    made = {path: get(first, f"web:a.jpg/{path}").content for path in (TILE, REDUCED, REGION)}
    site.wait_until_uploaded(first)
    second = site.replica()
    site.relay.reset()
    site.relay.last = last
    for path, data in made.items():
        assert get(second, f"web:a.jpg/{path}").content == data
    assert site.relay.received > last
    # What has arrived in part is in no cache: the next replica and process find whole images.
    site.relay.last = None
    second.end()
    second.start()
    for path, data in made.items():
        assert get(second, f"web:a.jpg/{path}").content == data
    assert "Traceback" not in second.log


def test_a_server_with_other_settings_takes_nothing_wrong_from_the_bucket(site: Site) -> None:
    site.original("a.jpg", 1)
    site.original("other/a.jpg", 2, 2900, 2200)
    first = site.replica()
    tile = get(first, f"web:a.jpg/{TILE}").content
    region = "100,100,700,500/350,/90/gray.jpg"
    made = get(first, f"web:a.jpg/{region}").content
    site.wait_until_uploaded(first)

    def answers(old: str, new: str) -> tuple[bytes, bytes, dict[str, Any]]:
        server = site.replica()
        server.end()
        server.configure(server.settings.replace(old, new))
        server.start()
        paths = (TILE, region, "info.json")
        one, two, three = (get(server, f"web:a.jpg/{path}") for path in paths)
        site.wait_until_uploaded(server)
        return one.content, two.content, three.json()

    # Another upstream: other originals have the same identifiers.
    url = f"{site.upstream.base}/{{name}}"
    other = answers(url, f"{site.upstream.base}/other/{{name}}")
    assert (other[2]["width"], other[2]["height"]) == (2900, 2200)
    assert other[0] != tile
    assert other[1] != made
    # Other tiles, and another quality.
    smaller = answers("[types.web]", "[pyramids]\ntile_size = 256\n[types.web]")
    assert smaller[2]["tiles"][0]["width"] == 256
    coarse = answers("[types.web]", "[encoding]\njpeg_quality = 10\n[types.web]")
    assert len(coarse[1]) < len(made) / 2
    # The first settings again: nothing that the others have written is in the way.
    assert answers("[types.web]", "[types.web]")[:2] == (tile, made)


def test_check_names_the_permission_that_is_missing(site: Site) -> None:
    actions = ("ListBucket", "PutObject", "GetObject", "DeleteObject")
    users = [
        site.store.user(f"user{count}", [f"s3:{action}" for action in actions[:count]])
        for count in range(len(actions) + 1)
    ]
    site.store.lock()
    found = []
    for user in users:
        settings = Settings(
            cache={"shared": f"s3://{BUCKET}/{PREFIX}"},
            cache_bucket={
                "endpoint": site.store.url,
                "region": "us-east-1",
                "access_key_id": user.key,
                "secret_access_key": user.secret,
            },
        )
        found += asyncio.run(check_shared_cache(settings))
    assert [finding.ok for finding in found] == [False, False, False, False, True]
    for finding, done in zip(found, ("listed", "written", "read", "deleted from"), strict=False):
        assert f"cannot be {done}: " in finding.text
        assert "AccessDenied" in finding.text


def test_commands_with_a_bucket_exit_without_abort(tmp_path: Path) -> None:
    """Threads of obstore abort one process in ten, unless they have time to end."""
    (tmp_path / "source").mkdir()
    config = tmp_path / "settings.toml"
    config.write_text(
        f'source_path = "{tmp_path}/source"\ncache_path = "{tmp_path}/cache"\n'
        f"cache.shared = 's3://{BUCKET}/{PREFIX}'\n"
        f"cache_bucket.endpoint = 'http://127.0.0.1:{free_port()}'\n"
        "cache_bucket.access_key_id = 'admin'\ncache_bucket.secret_access_key = 'admin'\n"
    )
    command = [sys.executable, "-m", "iiif_server", "cache", "purge", "--config", str(config)]
    for _ in range(20):
        done = subprocess.run(
            command, env=server_environment(), capture_output=True, check=False, text=True
        )
        assert done.returncode == 1, done
        assert "not yet in the shared cache: " in done.stderr
