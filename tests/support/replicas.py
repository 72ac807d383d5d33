"""Replicas of a server with one bucket as their shared cache."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from support import pictures
from support.moto_store import BUCKET, Keys, Store, running_store
from support.relay import Relay
from support.servers import ServerProcess
from support.upstream import Upstream, send
from support.waiting import wait_until

PREFIX = "museum/cache"
SETTLE_SECONDS = 60


@dataclass
class Site:
    """Bucket, upstream with large JPEGs, and folder for replicas."""

    store: Store
    relay: Relay
    upstream: Upstream
    folder: Path
    stack: ExitStack
    count: int = 0

    def replica(self, port: int | None = None, more: str = "", top: str = "") -> ServerProcess:
        """Start a replica with its own disk and the same bucket; `port` is that of another store.

        `more` are settings of the cache; `top` are top-level settings.
        """
        self.count += 1
        folder = self.folder / f"replica-{self.count}"
        server = ServerProcess(
            folder,
            f'source_path = "{folder}/source"\ncache_path = "{folder}/cache"\n{top}\n'
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

    def original(self, name: str, seed: int, width: int = 3000, height: int = 2100) -> None:
        """Create an original; one of 6 MP gets a pyramid."""
        self.upstream.replies[f"/{name}"] = send(
            pictures.jpeg(pictures.photograph(width, height, seed=seed))
        )

    def wait_until_uploaded(self, server: ServerProcess) -> None:
        """Wait until the bucket has all that a replica has rendered."""

        def settled() -> bool:
            status = server.status()
            shared = status["shared"]
            idle = not status["pyramids"]["building"] and not shared["waiting"]
            return bool(idle and shared["hits"] + shared["writes"])

        wait_until(settled, SETTLE_SECONDS)


@contextmanager
def running_site(folder: Path) -> Iterator[Site]:
    """Run a bucket and an upstream; replicas end with the context."""
    with (
        running_store() as store,
        Relay(store.port).running() as relay,
        Upstream().running() as upstream,
        ExitStack() as stack,
    ):
        yield Site(store, relay, upstream, folder, stack)
