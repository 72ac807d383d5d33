"""The application as its clients see it: in this process, or in one of its own."""

import asyncio
import io
import os
import signal
import subprocess
import sys
import time
from base64 import urlsafe_b64encode
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import unquote

import httpx
from fastapi import APIRouter, FastAPI
from PIL import Image
from starlette.routing import BaseRoute

from iiif_server.app import create_app
from iiif_server.codecs import jpegtran
from iiif_server.images.registry import REVALIDATE_SECONDS
from iiif_server.server.services import Services
from iiif_server.settings import Settings
from iiif_server.sources.fetching import FetchOptions
from iiif_server.telemetry.events import Event
from support.servers import ADMIN_TOKEN, free_port

LOOPBACK = (IPv4Network("127.0.0.0/8"),)
"""For `fetch.allow_networks`: where the upstream is."""
PEER = ("127.0.0.1", 50_000)
"""Whom requests come from, unless a test says otherwise."""

TURBOJPEG = os.environ.get("IIIF_WORKERS__TURBOJPEG", "auto")
"""The library that tests run with, unless they choose one."""

Kind = TypeVar("Kind", bound=Event)


def cutting_engine() -> str:
    """What makes regions of JPEGs on their grid here: jpegtran, where there is its library."""
    return "jpegtran" if jpegtran.available() else "raster"


@dataclass(frozen=True)
class Server:
    """An application that runs in this process."""

    app: FastAPI
    client: httpx.AsyncClient
    settings: Settings
    events: list[Event] = field(default_factory=list)

    @property
    def services(self) -> Services:
        services: Services = self.app.state.services
        return services

    def seen(self, kind: type[Kind]) -> list[Kind]:
        """The events of one kind, in the order in which they happened."""
        return [event for event in self.events if isinstance(event, kind)]

    def original(self, type_: str, name: str) -> Path:
        """Where an original of a type is kept."""
        return self.settings.source_path / type_ / name

    def remove(self, type_: str, name: str) -> None:
        """Remove an original and what the server knows of it, as if a second had passed."""
        self.original(type_, name).unlink()
        self.services.images._images.clear()

    def put(self, type_: str, name: str, data: bytes) -> Path:
        """Keep an original, as an operator would."""
        path = self.original(type_, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return path

    async def get(self, path: str, **headers: str) -> httpx.Response:
        """The answer to a GET; `If_None_Match=...` and the like are its headers."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.client.get(path, headers=named)

    async def admin(self, method: str, path: str, **query: str) -> httpx.Response:
        """The answer to those who run the server."""
        headers = {"Authorization": f"Bearer {ADMIN_TOKEN}"}
        return await self.client.request(method, f"/admin{path}", params=query, headers=headers)

    async def status(self) -> Any:
        """What the server says of itself to those who run it."""
        return (await self.admin("GET", "/status")).raise_for_status().json()

    async def get_raw(
        self,
        target: bytes,
        headers: list[tuple[bytes, bytes]] | None = None,
        peer: tuple[str, int] = PEER,
        method: str = "GET",
    ) -> httpx.Response:
        """The answer to a request whose path goes in letter by letter."""
        return await raw_request(self.app, target, headers, peer, method)


def routes_of(app: FastAPI) -> Iterator[BaseRoute]:
    """All routes of an application in the order in which they are tried, those of routers too."""
    for route in app.routes:
        router: APIRouter | None = getattr(route, "original_router", None)
        yield from [route] if router is None else router.routes


async def raw_request(
    app: FastAPI,
    target: bytes,
    headers: list[tuple[bytes, bytes]] | None = None,
    peer: tuple[str, int] = PEER,
    method: str = "GET",
) -> httpx.Response:
    """What an application answers to a scope that is built as uvicorn would build it."""
    path, _, query = target.partition(b"?")
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": unquote(path.decode("ascii")),
        "raw_path": path,
        "query_string": query,
        "root_path": "",
        "headers": [(b"host", b"test")] if headers is None else headers,
        "client": peer,
        "server": ("test", 80),
    }
    messages: list[Any] = []
    received, gone = asyncio.Event(), asyncio.Event()

    async def receive() -> dict[str, Any]:
        if not received.is_set():
            received.set()
            return {"type": "http.request", "body": b"", "more_body": False}
        await gone.wait()  # like a client that stays on the line
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        messages.append(message)

    await app(scope, receive, send)
    gone.set()
    body = b"".join(item.get("body", b"") for item in messages[1:])
    return httpx.Response(messages[0]["status"], headers=messages[0]["headers"], content=body)


def scope_of(path: str) -> dict[str, Any]:
    """What a GET without a query is for the edge."""
    return {
        "type": "http",
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": [(b"host", b"test")],
        "client": ("127.0.0.1", 50_000),
    }


def settings_below(root: Path, **settings: Any) -> Settings:
    """Settings for small pools, with all folders below one."""
    small: dict[str, Any] = {
        "source_path": root / "source",
        "cache_path": root / "cache",
        "size_pool_size": 1,
        "image_pool_size": 1,
        "admin": {"token": ADMIN_TOKEN},
    }
    chosen = Settings(**(small | settings))
    if "turbojpeg" not in chosen.workers.model_fields_set:
        workers = chosen.workers.model_copy(update={"turbojpeg": TURBOJPEG})
        chosen = chosen.model_copy(update={"workers": workers})
    if "memory_bytes" in chosen.cache.model_fields_set:
        return chosen
    # Most tests are about what is behind the memory tier.
    return chosen.model_copy(update={"cache": chosen.cache.model_copy(update={"memory_bytes": 0})})


async def no_longer_trusted() -> None:
    """Wait until a version of an original is not taken for the present one without looking."""
    await asyncio.sleep(REVALIDATE_SECONDS)


def fetching(**options: Any) -> FetchOptions:
    """Options under which the upstream may be fetched from, and failures are soon forgotten."""
    return FetchOptions(**{"allow_networks": LOOPBACK, "failure_ttl": 0.0, **options})


def web_settings(root: Path, base: str, **options: Any) -> Settings:
    """Settings with a type `web`, whose originals are below a URL, and options of `fetch`."""
    types = {"web": {"source": "web", "url": f"{base}/{{name}}"}}
    return settings_below(root, types=types, fetch=fetching(**options))


def encoded(url: str | bytes) -> str:
    """The name of a URL in base 64, padded, as Python's encoder gives it."""
    data = url if isinstance(url, bytes) else url.encode()
    return urlsafe_b64encode(data).decode("ascii")


@asynccontextmanager
async def running_app(settings: Settings, **transport: Any) -> AsyncIterator[Server]:
    """The application with its lifespan, and a client of it."""
    events: list[Event] = []
    app = create_app(settings, events.append)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(
            transport=httpx.ASGITransport(app, client=PEER, **transport), base_url="http://test"
        ) as client,
    ):
        yield Server(app, client, settings, events)


