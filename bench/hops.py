"""Hops: distinct functions and modules of iiif_server that one tile request enters.

`make hops` counts them with `sys.setprofile`, in the server process and in the worker: for an
image that was never requested, for a known image whose tile has to be rendered, for a tile in the
response cache, and for one in the store on disk.
"""

import asyncio
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

from PIL import Image
from starlette.types import Scope

from iiif_server.app import create_app
from iiif_server.codecs import jobs
from iiif_server.settings import Settings

TILE = "/disk:a.jpg/256,256,256,256/200,/0/default.jpg"
OTHER = "/disk:a.jpg/512,256,256,256/200,/0/default.jpg"
_MODULE = "iiif_server"


@dataclass
class Hops:
    """Functions and modules that were entered."""

    functions: set[CodeType] = field(default_factory=set)
    modules: set[str] = field(default_factory=set)

    def enter(self, frame: FrameType, event: str, _: Any) -> None:
        """Count the function of a frame; comprehensions and properties count as any other."""
        module = str(frame.f_globals.get("__name__", ""))
        if event == "call" and module.startswith(_MODULE) and "<" not in frame.f_code.co_name:
            self.functions.add(frame.f_code)
            self.modules.add(module)

    def __str__(self) -> str:
        return f"{len(self.functions)} functions in {len(self.modules)} modules"


@contextmanager
def counting_hops() -> Iterator[Hops]:
    """Count the functions that all threads enter."""
    hops = Hops()
    threading.setprofile(hops.enter)  # of threads that start now
    sys.setprofile(hops.enter)
    try:
        yield hops
    finally:
        sys.setprofile(None)
        threading.setprofile(None)


async def request(app: Any, path: str) -> bytes:
    """Answer a GET as the protocol does: by the fast path, or by the application."""
    scope: Scope = {
        "type": "http",
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [(b"host", b"bench"), (b"accept", b"image/*")],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 80),
    }
    pieces = app.state.direct(scope)
    if pieces is not None:
        return bytes(pieces[-1])
    body: list[bytes] = []

    async def receive() -> dict[str, Any]:
        await asyncio.Event().wait()
        raise AssertionError

    async def send(message: Any) -> None:
        body.append(message.get("body", b""))

    await app(scope, receive, send)
    return b"".join(body)


async def measure(folder: Path) -> Iterator[tuple[str, Hops, Hops]]:
    """Return the hops in server and worker, by the state of the server."""
    (folder / "disk").mkdir()
    noise = Image.effect_noise((1600, 1200), 60).convert("RGB")
    noise.save(folder / "disk" / "a.jpg", quality=90)
    settings = Settings.model_validate(
        {
            "source_path": folder,
            "cache_path": folder / "cache",
            "types": {"disk": {"source": "disk"}},
            "image_pool_size": 1,
        }
    )
    app = create_app(settings, lambda _: None)
    rows = []
    async with app.router.lifespan_context(app):
        pool = app.state.services.image_pool
        run, planned = pool.run, []

        async def watched(function: Callable[..., Any], argument: Any, **named: Any) -> Any:
            planned.append(argument)
            return await run(function, argument, **named)

        pool.run = watched
        states = ("cold", TILE), ("known image", OTHER), ("cached", OTHER), ("stored", OTHER)
        for state, path in states:
            planned.clear()
            if state == "stored":
                app.state.services.responses.clear()
            with counting_hops() as server:
                data = await request(app, path)
            if not data.startswith(b"\xff\xd8"):
                raise SystemExit(f"{path} was not answered")
            with counting_hops() as worker:
                for plan in planned:
                    jobs.render(plan)
            rows.append((state, server, worker))
    return iter(rows)


def main() -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory() as folder:
        print(f"{'':12}  {'server process':34}  worker")
        for state, server, worker in asyncio.run(measure(Path(folder))):
            print(f"{state:12}  {server!s:34}  {worker}")


if __name__ == "__main__":
    main()
