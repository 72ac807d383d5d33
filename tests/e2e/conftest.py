"""Fixtures of the end-to-end tests: a server and a browser."""

from collections.abc import Iterator

import pytest
from _pytest.terminal import TerminalReporter
from playwright.sync_api import Browser

from e2e.browsers import Visitor, new_visitor, running_browser
from support.servers import Server, running_server


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Server with a limit of 9 MP, so that `^max` can be requested."""
    folder = tmp_path_factory.mktemp("server")
    with running_server(folder, "[limits]\nmax_area = 9000000") as running:
        yield running


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Running Chromium."""
    with running_browser() as running:
        yield running


@pytest.fixture
def visitor(browser: Browser) -> Iterator[Visitor]:
    """Function that opens pages in the browser; see `browsers.Visit`."""
    with new_visitor(browser) as visit:
        yield visit


def pytest_terminal_summary(terminalreporter: TerminalReporter) -> None:
    """Print the counts that tests have recorded."""
    for report in terminalreporter.getreports("passed"):
        for name, value in report.user_properties:
            if name == "counts":
                terminalreporter.write_line(str(value))
