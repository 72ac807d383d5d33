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


def measure_in_process(function: Callable[[Any], Any], plan: Any) -> tuple[int, float]:
    """Return by how many bytes a fresh process grew during a job, and its duration in seconds."""
    context = multiprocessing.get_context("spawn")
    mine, theirs = context.Pipe()
    process = context.Process(target=_run_and_report, args=(theirs, function, plan))
    process.start()
    theirs.close()
    try:
        taken: tuple[int, float] = mine.recv()
    except EOFError:
        taken = (0, 0.0)
    process.join()
    return taken


def _run_and_report(
    report: multiprocessing.connection.Connection, function: Callable[[Any], Any], plan: Any
) -> None:
    prepare_process(1, 1)
    pyvips.Image.black(8, 8).jpegsave_buffer()
    before = memory.peak_bytes(os.getpid())
    started = time.perf_counter()
    try:
        function(plan)
    finally:
        seconds = time.perf_counter() - started
        report.send((memory.peak_bytes(os.getpid()) - before, seconds))
