"""Memory growth of a process during a job. Linux only."""

import multiprocessing
import multiprocessing.connection
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyvips

from iiif_server.codecs.jobs import prepare_process
from iiif_server.codecs.libturbojpeg import library_report
from iiif_server.plan.jobs import TURBOJPEG_OFF


def measure_growth(function: Callable[[Any], Any], argument: Any) -> int:
    """Return the bytes by which a job raises the peak memory of a fresh worker process."""
    context = multiprocessing.get_context("spawn")
    mine, theirs = context.Pipe()
    chosen = library_report().path or TURBOJPEG_OFF
    process = context.Process(target=_work, args=(theirs, chosen, function, argument))
    process.start()
    theirs.close()
    grown: int = mine.recv()
    process.join()
    mine.close()
    return grown


def _work(
    report: multiprocessing.connection.Connection,
    turbojpeg: str,
    function: Callable[[Any], Any],
    argument: Any,
) -> None:
    prepare_process(1, 1, turbojpeg)
    pyvips.Image.black(8, 8).jpegsave_buffer()  # what is loaded once is no part of a job
    before = _peak_memory()
    function(argument)
    report.send(_peak_memory() - before)


def _peak_memory() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))
