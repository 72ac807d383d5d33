"""Two replicas with one bucket: what one has made, the other one serves."""

import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from iiif_server.iiif.identifier import Identifier
from iiif_server.images.keys import group_of
from support import pictures
from support.moto_store import BUCKET, Keys, Store, running_store
from support.relay import Relay
from support.servers import ADMIN_TOKEN, TRUST, ServerProcess, free_port, inherited
from support.upstream import Upstream, send

pytestmark = pytest.mark.e2e

PREFIX = "museum/cache"
TILE = "512,512,512,512/512,/0/default.jpg"
REDUCED = "0,0,2048,2048/512,/0/default.jpg"
REGION = "100,100,700,500/350,/90/gray.png"
PURGE_SECONDS = 15
SETTLE_SECONDS = 60


@dataclass
class Site:
    """A bucket, an upstream with large JPEGs, and a folder for replicas."""

    store: Store
    relay: Relay
    upstream: Upstream
    folder: Path
    stack: ExitStack
    count: int = 0

    def replica(self, port: int | None = None, more: str = "") -> ServerProcess:
        """A further machine: its own disk, the same bucket; `port` is that of another store."""
        self.count += 1
        folder = self.folder / f"replica-{self.count}"
        server = ServerProcess(
            folder,
            f'source_path = "{folder}/source"\ncache_path = "{folder}/cache"\n'
            f"image_pool_size = 2\nsize_pool_size = 1\nfetch.allow_networks = ['127.0.0.0/8']\n"
            f"[types.web]\nsource = 'web'\nurl = '{self.upstream.base}/{{name}}'\n"
            f"[cache]\nshared = 's3://{BUCKET}/{PREFIX}'\n{more}\n"
            f"[cache_bucket]\nendpoint = 'http://127.0.0.1:{port or self.relay.port}'\n"
            "region = 'us-east-1'\naccess_key_id = 'admin'\nsecret_access_key = 'admin'\n",
        )
        server.start()
        self.stack.callback(server.end)
        return server

    def objects(self, keys: Keys | None = None) -> list[str]:
        found = self.store.client("s3", keys).list_objects_v2(Bucket=BUCKET, Prefix=PREFIX)
        return [item["Key"] for item in found.get("Contents", ())]

    def original(self, name: str, seed: int) -> None:
        """An original of 6 megapixels, which gets a pyramid."""
        self.upstream.replies[f"/{name}"] = send(
            pictures.jpeg(pictures.photograph(3000, 2100, seed=seed))
        )

    def settle(self, server: ServerProcess) -> None:
        """Wait until all that a replica has made is in the bucket."""

        def settled() -> bool:
            status = server.status()
            shared = status["shared"]
            idle = not status["pyramids"]["building"] and not shared["waiting"]
            return bool(idle and shared["hits"] + shared["writes"])

        wait_for(settled, SETTLE_SECONDS)


def wait_for(condition: Any, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with (
        running_store() as store,
        Relay(store.port).running() as relay,
        Upstream().running() as upstream,
        ExitStack() as stack,
    ):
        yield Site(store, relay, upstream, tmp_path, stack)


def get(server: ServerProcess, path: str) -> httpx.Response:
    answer = server.get(f"/{path}")
    assert answer.status_code == 200, (path, answer.text)
    return answer


def test_a_replica_serves_what_another_has_made_without_the_original(site: Site) -> None:
    site.original("a.jpg", 1)
    first = site.replica()
    made = {path: get(first, f"web:a.jpg/{path}").content for path in (TILE, REDUCED, REGION)}
    get(first, "web:a.jpg/info.json")
    site.settle(first)
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


def test_a_purge_reaches_the_bucket_and_the_other_replica(site: Site) -> None:
    site.original("a.jpg", 1)
    site.original("b.jpg", 2)
    first, second = site.replica(), site.replica()
    for server in (first, second):
        for name in ("a.jpg", "b.jpg"):
            get(server, f"web:{name}/{TILE}")
            get(server, f"web:{name}/{REGION}")
        site.settle(server)
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

    def files(server: ServerProcess) -> int:
        return sum(group in str(path) for path in (server.folder / "cache").rglob("*.*"))

    wait_for(lambda: files(first) == files(second) == 0, PURGE_SECONDS)
    assert "SharedPurgeSeen" in second.log


@contextmanager
def hanging_store() -> Iterator[int]:
    """A store that accepts connections, and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        held: list[socket.socket] = []

        def accept() -> None:
            while True:
                try:
                    held.append(listener.accept()[0])
                except OSError:
                    return

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        yield int(listener.getsockname()[1])
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()
        for one in held:
            one.close()


@pytest.mark.parametrize("kind", ["refuses", "hangs"])
def test_a_bucket_that_does_not_answer_loses_no_answer(site: Site, kind: str) -> None:
    site.original("a.jpg", 1)
    with ExitStack() as stack:
        port = free_port() if kind == "refuses" else stack.enter_context(hanging_store())
        server = site.replica(port, "shared_timeout = '200 ms'")
        for path in (TILE, REDUCED, REGION, "full/300,/0/default.webp"):
            get(server, f"web:a.jpg/{path}")
        wait_for(lambda: server.status()["shared"]["state"] != "closed", 30)
        # An open circuit breaker costs nothing any more.
        get(server, "web:a.jpg/full/301,/0/default.webp")
        assert server.log.count("SharedCacheFailed") == 1, server.log


def test_a_bucket_that_corrupts_loses_no_answer(site: Site) -> None:
    site.original("a.jpg", 1)
    first = site.replica()
    made = {path: get(first, f"web:a.jpg/{path}").content for path in (TILE, REDUCED, REGION)}
    site.settle(first)
    client = site.store.client("s3")
    names = [name for name in site.objects() if "/entries/" in name]
    for number, name in enumerate(names):
        spoilt = bytearray(client.get_object(Bucket=BUCKET, Key=name)["Body"].read())
        if number % 2:
            del spoilt[len(spoilt) // 2 :]
        else:
            for at in range(20, len(spoilt), 97):
                spoilt[at] ^= 0x5A
        client.put_object(Bucket=BUCKET, Key=name, Body=bytes(spoilt))
    second = site.replica()
    for path, data in made.items():
        assert get(second, f"web:a.jpg/{path}").content == data
    site.settle(second)


def test_a_bucket_that_is_full_loses_no_answer(site: Site) -> None:
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
    wait_for(lambda: server.status()["shared"]["failures"], 30)
    assert site.objects(reader) == []


def test_commands_that_use_a_bucket_end_in_order(tmp_path: Path) -> None:
    """Threads of obstore abort a process in ten, unless they are given the time to end."""
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
        done = subprocess.run(command, env=inherited(), capture_output=True, check=False, text=True)
        assert done.returncode == 1, done
        assert "not in the shared cache: " in done.stderr
