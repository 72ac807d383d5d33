"""Folder in which several server processes share their metrics; for the supervisor."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from prometheus_client import multiprocess

VARIABLE = "PROMETHEUS_MULTIPROC_DIR"


@contextmanager
def folder() -> Iterator[Path]:
    """Create a temporary folder for the metrics of the processes that start in this context.

    They inherit its name in the environment, where prometheus-client reads it when it is imported.
    """
    with tempfile.TemporaryDirectory(prefix="iiif-server-metrics-") as name:
        os.environ[VARIABLE] = name
        try:
            yield Path(name)
        finally:
            os.environ.pop(VARIABLE, None)


def forget(pid: int) -> None:
    """Remove the gauges of a process that has ended; its counters stay."""
    place = os.environ.get(VARIABLE)
    if place is not None:
        multiprocess.mark_process_dead(pid, place)  # type: ignore[no-untyped-call]
