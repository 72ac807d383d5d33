"""The application under test: in this process, or as a server process."""

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


def region_engine() -> str:
    """Return the engine that crops JPEGs on their MCU grid.

    Jpegtran if its library is installed.
    """
    return "jpegtran" if jpegtran.available() else "raster"


@dataclass(frozen=True)
class Server:
    """Application that runs in this process."""

    app: FastAPI
    client: httpx.AsyncClient
    settings: Settings
    events: list[Event] = field(default_factory=list)

    @property
    def services(self) -> Services:
        services: Services = self.app.state.services
        return services

    def events_of(self, kind: type[Kind]) -> list[Kind]:
        """Return the events of one class, in order."""
        return [event for event in self.events if isinstance(event, kind)]

    def original_path(self, type_: str, name: str) -> Path:
        """Return the path of an original."""
        return self.settings.source_path / type_ / name

    def remove(self, type_: str, name: str) -> None:
        """Delete an original, and what the server remembers of its images."""
        self.original_path(type_, name).unlink()
        self.services.images._images.clear()

    def put(self, type_: str, name: str, data: bytes) -> Path:
        """Write an original; return its path."""
        path = self.original_path(type_, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return path

    async def get(self, path: str, **headers: str) -> httpx.Response:
        """Send a GET; keyword arguments are header fields (`If_None_Match=...`)."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.client.get(path, headers=named)

    async def admin(self, method: str, path: str, **query: str) -> httpx.Response:
        """Send a request to the admin API, with its token."""
        headers = {"Authorization": f"Bearer {ADMIN_TOKEN}"}
        return await self.client.request(method, f"/admin{path}", params=query, headers=headers)

    async def status(self) -> Any:
        """Return the document of /admin/status."""
        return (await self.admin("GET", "/status")).raise_for_status().json()

    async def get_raw(
        self,
        target: bytes,
        headers: list[tuple[bytes, bytes]] | None = None,
        peer: tuple[str, int] = PEER,
        method: str = "GET",
    ) -> httpx.Response:
        """Send a GET whose path is not normalised."""
        return await raw_request(self.app, target, headers, peer, method)


def all_routes(app: FastAPI) -> Iterator[BaseRoute]:
    """Yield all routes of an application, those of routers included, in matching order."""
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
    """Call an application with a scope as uvicorn builds it; return the response."""
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


def get_scope(path: str) -> dict[str, Any]:
    """Return the ASGI scope of a GET without a query."""
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
    """Return settings for small pools, with all folders below one."""
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


async def sleep_until_revalidated() -> None:
    """Wait until a version of an original is not taken for the present one without looking."""
    await asyncio.sleep(REVALIDATE_SECONDS)


def fetch_options(**options: Any) -> FetchOptions:
    """Return fetch options that allow loopback, and remember no failures."""
    return FetchOptions(**{"allow_networks": LOOPBACK, "failure_ttl": 0.0, **options})


def web_settings(root: Path, base: str, **options: Any) -> Settings:
    """Return settings with a type `web` whose originals are below a URL, and options of `fetch`."""
    types = {"web": {"source": "web", "url": f"{base}/{{name}}"}}
    return settings_below(root, types=types, fetch=fetch_options(**options))


def base64_identifier(url: str | bytes) -> str:
    """Return a URL in padded URL-safe base64, as an identifier."""
    data = url if isinstance(url, bytes) else url.encode()
    return urlsafe_b64encode(data).decode("ascii")


@asynccontextmanager
async def running_app(settings: Settings, **transport: Any) -> AsyncIterator[Server]:
    """Run the application with its lifespan, and a client for it."""
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
    """Assert that a response is a problem: a sentence in JSON, for all origins, not cacheable."""
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


def stable_headers(headers: httpx.Headers) -> dict[str, str]:
    """Return the header fields of a response that do not differ between equal responses."""
    return {
        name: value
        for name, value in headers.items()
        if name not in {"server-timing", "x-request-id"}
    }


def picture(width: int = 200, height: int = 150, format_: str = "JPEG", **options: Any) -> bytes:
    """Return an image of which no two regions are alike."""
    red = Image.linear_gradient("L").resize((width, height))
    green = Image.radial_gradient("L").resize((width, height))
    blue = red.rotate(180)
    file = io.BytesIO()
    Image.merge("RGB", (red, green, blue)).save(file, format_, **options)
    return file.getvalue()


def decode_image(response: httpx.Response) -> Image.Image:
    """Decode the image of a response with status 200."""
    assert response.status_code == 200, response.text
    image = Image.open(io.BytesIO(response.content))
    image.load()
    return image


@dataclass(frozen=True)
class Process:
    """Server in its own process."""

    popen: subprocess.Popen[str]
    base: str

    def status(self) -> Any:
        """Return the document of /admin/status. The server needs ADMIN_TOKEN."""
        headers = {"Authorization": f"Bearer {ADMIN_TOKEN}"}
        return httpx.get(f"{self.base}/admin/status", headers=headers).raise_for_status().json()

    def wait_for_processes(self, number: int, seconds: float = 60.0) -> None:
        """Wait until so many server processes answer: the first one is ready before the others."""
        deadline = time.monotonic() + seconds
        while len({self.status()["process"] for _ in range(20)}) < number:
            assert time.monotonic() < deadline

    def descendants(self) -> list[int]:
        """Return the ids of its running descendants."""
        return descendants(self.popen.pid)


@contextmanager
def running_process(
    *arguments: str,
    environment: Mapping[str, str] | None = None,
    folder: Path | None = None,
    own_group: bool = False,
) -> Iterator[Process]:
    """Run `iiif-server serve` on a free port; end it with the context.

    `own_group`: the process leads a process group, to which signals can be sent.
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
        _wait_until_ready(process)
        yield process
    finally:
        if popen.poll() is None:
            popen.send_signal(signal.SIGKILL)
        popen.communicate()


def _wait_until_ready(process: Process, seconds: float = 60.0) -> None:
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


def descendants(pid: int) -> list[int]:
    """Return the ids of all descendants of a process but zombies."""
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
    """Return whether a process exists and is no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
