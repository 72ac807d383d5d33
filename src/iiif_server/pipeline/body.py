"""The bytes of an answer: in memory when they are few, an open file when they are many."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

IN_MEMORY = 1 << 20
"""Bytes up to which a body is read at once."""


@dataclass(frozen=True, slots=True)
class Body:
    """Exactly `length` bytes: here, or in a file that is open and at its start, or can be opened.

    Whoever gets a body with a file closes it.
    """

    length: int
    data: bytes | None = None
    file: BinaryIO | None = None
    path: Path | None = None
    """The file by its name instead, for somebody else to open; that nobody closes."""


def open_body(path: Path) -> Body:
    """The body that a file holds now; it stays readable if the file is removed. Raises OSError."""
    file = path.open("rb")
    try:
        length = os.fstat(file.fileno()).st_size
        if length > IN_MEMORY:
            return Body(length, file=file)
        data = file.read()
    except BaseException:
        file.close()
        raise
    file.close()
    return Body(len(data), data)
