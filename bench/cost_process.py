"""Memory and time of one job in a fresh process."""

import multiprocessing
import multiprocessing.connection
import os
import time
from collections.abc import Callable
from typing import Any

import pyvips

from bench import memory
from iiif_server.codecs.jobs import prepare_process


class JobFailedError(Exception):
    """A job that raised an exception, or whose process died: its figures would mean nothing."""


def measure_in_process(function: Callable[[Any], Any], plan: Any) -> tuple[int, float]:
    """Return by how many bytes a fresh process grew during a job, and its duration in seconds.

    Raises JobFailedError.
    """
    context = multiprocessing.get_context("spawn")
    mine, theirs = context.Pipe()
    process = context.Process(target=_run_and_report, args=(theirs, function, plan))
    process.start()
    theirs.close()
    try:
        error, *taken = mine.recv()
    except EOFError:
        error, taken = "its process died", [0, 0.0]
    process.join()
    if error:
        raise JobFailedError(error)
    return taken[0], taken[1]


def _run_and_report(
    report: multiprocessing.connection.Connection, function: Callable[[Any], Any], plan: Any
) -> None:
    prepare_process(1, 1)
    pyvips.Image.black(8, 8).jpegsave_buffer()
    before = memory.peak_bytes(os.getpid())
    started = time.perf_counter()
    error = ""
    try:
        function(plan)
    except Exception as raised:  # noqa: BLE001 - the other process raises it
        error = repr(raised)
    seconds = time.perf_counter() - started
    report.send((error, memory.peak_bytes(os.getpid()) - before, seconds))
