"""A real server process for the end-to-end tests."""

from collections.abc import Iterator

import pytest

from support.servers import Server, running_server


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server whose largest image has nine megapixels, so that `^max` is one that can be made."""
    folder = tmp_path_factory.mktemp("server")
    with running_server(folder, "[limits]\nmax_area = 9000000") as running:
        yield running
