"""The numbers of several serving processes, as one of them shows them."""

import os
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

from iiif_server.telemetry.metrics import folder, forget
from iiif_server.telemetry.metrics.sharing import VARIABLE

PROCESS = """
import sys
from iiif_server.telemetry.events import Fetched
from iiif_server.telemetry.metrics import CounterDeltas, Metrics
from iiif_server.telemetry.requests import Answered
from iiif_server.telemetry.stages import Stages

metrics, counter_deltas = Metrics(), CounterDeltas()
answer = Answered("id", "-", "GET", "/", "1.1", 200, 100, 0.02, "/health", "", "")
gauges = metrics.gauges
for line in sys.stdin:
    command, number = line.split()
    if command == "answer":
        for _ in range(int(number)):
            metrics.answered(answer)
            metrics.observe(Fetched("a:b", 1000, 0.2))
    elif command == "stand":
        gauges.processes.set(1)
        gauges.quarantined.set(int(number))
        gauges.cache.stored.set(int(number))
        gauges.cache.free.set(int(number))
        gauges.ready.set(int(number) > 1)
        counter_deltas.add(gauges.cache.hits, int(number), "disk")
    else:
        sys.stdout.write(metrics.instruments.text().decode())
    print("END", flush=True)
"""


class Serving:
    """A process that counts, and shows all numbers when asked to."""

    def __init__(self) -> None:
        self._popen = subprocess.Popen(
            [sys.executable, "-W", "error", "-c", PROCESS],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.pid = self._popen.pid

    def does(self, command: str, number: int = 0) -> list[str]:
        assert self._popen.stdin is not None
        assert self._popen.stdout is not None
        self._popen.stdin.write(f"{command} {number}\n")
        self._popen.stdin.flush()
        return list(iter(self._popen.stdout.readline, "END\n"))

    def shows(self) -> dict[str, float]:
        lines = [line for line in self.does("show") if not line.startswith("#")]
        return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}

    def end(self) -> None:
        self._popen.kill()
        self._popen.communicate()


REQUESTS = 'iiif_requests_total{engine="",route="/health",status="200",version=""}'
DURATIONS = 'iiif_request_duration_seconds_bucket{engine="",le="0.025",route="/health"}'


def test_what_all_have_done_is_added_up_and_how_they_stand_put_together() -> None:
    with ExitStack() as stack:
        stack.enter_context(folder())
        one, other = Serving(), Serving()
        for process in (one, other):
            stack.callback(process.end)
        one.does("answer", 3)
        other.does("answer", 4)
        one.does("stand", 5)
        other.does("stand", 1)
        assert one.shows() == other.shows()
        found = one.shows()
        assert found[REQUESTS] == found[DURATIONS] == 7
        assert found["iiif_fetched_bytes_total"] == 7000
        assert found['iiif_cache_hits_total{tier="disk"}'] == 6
        assert found["iiif_serving_processes"] == 2
        assert found["iiif_originals_quarantined"] == 6
        assert found["iiif_store_bytes"] == 5, "the disk is the same for all"
        assert found["iiif_store_free_bytes"] == 1
        assert found["iiif_ready"] == 0, "one is not"
        assert not [name for name in found if "pid=" in name]


def test_a_process_that_has_ended_leaves_what_it_did_and_takes_what_it_held() -> None:
    with ExitStack() as stack:
        stack.enter_context(folder())
        one, other = Serving(), Serving()
        stack.callback(one.end)
        for process, number in ((one, 2), (other, 7)):
            process.does("answer", number)
            process.does("stand", number)
        other.end()
        forget(other.pid)
        found = one.shows()
        assert found[REQUESTS] == 9
        assert found["iiif_serving_processes"] == 1
        assert found["iiif_originals_quarantined"] == 2
        assert found["iiif_store_bytes"] == 2
        assert found["iiif_ready"] == 1
        again = Serving()  # in its place
        stack.callback(again.end)
        again.does("answer", 1)
        assert one.shows()[REQUESTS] == 10


def test_the_folder_is_there_as_long_as_it_is_needed_and_named_for_those_who_are_started() -> None:
    with folder() as place:
        assert os.environ[VARIABLE] == str(place)
        assert place.is_dir()
        assert Path(place).stat().st_mode & 0o077 == 0, "it is nobody else's"
    assert VARIABLE not in os.environ
    assert not place.exists()


def test_who_serves_alone_has_nobody_to_forget() -> None:
    forget(os.getpid())
    assert VARIABLE not in os.environ
