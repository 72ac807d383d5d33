"""Clients that disconnect from a real HTTP server: their work is cancelled."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import uvicorn
from PIL import Image

from iiif_server.app import create_app
from iiif_server.server.services import Services
from iiif_server.telemetry.events import Event, Rendered
from support.apps import picture, settings_below
from support.waiting import async_wait_until


class Listening:
    """The application behind uvicorn."""

    def __init__(self, services: Services, port: int, events: list[Event]) -> None:
        self.services = services
        self.port = port
        self.events = events

    @property
    def rendered(self) -> int:
        return sum(isinstance(event, Rendered) for event in self.events)

    async def connect(self) -> "Connection":
        return Connection(*await asyncio.open_connection("127.0.0.1", self.port))


class Connection:
    """One client's connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    def ask(self, path: str) -> None:
        self._writer.write(f"GET {path} HTTP/1.1\r\nHost: test\r\n\r\n".encode())

    async def answer(self) -> tuple[int, bytes]:
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode().lower()
        length = int(head.partition("content-length: ")[2].partition("\r\n")[0])
        return int(head.split()[1]), await self._reader.readexactly(length)

    def leave(self) -> None:
        """Be gone without a word."""
        self._writer.transport.abort()


@asynccontextmanager
async def listening(folder: Path) -> AsyncIterator[Listening]:
    """A server with one image process, and two originals, whose headers it knows."""
    events: list[Event] = []
    settings = settings_below(folder, types={"disk": {"source": "disk"}})
    place = settings.source_path / "disk"
    place.mkdir(parents=True)
    Image.effect_noise((2400, 1800), 60).convert("RGB").save(place / "large.png", compress_level=1)
    (place / "pic.jpg").write_bytes(picture())
    app = create_app(settings, events.append)
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None))
    serving = asyncio.create_task(server.serve())
    await async_wait_until(lambda: server.started, 60)
    try:
        port = server.servers[0].sockets[0].getsockname()[1]
        running = Listening(app.state.services, port, events)
        connection = await running.connect()
        for name in ("large.png", "pic.jpg"):
            connection.ask(f"/disk:{name}/info.json")
            assert (await connection.answer())[0] == 200
        connection.leave()
        yield running
    finally:
        server.should_exit = True
        await serving


SLOW = "/disk:large.png/full/max/33/default.png"
"""Takes a second or so."""
OTHER = "/disk:pic.jpg/full/60,/0/default.jpg"
THIRD = "/disk:pic.jpg/full/50,/0/default.jpg"


async def test_a_client_who_leaves_takes_what_waits_for_him_out_of_the_queue(
    tmp_path: Path,
) -> None:
    async with listening(tmp_path) as server:
        pool = server.services.image_pool
        patient, impatient = await server.connect(), await server.connect()
        patient.ask(SLOW)
        await async_wait_until(lambda: pool.stats.busy == 1)
        impatient.ask(OTHER)
        await async_wait_until(lambda: pool.stats.waiting == 1)
        impatient.leave()
        await async_wait_until(lambda: pool.stats.waiting == 0)
        assert (await patient.answer())[0] == 200
        assert server.rendered == 1
        patient.ask(THIRD)
        assert (await patient.answer())[0] == 200
        patient.leave()


async def test_what_two_wait_for_is_done_though_one_leaves(tmp_path: Path) -> None:
    async with listening(tmp_path) as server:
        pool = server.services.image_pool
        first, second, third = [await server.connect() for _ in range(3)]
        first.ask(SLOW)
        await async_wait_until(lambda: pool.stats.busy == 1)
        second.ask(OTHER)
        await async_wait_until(lambda: pool.stats.waiting == 1)
        third.ask(OTHER)
        await asyncio.sleep(0.1)
        second.leave()
        assert (await third.answer())[0] == 200
        assert pool.stats.waiting == 0
        for connection in (first, third):
            connection.leave()


async def test_what_has_begun_is_finished_and_kept(tmp_path: Path) -> None:
    async with listening(tmp_path) as server:
        pool, client = server.services.image_pool, await server.connect()
        client.ask(SLOW)
        await async_wait_until(lambda: pool.stats.busy == 1)
        await asyncio.sleep(0.1)
        client.leave()
        await async_wait_until(lambda: server.rendered == 1, 60)
        again = await server.connect()
        again.ask(SLOW)
        assert (await again.answer())[0] == 200
        assert server.rendered == 1
        again.leave()


async def test_who_waits_long_keeps_his_connection(tmp_path: Path) -> None:
    """Watching for clients who leave takes nothing from what they send next."""
    async with listening(tmp_path) as server:
        client = await server.connect()
        for path in (SLOW, OTHER, SLOW, THIRD):
            client.ask(path)
            assert (await client.answer())[0] == 200
        client.ask("/disk:large.png/full/max/44/default.png")
        client.ask(OTHER)  # sent before the answer to the first
        assert [(await client.answer())[0] for _ in range(2)] == [200, 200]
        client.leave()
