"""Hanging mount (a real FUSE file system): only its own type is unavailable."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from iiif_server.images.registry import REVALIDATE_SECONDS
from support.apps import picture
from support.hanging import HangingMount, hanging_mount
from support.servers import ADMIN_TOKEN, ServerProcess

TIMEOUT = 60.0
"""Seconds for an answer. The mount never answers, so whoever waits for it takes longer."""
VIEWERS = 24


@dataclass
class MountedServer:
    """Server with three types, one of which is on the mount."""

    server: ServerProcess
    mount: HangingMount

    async def get_all(self, *paths: str) -> list[httpx.Response]:
        """Return the responses to simultaneous requests."""
        async with httpx.AsyncClient(timeout=TIMEOUT, trust_env=False) as client:
            urls = [f"{self.server.url}{path}" for path in paths]
            headers = {"Authorization": f"Bearer {ADMIN_TOKEN}"}
            return await asyncio.gather(*(client.get(url, headers=headers) for url in urls))


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[MountedServer]:
    files = {"pic.jpg": picture(), "other.jpg": picture(80, 50), "late.jpg": picture(90, 40)}
    for type_ in ("disk", "more"):
        folder = tmp_path / "source" / type_
        folder.mkdir(parents=True)
        for name, data in files.items():
            (folder / name).write_bytes(data)
    settings = (
        f"source_path = '{tmp_path}/source'\ncache_path = '{tmp_path}/cache'\n"
        "image_pool_size = 2\nsize_pool_size = 1\nlimits.storage_timeout = 1\n"
        "[types]\ndisk.source = 'disk'\nmore.source = 'disk'\nremote.source = 'disk'\n"
    )
    with hanging_mount(tmp_path / "source" / "remote", files) as mount:
        server = ServerProcess(tmp_path / "server", settings)
        server.start()
        try:
            yield MountedServer(server, mount)
        finally:
            mount.abort()  # first, as whoever waits for it cannot be killed before
            if server.is_running:
                server.kill()


async def test_hanging_mount_makes_only_its_own_type_unavailable(mounted: MountedServer) -> None:
    (before,) = await mounted.get_all("/remote:pic.jpg/full/40,/0/default.jpg")
    assert before.status_code == 200
    mounted.mount.hang()
    await asyncio.sleep(REVALIDATE_SECONDS)  # what was read just now is answered until then
    remote = [
        "/remote:pic.jpg/full/41,/0/default.jpg",
        "/remote:other.jpg/info.json",
        "/remote:late.jpg/full/max/0/default.jpg",
        "/remote:pic.jpg/manifest.json",
        "/remote/collection.json",
        "/?folder=remote",
    ] * (VIEWERS // 6)
    others = [
        "/disk:pic.jpg/full/42,/0/default.jpg",
        "/disk:other.jpg/info.json",
        "/more:late.jpg/full/max/0/default.jpg",
        "/more/collection.json",
        "/health",
        "/health/ready",
        "/metrics",
        "/status",
        "/admin/status",
        "/",
    ]
    answers = await mounted.get_all(*remote, *others)
    for path, answer in zip(remote, answers, strict=False):
        assert answer.status_code == 503, f"{path}: {answer.text}"
        assert "The storage of the type remote does not answer." in answer.text
        assert answer.headers["retry-after"]
    for path, answer in zip(others, answers[len(remote) :], strict=True):
        assert answer.status_code == 200, f"{path}: {answer.text}"
    assert [answer.status_code for answer in await mounted.get_all(*others)] == [200] * len(others)
    assert mounted.server.log.count("StorageSilent type='remote'") == 1
    mounted.mount.resume()
    async with asyncio.timeout(TIMEOUT):
        while True:
            (again,) = await mounted.get_all(remote[0])
            if again.status_code == 200:
                break
            await asyncio.sleep(0.2)


async def test_server_stops_while_a_mount_hangs(mounted: MountedServer) -> None:
    mounted.mount.hang()
    answers = await mounted.get_all(*["/remote:pic.jpg/info.json"] * VIEWERS)
    assert {answer.status_code for answer in answers} == {503}
    mounted.server.end()


async def test_server_starts_while_a_mount_hangs(
    mounted: MountedServer,
) -> None:
    mounted.server.end()
    mounted.mount.hang()
    mounted.server.start()
    answers = await mounted.get_all(
        "/disk:pic.jpg/info.json", "/remote:pic.jpg/info.json", "/health"
    )
    assert [answer.status_code for answer in answers] == [200, 503, 200]
