"""Reload of settings on SIGHUP: a new application serves new requests; the former drains."""

import asyncio
import signal
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from fastapi import FastAPI
from starlette.responses import JSONResponse
from starlette.types import Message, Receive, Scope, Send

from iiif_server.background import BackgroundTasks
from iiif_server.errors import ConfigurationError, IiifServerError
from iiif_server.settings import Settings
from iiif_server.telemetry.events import (
    Observer,
    RequestsCutOff,
    SettingsRefused,
    SettingsReloaded,
)

_NEEDS_RESTART = ("http_host", "http_port", "http_connections", "http_drain", "http_processes")
"""Settings that take effect only when the process starts."""
_MAX_FORMER = 2
"""Limit of former applications that finish their requests. Each has its own worker processes, so
slow clients must not keep any number of applications open."""

_ENDING = JSONResponse(  # not by `respond`: the application that would log it has ended
    {"error": "The server is being restarted; please try again."},
    503,
    {
        "Cache-Control": "no-store",
        "Retry-After": "1",
        "Connection": "close",
        "Access-Control-Allow-Origin": "*",
    },
)


def changes(old: Settings, new: Settings) -> tuple[list[str], list[str]]:
    """Return the names of changed settings: those that take effect, those that need a restart."""
    changed = [name for name in Settings.model_fields if getattr(old, name) != getattr(new, name)]
    return (
        [name for name in changed if name not in _NEEDS_RESTART],
        [name for name in changed if name in _NEEDS_RESTART],
    )


@dataclass(slots=True, eq=False)
class _Generation:
    """Application with its settings, from its start to the end of its last request."""

    settings: Settings
    app: FastAPI
    started: asyncio.Event = field(default_factory=asyncio.Event)
    over: asyncio.Event = field(default_factory=asyncio.Event)
    idle: asyncio.Event = field(default_factory=asyncio.Event)
    requests: "set[asyncio.Task[Any]]" = field(default_factory=set)
    task: "asyncio.Task[None] | None" = None

    async def live(self) -> None:
        """Run the application's lifespan until `over` is set and the last request has ended."""
        async with self.app.router.lifespan_context(self.app):
            self.started.set()
            await self.over.wait()
            if self.requests:
                await self.idle.wait()

    async def start(self) -> None:
        """Start the application; raises the errors of its lifespan."""
        self.task = asyncio.create_task(self.live())
        starting = asyncio.create_task(self.started.wait())
        try:
            await asyncio.wait({self.task, starting}, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:  # the server ends during a reload
            self.task.cancel()
            await asyncio.wait({self.task})
            raise
        finally:
            starting.cancel()
        if self.task.done():
            self.task.result()

    async def answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - a coroutine runs in a task
        self.requests.add(task)
        started = False

        async def sending(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self.app(scope, receive, sending)
        except asyncio.CancelledError:
            # The server or this application ends; a client that retries gets the next one.
            if started or scope["type"] != "http":
                raise
            await _ENDING(scope, receive, send)
        finally:
            self.requests.discard(task)
            if not self.requests and self.over.is_set():
                self.idle.set()

    def cancel_requests(self) -> int:
        """Cancel the requests in progress; return their number."""
        for request in self.requests:
            request.cancel()
        return len(self.requests)


class Reloading:
    """ASGI application that builds a new application with the current settings on SIGHUP.

    Requests in progress end in the former application; connections stay open. If the settings are
    invalid, or the new application does not start, the error is logged and nothing changes.
    """

    def __init__(
        self,
        read: Callable[[], Settings],
        make: Callable[[Settings], FastAPI],
        observer: Observer,
        apply: Callable[[Settings], None] = lambda _: None,
    ) -> None:
        """`read` loads the current settings, and `make` builds an application with them.

        `apply` applies settings outside of the application (logging): at once, and after each
        reload. Raises ConfigurationError if the first settings are invalid.
        """
        self._reload_requested = False
        with suppress(ValueError, AttributeError):  # not in the main thread, or not on this system
            signal.signal(signal.SIGHUP, self._on_sighup)
        self._read = read
        settings = read()
        self._make = make
        self._apply = apply
        self._observe = observer
        apply(settings)
        self._current = _Generation(settings, make(settings))
        self._reloading = asyncio.Lock()
        self._tasks = BackgroundTasks()
        self._former: list[_Generation] = []
        self._reloads: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        return f"<Reloading {self._current.app!r}>"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Call the current application, or run the lifespan of the server."""
        if scope["type"] == "lifespan":
            await self._run_lifespan(receive, send)
        else:
            await self._current.answer(scope, receive, send)

    @property
    def settings(self) -> Settings:
        """Current settings."""
        return self._current.settings

    @property
    def retired(self) -> "frozenset[asyncio.Task[None]]":
        """Tasks of the former applications that have not ended."""
        return self._tasks.running

    def direct(self, scope: Scope) -> Sequence[bytes] | None:
        """Return the response from the fast path, if it is ready; see `server/fast_path.py`."""
        answer: Sequence[bytes] | None = self._current.app.state.direct(scope)
        return answer

    async def reload(self) -> None:
        """Load the settings and apply them; errors are logged."""
        async with self._reloading:
            try:
                # In a thread, because building an application would delay requests.
                settings = await asyncio.to_thread(self._read)
                changed, needs_restart = changes(self._current.settings, settings)
                fresh = _Generation(settings, await asyncio.to_thread(self._make, settings))
                await fresh.start()
            except Exception as error:  # noqa: BLE001 - the former settings stay
                known = isinstance(error, IiifServerError)
                self._observe(SettingsRefused(str(error) if known else repr(error)))
                return
            former, self._current = self._current, fresh
            self._apply(settings)
            self._observe(SettingsReloaded(", ".join(changed), ", ".join(needs_restart)))
            former.over.set()
            if former.task is not None:
                self._tasks.keep(former.task)
                self._former.append(former)
            self._limit_former()

    def _limit_former(self) -> None:
        """Cancel the requests of the oldest former applications above `_MAX_FORMER`."""
        self._former = [one for one in self._former if one.task and not one.task.done()]
        for one in self._former[:-_MAX_FORMER]:
            if cancel_requests := one.cancel_requests():
                self._observe(RequestsCutOff(cancel_requests))

    async def _run_lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        try:
            await self._current.start()
        except Exception as error:  # noqa: BLE001 - the server does not start then
            known = isinstance(error, ConfigurationError)
            message = str(error) if known else traceback.format_exc()
            await send({"type": "lifespan.startup.failed", "message": message})
            return
        loop = asyncio.get_running_loop()
        with suppress(NotImplementedError, RuntimeError, ValueError, AttributeError):
            loop.add_signal_handler(signal.SIGHUP, self._begin_reload)
        if self._reload_requested:  # while it started
            self._begin_reload()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        if self._reloads is not None:
            self._reloads.cancel()
        for former in self._former:
            former.idle.set()  # not cancelled, which would leave worker processes behind
        await self._tasks.wait()
        self._current.over.set()
        self._current.idle.set()  # the timeout of open requests is over
        if self._current.task is not None:
            await self._current.task
        await send({"type": "lifespan.shutdown.complete"})

    def _on_sighup(self, *_: object) -> None:
        self._reload_requested = True

    def _begin_reload(self) -> None:
        """Schedule one reload for all signals that arrive before the settings are read."""
        self._reload_requested = True
        if self._reloads is None or self._reloads.done():
            self._reloads = self._tasks.start(self._reload_while_requested())

    async def _reload_while_requested(self) -> None:
        while self._reload_requested:
            self._reload_requested = False
            await self.reload()
