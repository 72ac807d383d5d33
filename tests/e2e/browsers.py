"""A real browser, and a page that takes note of everything that goes wrong in it.

Chromium is Debian's package, which tests/e2e/run installs.
"""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from playwright.sync_api import (
    Browser,
    ConsoleMessage,
    Page,
    Request,
    Response,
    expect,
    sync_playwright,
)

SCREENSHOTS = Path(__file__).parents[2] / "build" / "screenshots"
_TIMEOUT = 30_000
"""Milliseconds: the machine may be busy."""
expect.set_options(timeout=_TIMEOUT)
_LOCAL = {"127.0.0.1", "localhost", ""}
"""The hosts that a page may ask; addresses of data have none."""
_ABORTED = "net::ERR_ABORTED"
"""What a request ends with whose page has gone on meanwhile: nothing is wrong then."""


@dataclass
class Visit:
    """A page in the browser, with all that happened in it."""

    page: Page
    console: list[str] = field(default_factory=list)
    """Errors of the console, and exceptions that nobody caught."""
    failed: list[str] = field(default_factory=list)
    """Requests that were not answered, or with 400 or more."""
    foreign: list[str] = field(default_factory=list)
    """Requests to other hosts than this one."""
    requested: list[str] = field(default_factory=list)
    """All requests, in order."""

    def watch(self) -> None:
        """Take note from now on."""
        self.page.on("console", self._heard)
        self.page.on("pageerror", lambda error: self.console.append(f"uncaught: {error}"))
        self.page.on("request", self._asked)
        self.page.on("requestfailed", self._unanswered)
        self.page.on("response", self._answered)

    def assert_clean(self) -> None:
        """That nothing has gone wrong, and that nobody else was asked for anything."""
        assert not self.console, self.console
        assert not self.failed, self.failed
        assert not self.foreign, self.foreign

    def screenshot(self, name: str, **options: Any) -> Path:
        """A picture of the page in build/screenshots."""
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        path = SCREENSHOTS / f"{name}.png"
        self.page.screenshot(path=path, **options)
        return path

    def _heard(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.console.append(message.text)

    def _asked(self, request: Request) -> None:
        self.requested.append(request.url)
        if urlsplit(request.url).hostname not in _LOCAL | {None}:
            self.foreign.append(request.url)

    def _unanswered(self, request: Request) -> None:
        if request.failure != _ABORTED:
            self.failed.append(f"{request.failure}: {request.url}")

    def _answered(self, response: Response) -> None:
        if response.status >= 400:
            self.failed.append(f"{response.status}: {response.url}")


Visitor = Callable[..., Visit]
"""Opens a page: `visitor(url, viewport={...}, color_scheme="dark", ...)`, as for a new context."""


@contextmanager
def running_browser() -> Iterator[Browser]:
    """Debian's Chromium, without a window; in its sandbox, unless it is root who asks."""
    path = shutil.which("chromium")
    assert path is not None, "there is no chromium: tests/e2e/run installs it"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=path, chromium_sandbox=os.geteuid() != 0, args=["--disable-gpu"]
        )
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def visiting(browser: Browser) -> Iterator[Visitor]:
    """Opens pages, each as a visitor who has never been here; they are closed with the context."""
    contexts = []

    def visit(url: str, **options: Any) -> Visit:
        options.setdefault("viewport", {"width": 1280, "height": 800})
        context = browser.new_context(**options)
        contexts.append(context)
        context.set_default_timeout(_TIMEOUT)
        opened = Visit(context.new_page())
        opened.watch()
        opened.page.goto(url)
        return opened

    try:
        yield visit
    finally:
        for context in contexts:
            context.close()
