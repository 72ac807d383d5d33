"""Draining: the server is not ready, but still responds."""

import asyncio
import signal
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn

from iiif_server.commands.serve.draining import DrainingServer
from iiif_server.server.protocol import Listener
from iiif_server.server.readiness import LEAVING, Draining
from iiif_server.telemetry.events import DrainingBegan, Event
from support.apps import Process, picture, running_process
from support.servers import ADMIN_TOKEN, TRUST
from support.waiting import async_wait_until

LONG = 60
IMAGE = "/disk:pic.jpg/full/50,/0/default.jpg"
REQUEST = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


@pytest.mark.parametrize("processes", ["1", "2"])
def test_after_sigterm_a_server_is_not_ready_and_answers_until_its_time_is_over(
    tmp_path: Path, processes: str
) -> None:
    (tmp_path / "source" / "disk").mkdir(parents=True)
    (tmp_path / "source" / "disk" / "pic.jpg").write_bytes(picture())
    config = tmp_path / "settings.toml"
    config.write_text(
        f'source_path = "{tmp_path}/source"\ncache_path = "{tmp_path}/cache"\n'
        f'image_pool_size = 2\nadmin.token = "{ADMIN_TOKEN}"\n[types.disk]\nsource = "disk"\n'
    )
    arguments = ["--config", str(config), "--workers", processes]
    with (
        running_process(*arguments, environment={"IIIF_HTTP_DRAIN": "10 minutes"}) as process,
        httpx.Client(base_url=process.base, trust_env=False, verify=TRUST, timeout=LONG) as client,
    ):
        process.wait_for_processes(int(processes))
        assert "connection" not in client.get(IMAGE).headers
        assert "connection" not in client.get(IMAGE).headers  # by the fast path
        process.popen.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + LONG
        while any(answer != [LEAVING.text] for answer in unready(process)):
            assert time.monotonic() < deadline
        # The connection from before, its successor, and one for what no cache has.
        for path in (IMAGE, IMAGE, "/disk:pic.jpg/full/51,/0/default.jpg"):
            answer = client.get(path)
            assert (answer.status_code, answer.headers["connection"]) == (200, "close")
        process.popen.send_signal(signal.SIGINT)  # no more time
        _, log = process.popen.communicate(timeout=LONG)
    assert process.popen.returncode == 0
    assert log.count("Application shutdown complete") == int(processes)


def unready(process: Process) -> list[Any]:
    """Why the server is not ready, by so many connections that every process has answered."""
    answers = (httpx.get(f"{process.base}/health/ready", verify=TRUST) for _ in range(20))
    return [answer.json()["reasons"] for answer in answers]


class Held:
    """An application whose answers wait for permission."""

    def __init__(self) -> None:
        self.go_on = asyncio.Event()
        self.asked = 0

    async def __call__(self, _: Any, __: Any, send: Any) -> None:
        self.asked += 1
        await self.go_on.wait()
        headers = [(b"content-length", b"2")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"ok"})


@asynccontextmanager
async def serving(app: Any, seconds: float) -> AsyncIterator[tuple[DrainingServer, int, Any]]:
    """A server that ends while the context is open; its port, and what it told."""
    events: list[Event] = []
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        config = uvicorn.Config(
            app, http=Listener, ws="none", lifespan="off", log_config=None, access_log=False
        )
        server = DrainingServer(config, Draining(), seconds, events.append)
        task = asyncio.create_task(server._serve([bound]))
        async with asyncio.timeout(LONG):
            await async_wait_until(lambda: server.started)
            yield server, bound.getsockname()[1], events
            await task


async def test_requests_that_begin_at_the_end_are_answered() -> None:
    app = Held()
    app.go_on.set()
    async with serving(app, 0) as (server, port, events):
        connected = [await asyncio.open_connection("127.0.0.1", port) for _ in range(3)]
        (idle, _), (new, _), (half, _) = connected
        for (_, writer), data in zip(connected, (REQUEST, b"", REQUEST[:10]), strict=True):
            writer.write(data)
        assert (await idle.readuntil(b"ok")).startswith(b"HTTP/1.1 200")
        connections: Any = server.server_state.connections
        await async_wait_until(
            lambda: len(connections) == 3 and any(one._in_head for one in connections)
        )
        server.handle_exit(signal.SIGTERM, None)
        assert await idle.read() == b""
        assert not server.servers[0].is_serving()
        for (_, writer), data in zip(connected[1:], (REQUEST, REQUEST[10:]), strict=True):
            writer.write(data)
        for reader in (new, half):
            answer = await reader.read()
            assert answer.startswith(b"HTTP/1.1 200")
            assert b"connection: close" in answer
        for _, writer in connected:
            writer.close()
    assert events == [DrainingBegan(0)]


async def test_a_connection_without_a_request_does_not_keep_the_server_from_ending() -> None:
    async with serving(Held(), 0) as (server, port, _):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        await async_wait_until(lambda: len(server.server_state.connections) == 1)
        server.handle_exit(signal.SIGTERM, None)
        assert (await reader.read()).startswith(b"HTTP/1.1 408")
        writer.close()


async def test_requests_that_wait_behind_others_are_answered_before_the_connection_ends() -> None:
    app = Held()
    async with serving(app, LONG) as (server, port, _):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(3 * REQUEST)
        await async_wait_until(lambda: app.asked == 1)
        server.handle_exit(signal.SIGTERM, None)
        app.go_on.set()
        answers = await reader.read()
        assert answers.count(b"HTTP/1.1 200") == 3
        assert answers.count(b"connection: close") == 1
        server.handle_exit(signal.SIGINT, None)
        writer.close()


async def test_a_second_ctrl_c_waits_for_no_request() -> None:
    app = Held()
    async with serving(app, LONG) as (server, port, _):
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(REQUEST)
        await async_wait_until(lambda: app.asked == 1)
        for _ in range(2):
            server.handle_exit(signal.SIGINT, None)
    app.go_on.set()
    writer.close()
