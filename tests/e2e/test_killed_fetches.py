"""Whenever a process is killed that refreshes an original, what is kept is whole and well noted."""

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


def version(number: int) -> bytes:
    """An original that says all over which version it is; some are equally long."""
    return b"\xff\xd8\xff\xe0----" + f"{number:08}".encode() * (1_000_000 + 1000 * (number % 3))


class Changing:
    """An upstream on which an original is another one at each second look."""

    def __init__(self, upstream: Upstream) -> None:
        self._asked = self._answered = 0
        self._counting = threading.Condition()
        upstream.replies["/x"] = self

    def await_answers(self, number: int) -> None:
        """Wait until so many more originals have been sent."""
        with self._counting:
            enough = self._answered + number
            assert self._counting.wait_for(lambda: self._answered >= enough, 60)

    def __call__(self, handler: Handler) -> None:
        with self._counting:
            number = self._asked // 2
            self._asked += 1
        tag = f'"{number}"'
        if handler.headers["If-None-Match"] == tag:
            handler.start(304, {})
        else:
            send(version(number), ETag=tag)(handler)
            with self._counting:
                self._answered += 1
                self._counting.notify_all()


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with running_upstream() as upstream:
        yield upstream


def test_what_is_kept_is_whole_and_its_record_is_its_own(
    tmp_path: Path, upstream: Upstream
) -> None:
    changing = Changing(upstream)
    kept = tmp_path / "web" / "x"
    record = tmp_path / "web" / ".provenance" / f"{sha256(b'x').hexdigest()}.json"
    command = [sys.executable, "-c", SCRIPT, str(tmp_path), upstream.base]
    own = 0
    for round_ in range(ROUNDS):
        with subprocess.Popen(command) as process:
            changing.await_answers(2)
            time.sleep(round_ / 250)  # into what is done then: to disk, into its place, noted
            process.kill()
        content = kept.read_bytes()
        number = int(content[8:16])
        assert content == version(number)
        noted, status = json.loads(record.read_text()), kept.stat()
        if (noted["size"], noted["mtime_ns"]) == (status.st_size, status.st_mtime_ns):
            assert noted["validators"]["etag"] == f'"{number}"'
            own += 1
    assert own  # at most moments it has one
    assert {path.name for path in kept.parent.iterdir()} == {"x", ".provenance"}
    assert [path.name for path in record.parent.iterdir()] == [record.name]
