"""Chromium, and pages that record errors and requests.

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
    """Page in the browser, with its errors and requests."""

    page: Page
    console: list[str] = field(default_factory=list)
    """Errors of the console, and exceptions that nobody caught."""
    failed: list[str] = field(default_factory=list)
    """Requests that were not answered, or with 400 or more."""
    foreign: list[str] = field(default_factory=list)
    """Requests to other hosts than this one."""
    requested: list[str] = field(default_factory=list)
    """All requests, in order."""

    def record(self) -> None:
        """Record console messages and requests from now on."""
        self.page.on("console", self._on_console)
        self.page.on("pageerror", lambda error: self.console.append(f"uncaught: {error}"))
        self.page.on("request", self._on_request)
        self.page.on("requestfailed", self._on_request_failed)
        self.page.on("response", self._on_response)

    def assert_clean(self) -> None:
        """Assert that there was no error, no failed request, and no request to another host."""
        assert not self.console, self.console
        assert not self.failed, self.failed
        assert not self.foreign, self.foreign

    def screenshot(self, name: str, **options: Any) -> Path:
        """Save a screenshot of the page in build/screenshots; return its path."""
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        path = SCREENSHOTS / f"{name}.png"
        self.page.screenshot(path=path, **options)
        return path

    def _on_console(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.console.append(message.text)

    def _on_request(self, request: Request) -> None:
        self.requested.append(request.url)
        if urlsplit(request.url).hostname not in _LOCAL | {None}:
            self.foreign.append(request.url)

    def _on_request_failed(self, request: Request) -> None:
        if request.failure != _ABORTED:
            self.failed.append(f"{request.failure}: {request.url}")

    def _on_response(self, response: Response) -> None:
        if response.status >= 400:
            self.failed.append(f"{response.status}: {response.url}")


Visitor = Callable[..., Visit]
"""Opens a page: `visitor(url, viewport={...}, color_scheme="dark", ...)`, as for a new context."""


@contextmanager
def running_browser() -> Iterator[Browser]:
    """Run Debian's Chromium, headless; in its sandbox, unless this process is root's."""
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
def new_visitor(browser: Browser) -> Iterator[Visitor]:
    """Yield a function that opens each page in a new browser context; close all at the end."""
    contexts = []

    def visit(url: str, **options: Any) -> Visit:
        options.setdefault("viewport", {"width": 1280, "height": 800})
        context = browser.new_context(**options)
        contexts.append(context)
        context.set_default_timeout(_TIMEOUT)
        opened = Visit(context.new_page())
        opened.record()
        opened.page.goto(url)
        return opened

    try:
        yield visit
    finally:
        for context in contexts:
            context.close()
