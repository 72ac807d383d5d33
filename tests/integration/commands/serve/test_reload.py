"""Reload of settings in a running server."""

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from iiif_server.app import create_app
from iiif_server.commands.serve.reload import Reloading
from iiif_server.errors import ConfigurationError
from iiif_server.settings import Settings
from iiif_server.telemetry.events import Event, RequestsCutOff, SettingsRefused, SettingsReloaded
from support.apps import picture, settings_below

TYPES: dict[str, Any] = {"disk": {"source": "disk"}}


class Written:
    """Settings as an operator would write them, and what the server says to them."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.settings = settings_below(root, types=TYPES)
        self.error: Exception | None = None
        self.events: list[Event] = []

    def change(self, **settings: Any) -> None:
        self.settings = settings_below(self.root, **{"types": TYPES, **settings})

    def read(self) -> Settings:
        if self.error is not None:
            raise self.error
        return self.settings

    def told(self) -> list[Event]:
        return [e for e in self.events if isinstance(e, SettingsReloaded | SettingsRefused)]


@asynccontextmanager
async def live(written: Written) -> AsyncIterator[tuple[Reloading, httpx.AsyncClient]]:
    """A server that goes through its life as uvicorn has it do."""
    app = Reloading(
        written.read,
        lambda settings: create_app(settings, written.events.append),
        written.events.append,
    )
    async with living(app) as both:
        yield both


@asynccontextmanager
async def living(app: Reloading) -> AsyncIterator[tuple[Reloading, httpx.AsyncClient]]:
    """The same with an application of one's own."""
    said: asyncio.Queue[Any] = asyncio.Queue()
    heard: asyncio.Queue[Any] = asyncio.Queue()
    life = asyncio.create_task(app({"type": "lifespan"}, said.get, heard.put))
    said.put_nowait({"type": "lifespan.startup"})
    assert (await heard.get())["type"] == "lifespan.startup.complete"
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        yield app, client
    said.put_nowait({"type": "lifespan.shutdown"})
    assert (await heard.get())["type"] == "lifespan.shutdown.complete"
    await life


def put(root: Path, type_: str, name: str = "pic.jpg") -> None:
    path = root / "source" / type_ / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(picture())


async def test_a_type_that_is_new_is_served_when_the_settings_are_read_again(
    tmp_path: Path,
) -> None:
    put(tmp_path, "disk")
    put(tmp_path, "new")
    written = Written(tmp_path)
    async with live(written) as (app, client):
        assert (await client.get("/new:pic.jpg/info.json")).status_code == 404
        written.change(types={**TYPES, "new": {"source": "disk"}}, http_port=1)
        await app.reload()
        assert (await client.get("/new:pic.jpg/info.json")).status_code == 200
        image = await client.get("/disk:pic.jpg/full/50,/0/default.jpg")
        assert image.status_code == 200
    assert written.told() == [SettingsReloaded("types", "http_port")]


async def test_settings_that_cannot_be_change_nothing_and_are_told_of(tmp_path: Path) -> None:
    put(tmp_path, "disk")
    written = Written(tmp_path)
    async with live(written) as (app, client):
        written.error = ConfigurationError("cache.ttl: Input should be greater than 0")
        await app.reload()
        assert (await client.get("/disk:pic.jpg/full/50,/0/default.jpg")).status_code == 200
        written.error = ZeroDivisionError("what nobody thought of")
        await app.reload()
        assert (await client.get("/disk:pic.jpg/full/51,/0/default.jpg")).status_code == 200
        written.error = None
        written.change(canonical_redirect=True)
        await app.reload()
        assert (await client.get("/disk:pic.jpg/full/52,/0/default.jpg")).status_code == 303
    refused, unexpected, reloaded = written.told()
    assert refused == SettingsRefused("cache.ttl: Input should be greater than 0")
    assert isinstance(unexpected, SettingsRefused)
    assert "what nobody thought of" in unexpected.reason
    assert reloaded == SettingsReloaded("canonical_redirect", "")


