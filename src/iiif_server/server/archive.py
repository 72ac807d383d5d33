"""Archives of originals: ZIP files that are written while the server sends them."""

import asyncio
import csv
import io
import time
import zipfile
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass
from hashlib import sha256
from pathlib import PurePosixPath
from typing import BinaryIO

from iiif_server.errors import IiifServerError, OriginalNotFoundError
from iiif_server.iiif.identifier import Identifier
from iiif_server.images.body import Body
from iiif_server.images.registry import Image
from iiif_server.plan.original_format import MEDIA_TYPES
from iiif_server.server.delivery import chunks
from iiif_server.server.downloads import body_of_original, check_image
from iiif_server.server.file_names import file_name, name_of_original
from iiif_server.server.services import Services

MANIFEST, MISSING = "manifest.csv", "missing.csv"
_FIRST, _LAST = time.gmtime(315_532_800), time.gmtime(4_354_819_198)
"""First and last modification time that a ZIP file can store: the years 1980 to 2107."""
_MODE = 0o644 << 16


class UniqueNames:
    """File names of one folder, unique also where case does not matter."""

    def __init__(self) -> None:
        self._used = {MANIFEST, MISSING}

    def of(self, name: str) -> str:
        """Unique name: the given one, with a number if it is taken."""
        path, number, unique = PurePosixPath(name), 1, name
        while unique.casefold() in self._used:
            number += 1
            unique = file_name(path.stem, f"-{number}{path.suffix}")
        self._used.add(unique.casefold())
        return unique


class _Output:
    """Buffer that `zipfile` writes to, without seeking; `drain` empties it."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def write(self, data: bytes) -> int:
        """Append data to the buffer."""
        self._parts.append(bytes(data))
        return len(data)

    def flush(self) -> None:
        """Do nothing: the buffer is in memory."""

    def close(self) -> None:
        """Do nothing: the data still has to be sent."""

    def drain(self) -> bytes:
        """Data written since the last call."""
        data, self._parts = b"".join(self._parts), []
        return data


class _HashedFile(io.BufferedReader):
    """File reader that computes the SHA-256 digest in the reading thread, not in the event loop."""

    def __init__(self, file: BinaryIO) -> None:
        super().__init__(file)  # type: ignore[arg-type]  # all files have readinto
        self.checksum = sha256()

    def read(self, size: int | None = -1, /) -> bytes:
        """Read up to `size` bytes, and add them to the checksum."""
        data = super().read(size)
        self.checksum.update(data)
        return data


@dataclass(frozen=True, slots=True)
class _Row:
    """One row of `manifest.csv`."""

    file: str
    identifier: str
    bytes: int
    sha256: str
    media_type: str


class _Archive:
    """Writer of one archive."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._output = _Output()
        self._zip = zipfile.ZipFile(self._output, "w", zipfile.ZIP_STORED)
        self._names = UniqueNames()
        self.rows: list[_Row] = []
        self.missing: list[tuple[str, str]] = []

    async def add(self, identifier: Identifier) -> AsyncGenerator[bytes]:
        """Add an original, or its identifier to the missing ones; yield the bytes to send."""
        async with AsyncExitStack() as stack:
            try:
                opening = self._services.images.hold(identifier)
                image = await stack.enter_async_context(opening)
                check_image(image)
                body = await body_of_original(self._services, image)
            except IiifServerError as error:
                self.missing.append((str(identifier), str(error)))
                return
            entry = await stack.enter_async_context(aclosing(self._entry(image, body)))
            async for chunk in entry:
                yield chunk

    async def _entry(self, image: Image, body: Body) -> AsyncGenerator[bytes]:
        identifier, format_ = image.original.identifier, image.header.format
        readable = self._services.readable_name(identifier)
        name = self._names.of(name_of_original(readable, format_))
        info = zipfile.ZipInfo(name, _date(image.original.modified))
        info.file_size, info.external_attr = body.length, _MODE  # zipfile chooses ZIP64 by size
        file = _HashedFile(body.file or io.BytesIO(body.data or b""))
        own = self._services.originals.source(identifier.type).context.threads
        threads = body.threads or own
        observer = self._services.observer
        try:
            with self._zip.open(info, "w") as entry:
                async for chunk in chunks(file, threads, body, observer):
                    entry.write(chunk)
                    yield self._output.drain()
        finally:
            threads.begin(file.close)
        checksum, media_type = file.checksum.hexdigest(), MEDIA_TYPES[format_]
        self.rows.append(_Row(name, str(identifier), body.length, checksum, media_type))

    def end(self) -> bytes:
        """Write `manifest.csv`, `missing.csv` and the directory; return the bytes to send."""
        rows = [
            (row.file, row.identifier, row.bytes, row.sha256, row.media_type) for row in self.rows
        ]
        header = ("file", "identifier", "bytes", "sha256", "media_type")
        self._write(MANIFEST, [header, *rows])
        if self.missing:
            self._write(MISSING, [("identifier", "reason"), *self.missing])
        self._zip.close()
        return self._output.drain()

    def _write(self, name: str, rows: Sequence[Sequence[object]]) -> None:
        text = io.StringIO()
        csv.writer(text).writerows(rows)
        info = zipfile.ZipInfo(name, _date(time.time()))
        info.external_attr = _MODE
        self._zip.writestr(info, text.getvalue())


async def archive(services: Services, identifiers: Sequence[Identifier]) -> AsyncGenerator[bytes]:
    """Yield a ZIP file of uncompressed originals; `manifest.csv` has their SHA-256 digests.

    `missing.csv` lists unavailable originals with the reason. If reading fails in the middle of an
    original, raises ResponseIncompleteError. Raises BusyError, or OriginalNotFoundError if no
    original is available, before the first bytes.
    """
    services.archive_slots.acquire()
    try:
        writer, began, sent = _Archive(services), time.monotonic(), 0
        for identifier in identifiers:
            async with aclosing(writer.add(identifier)) as added:
                async for data in added:
                    yield data
                    sent += len(data)
                    await _slow_down(services, sent, time.monotonic() - began)
        if not writer.rows:
            reasons = "; ".join(f"{name}: {reason}" for name, reason in writer.missing[:3])
            raise OriginalNotFoundError(f"None of these originals can be downloaded. {reasons}")
        yield writer.end()
    finally:
        services.archive_slots.release()


async def _slow_down(services: Services, sent: int, seconds: float) -> None:
    rate = services.downloads.archive_rate
    if rate is not None:
        await asyncio.sleep(max(0.0, sent / rate - seconds))


def _date(modified: float) -> tuple[int, int, int, int, int, int]:
    try:
        at = max(_FIRST, min(time.gmtime(modified), _LAST))
    except (OverflowError, OSError, ValueError):
        at = _FIRST
    return at.tm_year, at.tm_mon, at.tm_mday, at.tm_hour, at.tm_min, at.tm_sec