def assert_problem(response: httpx.Response, code: int, *words: str) -> str:
    """That an answer is a refusal as all are: a sentence in JSON, for all origins, not kept."""
    assert response.status_code == code, response.text
    assert response.headers["content-type"] == "application/json"
    assert response.headers["access-control-allow-origin"] == "*"
    assert response.headers["cache-control"] == "no-store"
    content = response.json()
    assert list(content) == ["error"]
    sentence: str = content["error"]
    assert sentence[0].isupper(), sentence
    assert sentence.endswith((".", "?")), sentence
    for revealing in ("127.0.0.1", "localhost", "http:", "Traceback", "Errno", "/tmp"):  # noqa: S108
        assert revealing not in sentence, sentence
    for word in words:
        assert word in sentence, sentence
    return sentence


def lasting(headers: httpx.Headers) -> dict[str, str]:
    """The header fields of an answer that would be the same if it were given again."""
    return {
        name: value
        for name, value in headers.items()
        if name not in {"server-timing", "x-request-id"}
    }


def picture(width: int = 200, height: int = 150, format_: str = "JPEG", **options: Any) -> bytes:
    """An image of which no two regions look alike."""
    red = Image.linear_gradient("L").resize((width, height))
    green = Image.radial_gradient("L").resize((width, height))
    blue = red.rotate(180)
    file = io.BytesIO()
    Image.merge("RGB", (red, green, blue)).save(file, format_, **options)
    return file.getvalue()


def opened(response: httpx.Response) -> Image.Image:
    """The image of an answer, decoded."""
    assert response.status_code == 200, response.text
    image = Image.open(io.BytesIO(response.content))
    image.load()
    return image


@dataclass(frozen=True)
class Process:
    """A server in a process of its own."""

    popen: subprocess.Popen[str]
    base: str

    def status(self) -> Any:
        """What it says of itself to those who run it; it must have been given ADMIN_TOKEN."""
        headers = {"Authorization": f"Bearer {ADMIN_TOKEN}"}
        return httpx.get(f"{self.base}/admin/status", headers=headers).raise_for_status().json()

    def await_processes(self, number: int, seconds: float = 60.0) -> None:
        """Wait until so many server processes answer: the first one is ready before the others."""
        deadline = time.monotonic() + seconds
        while len({self.status()["process"] for _ in range(20)}) < number:
            assert time.monotonic() < deadline

    def children(self) -> list[int]:
        """Its descendants, as far as they run."""
        return _descendants(self.popen.pid)


@contextmanager
def running_process(
    *arguments: str,
    environment: Mapping[str, str] | None = None,
    folder: Path | None = None,
    own_group: bool = False,
) -> Iterator[Process]:
    """`iiif-server serve` on a free port, answering; it is ended with the context.

    `own_group`: as the leader of a process group, which can be sent signals as a whole.
    """
    port = free_port()
    popen = subprocess.Popen(
        [sys.executable, "-m", "iiif_server", "serve", "--port", str(port), *arguments],
        env={**os.environ, "IIIF_HTTP_DRAIN": "0", **(environment or {})},
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=own_group,
    )
    process = Process(popen, f"http://127.0.0.1:{port}")
    try:
        _await_answer(process)
        yield process
    finally:
        if popen.poll() is None:
            popen.send_signal(signal.SIGKILL)
        popen.communicate()


def _await_answer(process: Process, seconds: float = 60.0) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if process.popen.poll() is not None:
            raise AssertionError(process.popen.communicate())
        try:
            httpx.get(f"{process.base}/health", trust_env=False)
        except httpx.TransportError:
            time.sleep(0.05)
        else:
            return
    raise AssertionError("the server does not answer")


def _descendants(pid: int) -> list[int]:
    parents: dict[int, int] = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            try:
                state, parent = (folder / "stat").read_text().rpartition(")")[2].split()[:2]
            except OSError:
                continue
            if state != "Z":
                parents[int(folder.name)] = int(parent)
    found, front = [], [pid]
    while front:
        front = [child for child, parent in parents.items() if parent in front]
        found += front
    return found


def is_running(pid: int) -> bool:
    """Whether a process is there and has not ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
