"""For whoever starts several serving processes: where they keep their numbers together."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from prometheus_client import multiprocess

VARIABLE = "PROMETHEUS_MULTIPROC_DIR"


@contextmanager
def folder() -> Iterator[Path]:
    """A folder for the numbers of all processes that are started meanwhile; it is removed then.

    They inherit its name in the environment, where it must be when they load prometheus-client.
    """
    with tempfile.TemporaryDirectory(prefix="iiif-server-metrics-") as name:
        os.environ[VARIABLE] = name
        try:
            yield Path(name)
        finally:
            os.environ.pop(VARIABLE, None)


def forget(pid: int) -> None:
    """No longer count what a serving process held that has ended; what it did stays counted."""
    place = os.environ.get(VARIABLE)
    if place is not None:
        multiprocess.mark_process_dead(pid, place)  # type: ignore[no-untyped-call]
