"""The HTTP edge under clients that do not do their part."""

import asyncio
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import uvicorn

from iiif_server.listening import Listener


class Impatient(Listener):
    """As it is in service, with less patience."""

    head_seconds = 0.2
    stalled_seconds = 0.5


@asynccontextmanager
async def listening(app: Any) -> AsyncIterator[int]:
    """An application behind the edge; yields its port."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        config = uvicorn.Config(
            app, http=Impatient, ws="none", lifespan="off", log_config=None, access_log=False
        )
        server = uvicorn.Server(config)
        serving = asyncio.create_task(server._serve([bound]))
        try:
            while not server.started:  # noqa: ASYNC110 - it sets no event
                await asyncio.sleep(0.01)
            yield bound.getsockname()[1]
        finally:
            server.should_exit = server.force_exit = True  # whoever is still being served
            await serving


async def test_a_client_that_takes_nothing_of_its_answer_is_given_up() -> None:
    ended = asyncio.Event()

    async def endless(_: Any, __: Any, send: Any) -> None:
        length = 1 << 30
        headers = [(b"content-length", str(length).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        for _ in range(length >> 20):  # goes on only while somebody reads, or nobody is there
            await send({"type": "http.response.body", "body": bytes(1 << 20), "more_body": True})
        ended.set()

    async with listening(endless) as port, asyncio.timeout(60):
        _, writer = await asyncio.open_connection("127.0.0.1", port, limit=1)
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        await ended.wait()
        writer.close()


async def test_a_slow_answer_is_not_cut_by_what_the_client_begins_behind_it() -> None:
    go_on = asyncio.Event()

    async def slow(_: Any, __: Any, send: Any) -> None:
        headers = [(b"content-length", b"2")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"o", "more_body": True})
        await go_on.wait()
        await send({"type": "http.response.body", "body": b"k"})

    async with listening(slow) as port, asyncio.timeout(60):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\nGET /half")
        await asyncio.sleep(2 * Impatient.head_seconds)
        go_on.set()
        answer = await reader.read()
        writer.close()
    assert answer.startswith(b"HTTP/1.1 200")
    assert answer.endswith(b"\r\n\r\nok")


def test_a_server_opens_as_many_files_as_it_may() -> None:
    program = """
import resource
from iiif_server.listening import allow_many_files
_, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (64, hard))
allow_many_files()
soft, after = resource.getrlimit(resource.RLIMIT_NOFILE)
assert after == hard
assert soft == min(hard, 65_536), soft
"""
    subprocess.run([sys.executable, "-c", program], check=True)
