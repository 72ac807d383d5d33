"""Kill of a process that refreshes an original: the stored file and its record stay consistent."""

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest

from support.upstream import Handler, Upstream, running_upstream, send

pytestmark = pytest.mark.e2e

ROUNDS = 16
SCRIPT = """
import asyncio, sys
from ipaddress import ip_network
from pathlib import Path

from iiif_server.sources.base import SourceContext
from iiif_server.sources.fetching import Fetcher, FetchOptions
from iiif_server.sources.web import WebOptions, WebSource

async def main(root, base):
    options = FetchOptions(
        allow_networks=(ip_network("127.0.0.1/32"),),
        refresh_after=0.000_001,
        refresh_wait=60,
    )
    fetcher = Fetcher(options, 1, root / ".incoming")
    context = SourceContext("web", root / "web", fetcher, lambda _: None)
    source = WebSource(context, WebOptions(source="web", url=base + "/{name}"))
    while True:
        async with source.hold("x"):
            pass

asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))
"""


def content_of_version(number: int) -> bytes:
    """Return an original that repeats its version number; some versions have equal lengths."""
    return b"\xff\xd8\xff\xe0----" + f"{number:08}".encode() * (1_000_000 + 1000 * (number % 3))


class ChangingOriginal:
    """Reply of an upstream whose original changes at each second request."""

    def __init__(self, upstream: Upstream) -> None:
        self._requests = self._sent = 0
        self._condition = threading.Condition()
        upstream.replies["/x"] = self

    def wait_for_responses(self, number: int) -> None:
        """Wait until the upstream has sent so many more originals."""
        with self._condition:
            enough = self._sent + number
            assert self._condition.wait_for(lambda: self._sent >= enough, 60)

    def __call__(self, handler: Handler) -> None:
        with self._condition:
            number = self._requests // 2
            self._requests += 1
        tag = f'"{number}"'
        if handler.headers["If-None-Match"] == tag:
            handler.start(304, {})
        else:
            send(content_of_version(number), ETag=tag)(handler)
            with self._condition:
                self._sent += 1
                self._condition.notify_all()


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with running_upstream() as upstream:
        yield upstream


def test_killed_refresh_leaves_a_complete_original_and_its_own_record(
    tmp_path: Path, upstream: Upstream
) -> None:
    original = ChangingOriginal(upstream)
    kept = tmp_path / "web" / "x"
    record = tmp_path / "web" / ".provenance" / f"{sha256(b'x').hexdigest()}.json"
    command = [sys.executable, "-c", SCRIPT, str(tmp_path), upstream.base]
    matching = 0
    for round_ in range(ROUNDS):
        with subprocess.Popen(command) as process:
            original.wait_for_responses(2)
            time.sleep(round_ / 250)  # into what is done then: to disk, into its place, noted
            process.kill()
        content = kept.read_bytes()
        number = int(content[8:16])
        assert content == content_of_version(number)
        provenance, status = json.loads(record.read_text()), kept.stat()
        if (provenance["size"], provenance["mtime_ns"]) == (status.st_size, status.st_mtime_ns):
            assert provenance["validators"]["etag"] == f'"{number}"'
            matching += 1
    assert matching  # at most moments it has one
    assert {path.name for path in kept.parent.iterdir()} == {"x", ".provenance"}
    assert [path.name for path in record.parent.iterdir()] == [record.name]
