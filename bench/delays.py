"""Proxy that delays each response by a fixed time, as a distant server."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress


class DelayProxy:
    """Proxy whose responses begin a fixed time after their request, or later.

    It supports no pipelining.
    """

    def __init__(self, target: int, seconds: float) -> None:
        self.port = 0
        self.ranges: list[float] = []
        """Seconds that each answer with a part (206) took, until it was passed on."""
        self._target = target
        self._seconds = seconds

    def __repr__(self) -> str:
        return f"<DelayProxy of {self._seconds:g} s>"

    @contextmanager
    def running(self) -> Iterator["DelayProxy"]:
        """Run in a thread while the context is open."""
        loop = asyncio.new_event_loop()
        listening = threading.Event()

        async def listen() -> None:
            server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
            self.port = server.sockets[0].getsockname()[1]
            listening.set()
            with suppress(asyncio.CancelledError):
                await server.serve_forever()

        task = loop.create_task(listen())
        thread = threading.Thread(target=loop.run_until_complete, args=(task,))
        thread.start()
        listening.wait()
        try:
            yield self
        finally:
            loop.call_soon_threadsafe(task.cancel)
            thread.join()

    async def _serve(self, client: asyncio.StreamReader, out: asyncio.StreamWriter) -> None:
        server, into = await asyncio.open_connection("127.0.0.1", self._target)
        asked = 0.0
        clock = asyncio.get_running_loop().time

        async def answer() -> None:
            while data := await server.read(1 << 20):
                await asyncio.sleep(asked + self._seconds - clock())
                if data.startswith(b"HTTP/1.1 206"):
                    self.ranges.append(clock() - asked)
                out.write(data)
                await out.drain()
            out.close()

        answering = asyncio.create_task(answer())
        with suppress(ConnectionError):
            while data := await client.read(1 << 20):
                asked = clock()
                into.write(data)
                await into.drain()
        into.close()
        with suppress(ConnectionError):
            await answering
