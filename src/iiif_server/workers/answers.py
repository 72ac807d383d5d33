"""What comes back from a worker process, taken for data and nothing else.

Results travel as pickles, and a pickle may name any function to be called where it is read: in the
server. A worker that a hostile file has taken over could say so. Here only what results consist of
is read: plain values, paths, our own records, and exceptions.
"""

import io
import pickle
import sys
from concurrent.futures import process as futures_process
from dataclasses import is_dataclass
from enum import Enum
from multiprocessing import connection
from multiprocessing.context import ForkServerContext
from multiprocessing.queues import SimpleQueue
from typing import Any

_PLAIN = frozenset({"set", "frozenset", "bytearray", "complex", "range", "slice"})
_PATHS = frozenset({"PosixPath", "PurePosixPath"})
_OF_THE_EXECUTOR = frozenset({"_ResultItem", "_rebuild_exc"})
_OWN = "iiif_server."


class _Unpickler(pickle.Unpickler):
    """A reader of pickles that knows no functions, and no classes that do something when made."""

    def find_class(self, module: str, name: str) -> Any:
        """The class of this name; UnpicklingError unless results may consist of it."""
        if module == futures_process.__name__ and name in _OF_THE_EXECUTOR:
            return getattr(futures_process, name)
        # What a result can be of is loaded here; nothing is imported because a worker says so.
        found = getattr(sys.modules.get(module), name, None)
        if not isinstance(found, type) or found.__module__ != module:
            raise pickle.UnpicklingError(f"{module}.{name} is no part of a result")
        if (
            issubclass(found, Exception)
            or (module.startswith(_OWN) and (is_dataclass(found) or issubclass(found, Enum)))
            or (module == "builtins" and name in _PLAIN)
            or (module == "pathlib" and name in _PATHS)
        ):
            return found
        raise pickle.UnpicklingError(f"{module}.{name} is no part of a result")


def read_answer(data: bytes) -> Any:
    """The result that a worker has sent; UnpicklingError for anything else."""
    return _Unpickler(io.BytesIO(data)).load()


class _Reader(connection.Connection):
    """The server's end of the pipe through which results come."""

    def __reduce__(self) -> Any:
        """As all connections, for the worker, which is given both ends."""
        return connection.reduce_connection(self)  # type: ignore[attr-defined]

    def recv(self) -> Any:
        """What `read_answer` makes of the next result."""
        return read_answer(self.recv_bytes())


class WorkerContext(ForkServerContext):
    """Processes from the fork server, whose results are read with care."""

    def SimpleQueue(self) -> SimpleQueue[Any]:  # noqa: N802 - what the executor calls for results
        """The queue of results."""
        queue = super().SimpleQueue()
        plain = queue._reader  # type: ignore[attr-defined]  # noqa: SLF001
        careful = _Reader(plain.fileno(), writable=False)
        plain._handle = None  # the descriptor belongs to the other now  # noqa: SLF001
        queue._reader = careful  # type: ignore[attr-defined]  # noqa: SLF001
        queue._poll = careful.poll  # type: ignore[attr-defined]  # noqa: SLF001
        return queue