async def test_what_is_being_answered_is_answered_by_the_settings_it_came_under(
    tmp_path: Path,
) -> None:
    put(tmp_path, "disk")
    written = Written(tmp_path)
    async with live(written) as (app, _):
        came, go_on = asyncio.Event(), asyncio.Event()
        messages: list[Any] = []

        async def receive() -> Any:
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message: Any) -> None:  # a client that takes its time
            came.set()
            await go_on.wait()
            messages.append(message)

        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": "GET",
            "scheme": "http",
            "path": "/disk:pic.jpg/info.json",
            "raw_path": b"/disk:pic.jpg/info.json",
            "query_string": b"",
            "root_path": "",
            "headers": [(b"host", b"test")],
            "client": ("127.0.0.1", 1),
            "server": ("test", 80),
        }
        slow = asyncio.create_task(app(scope, receive, send))
        await came.wait()
        written.change(types={"other": {"source": "disk"}})
        await app.reload()
        assert not slow.done()
        go_on.set()
        await slow
        assert messages[0]["status"] == 200
        assert b'"width":' in messages[1]["body"]


async def test_pools_and_files_of_former_settings_are_given_back(tmp_path: Path) -> None:
    put(tmp_path, "disk")
    written = Written(tmp_path)
    async with live(written) as (app, client):
        for width in range(40, 44):
            written.change(info_cache_size=width)
            await app.reload()
            answer = await client.get(f"/disk:pic.jpg/full/{width},/0/default.jpg")
            assert answer.status_code == 200
        while app.retired:  # their processes take a moment to end
            await asyncio.wait(app.retired)
        assert len(written.told()) == 4


