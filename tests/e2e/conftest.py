"""A real server process for the end-to-end tests."""

from collections.abc import Iterator

import pytest
from _pytest.terminal import TerminalReporter
from playwright.sync_api import Browser

from e2e.browsers import Visitor, running_browser, visiting
from support.servers import Server, running_server


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server whose largest image has nine megapixels, so that `^max` is one that can be made."""
    folder = tmp_path_factory.mktemp("server")
    with running_server(folder, "[limits]\nmax_area = 9000000") as running:
        yield running


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A real browser."""
    with running_browser() as running:
        yield running


@pytest.fixture
def visitor(browser: Browser) -> Iterator[Visitor]:
    """Opens pages in the browser; see `browsers.Visit`."""
    with visiting(browser) as visit:
        yield visit


def pytest_terminal_summary(terminalreporter: TerminalReporter) -> None:
    """Print what tests have counted."""
    for report in terminalreporter.getreports("passed"):
        for name, value in report.user_properties:
            if name == "counts":
                terminalreporter.write_line(str(value))
