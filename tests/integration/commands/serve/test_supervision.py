"""One port of several server processes."""

import signal
import subprocess
import sys
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


DEAF = """
import os, signal, time
for number in (signal.SIGTERM, signal.SIGINT):
    signal.signal(number, signal.SIG_IGN)
os.write(1, b"deaf\\n")  # as one piece
time.sleep(600)
"""
SUPERVISOR = f"""
import sys
from iiif_server.commands.serve.supervision import Supervisor, bind
command = [sys.executable, "-c", {DEAF!r}]
sockets = bind("127.0.0.1", 0, 2)
sys.exit(Supervisor(sockets, lambda *_: command, print, print, end_seconds=0.1).run())
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_processes_that_do_not_end_in_time_are_killed(number: signal.Signals) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", SUPERVISOR], stdout=subprocess.PIPE, text=True
    ) as supervisor:
        assert supervisor.stdout is not None
        for _ in range(2):
            assert supervisor.stdout.readline() == "deaf\n"
        supervisor.send_signal(number)
        # Until the end of the last process that has it open.
        assert supervisor.stdout.read() == ""
    assert supervisor.returncode == 0