class Unstartable:
    """An application whose life ends before it has begun."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def fail(self) -> None:
        raise self.error

    def __call__(self, _: Settings) -> FastAPI:
        @asynccontextmanager
        async def lifespan(_: FastAPI) -> AsyncIterator[None]:
            self.fail()
            yield

        return FastAPI(lifespan=lifespan)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ConfigurationError("The folder is a file."), "The folder is a file."),
        (ZeroDivisionError("what nobody thought of"), "Traceback"),
    ],
)
async def test_a_server_that_cannot_start_says_why(
    tmp_path: Path, error: Exception, said: str
) -> None:
    written = Written(tmp_path)
    app = Reloading(written.read, Unstartable(error), written.events.append)
    heard: list[Any] = []

    async def receive() -> Any:
        return {"type": "lifespan.startup"}

    async def send(message: Any) -> None:
        heard.append(message)

    await app({"type": "lifespan"}, receive, send)
    (message,) = heard
    assert message["type"] == "lifespan.startup.failed"
    assert message["message"].startswith(said)


async def test_newer_settings_with_which_it_does_not_start_change_nothing(tmp_path: Path) -> None:
    put(tmp_path, "disk")
    written = Written(tmp_path)
    async with live(written) as (app, client):
        make, app._make = app._make, Unstartable(ConfigurationError("No fence can be had."))
        await app.reload()
        app._make = make
        assert (await client.get("/disk:pic.jpg/info.json")).status_code == 200
    assert written.told() == [SettingsRefused("No fence can be had.")]


async def test_settings_that_are_being_tried_when_the_server_ends_leave_nothing(
    tmp_path: Path,
) -> None:
    begun, ended = asyncio.Event(), asyncio.Event()

    @asynccontextmanager
    async def endless(_: FastAPI) -> AsyncIterator[None]:
        begun.set()
        try:
            await asyncio.Event().wait()
            yield
        finally:
            ended.set()

    written = Written(tmp_path)
    async with live(written) as (app, _):
        app._make = lambda _: FastAPI(lifespan=endless)
        app._begin_reload()
        await begun.wait()
    assert ended.is_set()


# --- many signals, slow clients, and what is refused ----------------------------------------


class Applied:
    """An application whose parts are noted: which settings took effect, in which threads."""

    def __init__(self, written: Written) -> None:
        self.written = written
        self.read = 0
        self.applied: list[Settings] = []
        self.threads: set[int] = set()
        self.error: Exception | None = None

    def read_settings(self) -> Settings:
        self.read += 1
        self.threads.add(threading.get_ident())
        return self.written.read()

    def make(self, settings: Settings) -> FastAPI:
        self.threads.add(threading.get_ident())
        if self.error is not None:
            return Unstartable(self.error)(settings)
        return create_app(settings, self.written.events.append)

    def reloading(self) -> Reloading:
        return Reloading(
            self.read_settings, self.make, self.written.events.append, self.applied.append
        )


async def test_refused_settings_change_nothing_outside_the_application_either(
    tmp_path: Path,
) -> None:
    written = Written(tmp_path)
    parts = Applied(written)
    async with living(parts.reloading()) as (app, _):
        assert parts.applied == [written.settings]
        first = written.settings
        written.change(log_level="debug", log_format="json")
        parts.error = ConfigurationError("No sandbox can be had.")
        await app.reload()
        assert parts.applied == [first]
        written.error = ConfigurationError("cache.ttl: must be positive")
        await app.reload()
        assert parts.applied == [first]
        written.error = parts.error = None
        await app.reload()
        assert parts.applied == [first, written.settings]


async def test_newer_settings_are_read_and_tried_beside_the_event_loop(tmp_path: Path) -> None:
    parts = Applied(Written(tmp_path))
    async with living(parts.reloading()) as (app, _):
        parts.threads.clear()
        await app.reload()
    assert parts.threads
    assert threading.get_ident() not in parts.threads


async def test_fifty_signals_are_few_reloads(tmp_path: Path) -> None:
    written = Written(tmp_path)
    parts = Applied(written)
    async with living(parts.reloading()) as (app, _):
        for _ in range(50):
            app._begin_reload()
        await asyncio.sleep(0)
        for _ in range(50):
            app._begin_reload()
        written.change(info_cache_size=77)
        while app._reloads is not None and not app._reloads.done():
            await asyncio.wait([app._reloads])
        assert app.settings.info_cache_size == 77  # the last signal counts
    assert 1 <= parts.read - 1 <= 3


async def test_slow_clients_keep_no_more_than_two_former_applications(tmp_path: Path) -> None:
    put(tmp_path, "disk")
    written = Written(tmp_path)
    async with live(written) as (app, _):
        slow = []
        for number in range(5):
            came = asyncio.Event()
            slow.append(asyncio.create_task(app(SCOPE, _one_request, _never_read(came))))
            await came.wait()
            written.change(info_cache_size=100 + number)
            await app.reload()
        ended, waiting = await asyncio.wait(slow, timeout=0.1)
        while len(ended) < 3:
            more, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            ended |= more
        assert ended == set(slow[:3])  # the oldest
        for task in waiting:
            task.cancel()
        await asyncio.wait(waiting)
    told = [event for event in written.events if isinstance(event, RequestsCutOff)]
    assert told == [RequestsCutOff(1)] * 3


SCOPE: dict[str, Any] = {
    "type": "http",
    "asgi": {"version": "3.0"},
    "http_version": "1.1",
    "method": "GET",
    "scheme": "http",
    "path": "/disk:pic.jpg/info.json",
    "raw_path": b"/disk:pic.jpg/info.json",
    "query_string": b"",
    "root_path": "",
    "headers": [(b"host", b"test")],
    "client": ("127.0.0.1", 1),
    "server": ("test", 80),
}


async def _one_request() -> Any:
    return {"type": "http.request", "body": b"", "more_body": False}


def _never_read(came: asyncio.Event) -> Any:
    """What sends to a client that reads nothing."""

    async def send(_: Any) -> None:
        came.set()
        await asyncio.Event().wait()

    return send


async def test_a_request_that_is_cut_off_before_its_answer_is_told_to_come_back(
    tmp_path: Path,
) -> None:
    """By the server's end, or by that of its application: 503, and not 500."""
    came = asyncio.Event()

    def make(_: Settings) -> FastAPI:
        app = FastAPI()

        @app.get("/x")
        async def wait() -> None:
            came.set()
            await asyncio.Event().wait()

        return app

    written = Written(tmp_path)
    messages: list[Any] = []

    async def send(message: Any) -> None:
        messages.append(message)

    async with living(Reloading(written.read, make, written.events.append)) as (app, _):
        scope = {**SCOPE, "path": "/x", "raw_path": b"/x"}
        request = asyncio.create_task(app(scope, _never_gone, send))
        await came.wait()
        request.cancel()
        await request
    assert messages[0]["status"] == 503
    headers = dict(messages[0]["headers"])
    assert headers[b"retry-after"] == b"1"
    assert headers[b"cache-control"] == b"no-store"
    assert b"try again" in messages[1]["body"]


async def _never_gone() -> Any:
    await asyncio.Event().wait()
