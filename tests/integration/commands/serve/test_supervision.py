"""The port that several server processes share."""

from contextlib import ExitStack

import pytest

from iiif_server.commands.serve.supervision import bind
from iiif_server.errors import ConfigurationError


def test_several_processes_do_not_share_a_port_with_another_server() -> None:
    with ExitStack() as stack:
        held = [stack.enter_context(one) for one in bind("127.0.0.1", 0, 2)]
        port = held[0].getsockname()[1]
        assert {one.getsockname()[1] for one in held} == {port}
        for one in held:
            one.listen()
        for count in (1, 2):
            with pytest.raises(ConfigurationError, match="Address already in use"):
                bind("127.0.0.1", port, count)


def test_a_port_is_free_again_as_soon_as_nobody_listens() -> None:
    with bind("127.0.0.1", 0)[0] as former:
        port = former.getsockname()[1]
    with ExitStack() as stack:
        again = [stack.enter_context(one) for one in bind("127.0.0.1", port, 2)]
        assert {one.getsockname()[1] for one in again} == {port}
