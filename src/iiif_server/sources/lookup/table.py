"""Lookup in a table file, which is read again after a change."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from iiif_server.background import BackgroundTasks
from iiif_server.cache.single_flight import SingleFlight
from iiif_server.cache.threads import LONG, StorageThreads
from iiif_server.errors import SourceUnavailableError
from iiif_server.plan.local_file import FileVersion
from iiif_server.sources.lookup.answers import Answer
from iiif_server.sources.lookup.rows import (
    Rows,
    TableError,
    header_problem,
    read_table,
    version_of,
)
from iiif_server.telemetry.events import (
    LookupRowsMalformed,
    LookupTableKept,
    LookupTableRead,
    Observer,
)

_CHECK_SECONDS = 1.0
"""Interval (seconds) of checks for changes, and time without changes before a file is read."""
_WAIT_SECONDS = 1.0
"""Seconds for which a request waits for a changed table; after them, the old rows are used."""


class TableLookup:
    """Lookup in a table file. The old rows are used until a complete new file is read.

    A file counts as complete if it has rows and a line end at its end, and has not changed for a
    second.
    """

    is_cached = False

    def __init__(
        self,
        path: Path,
        threads: StorageThreads,
        observer: Observer,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._path = path
        self._threads = threads
        self._observe = observer
        self._clock = clock
        self._rows: Rows | None = None
        self._lock = threading.Lock()
        """Held while rows are used, so that their database stays open."""
        self._checked = 0.0
        self._seen: FileVersion | None = None
        """File version at the last check, if it is not that of the rows."""
        self._last_read: FileVersion | None = None
        """File version that was last read to replace the rows."""
        self._is_closed = False
        self._reported_reason = ""
        """Last reported reason for using the old rows."""
        self._flights: SingleFlight[str, None] = SingleFlight()
        self._background = BackgroundTasks()

    def __repr__(self) -> str:
        return f"<TableLookup {self._path}>"

    async def find(self, name: str) -> Answer | None:
        """Answer in the row of this name; None if there is none.

        Raises SourceUnavailableError if no version of the file could be read yet.
        """
        if self._rows is None:
            await self._flights.run("", lambda: self._threads.run(self._load, timeout=LONG))
        elif self._clock() - self._checked >= _CHECK_SECONDS:
            self._checked = self._clock()
            check = self._background.start(self._flights.run("", self._reload))
            await asyncio.wait({check}, timeout=_WAIT_SECONDS)
        return await self._threads.run(self._get, name)

    def names(self) -> Iterator[str]:
        """Ids of all rows, sorted; blocks. Raises SourceUnavailableError."""
        if self._rows is None:
            self._load()
        last = ""
        while page := self._ids_after(last):
            yield from page
            last = page[-1]

    def problems(self) -> list[str]:
        """Problem of the file, if any."""
        problem = header_problem(self._path)
        return [f"the table {self._path} cannot be used: {problem}"] if problem else []

    async def close(self) -> None:
        """Stop reading, and close the rows."""
        await self._background.cancel()
        await self._flights.close()
        with self._lock:
            self._is_closed = True
            if self._rows is not None:
                self._rows.database.close()
                self._rows = None

    def _get(self, name: str) -> Answer | None:
        with self._lock:
            if self._rows is None:
                raise SourceUnavailableError("The lookup of this image is not ready.")
            return self._rows.get(name)

    def _ids_after(self, last: str) -> list[str]:
        with self._lock:
            return [] if self._rows is None else self._rows.ids_after(last)

    def _load(self) -> None:
        """Read the file and use its rows; takes seconds for millions of rows."""
        replaces = self._rows is not None
        try:
            rows = read_table(self._path, replaces=replaces)
        except (OSError, TableError) as error:
            self._report_kept(error)
            if not replaces:
                raise SourceUnavailableError("The table of this type cannot be read.") from error
            return
        with self._lock:
            old, self._rows = (rows, None) if self._is_closed else (self._rows, rows)
            if old is not None:
                old.database.close()
        self._seen, self._reported_reason = None, ""
        self._checked = self._clock()
        self._observe(LookupTableRead(str(self._path), rows.number))
        if rows.malformed:
            examples = "; ".join(rows.examples)
            self._observe(LookupRowsMalformed(str(self._path), rows.malformed, examples))

    async def _reload(self) -> None:
        """Read the file again if it has changed and is not being written any more."""
        try:
            version = await self._threads.run(version_of, self._path)
        except OSError as error:
            self._report_kept(error)
            return
        if self._rows is None or version == self._rows.version:
            self._seen = None
            return
        is_old = time.time() - version.mtime_ns / 1e9 >= _CHECK_SECONDS
        is_settled, self._seen = is_old or version == self._seen, version
        if is_settled and version != self._last_read:
            self._last_read = version
            await self._threads.run(self._load, timeout=LONG)

    def _report_kept(self, error: OSError | TableError) -> None:
        reason = str(error.strerror if isinstance(error, OSError) else error)
        if reason != self._reported_reason:
            self._reported_reason = reason
            self._observe(LookupTableKept(str(self._path), reason))
