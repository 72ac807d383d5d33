"""Table of a lookup: rows of a CSV or JSON Lines file, in a temporary SQLite database on disk.

A malformed row is skipped and reported with its line.
"""

import csv
import json
import os
import sqlite3
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from iiif_server.plan.local_file import READ_ONLY, FileVersion
from iiif_server.sources.lookup.answers import PLACES, Answer, parse_answer
from iiif_server.sources.lookup.options import TABLE_SUFFIXES

_MAX_LINE = 1 << 16
"""Maximum bytes of a line; a longer one is malformed."""
_MAX_EXAMPLES = 10
"""Maximum number of malformed rows that are reported one by one; others are counted."""
_PAGE = 1000
_DELIMITERS = ",;\t"


class TableError(Exception):
    """Table that cannot be used as a whole; the text is for the operator."""


@dataclass(slots=True)
class Rows:
    """Rows of one version of a table. Not thread-safe."""

    version: FileVersion
    database: sqlite3.Connection
    number: int = 0
    malformed: int = 0
    examples: list[str] = field(default_factory=list)

    def get(self, id_: str) -> Answer | None:
        """Answer in the row of this id; None without a row."""
        query = "SELECT answer FROM rows WHERE id = ?"
        found = self.database.execute(query, (id_,)).fetchone()
        return None if found is None else parse_answer(json.loads(found[0]))

    def ids_after(self, last: str) -> list[str]:
        """Next ids in order, at most 1000."""
        query = "SELECT id FROM rows WHERE id > ? ORDER BY id LIMIT ?"
        return [id_ for (id_,) in self.database.execute(query, (last, _PAGE))]

    def add(self, line: int, row: Mapping[str, Any]) -> None:
        """Add a row, or count it as malformed."""
        try:
            parse_answer(row)
            self._insert(row.get("id"), json.dumps(row))
        except ValueError as error:
            self.report(line, str(error))

    def _insert(self, id_: object, answer: str) -> None:
        if not isinstance(id_, str | int) or id_ == "" or "\0" in str(id_):
            raise ValueError("has no id")
        insert = "INSERT OR IGNORE INTO rows VALUES (?, ?)"
        if not self.database.execute(insert, (str(id_), answer)).rowcount:
            raise ValueError("has the id of an earlier row, which is used")
        self.number += 1

    def report(self, line: int, problem: str) -> None:
        """Count a malformed row, and store the problem of the first ones."""
        self.malformed += 1
        if len(self.examples) < _MAX_EXAMPLES:
            self.examples.append(f"line {line} {problem}")


def read_table(path: Path, *, replaces: bool = False) -> Rows:
    """Read the rows of a file. Raises OSError, or TableError if it cannot be used as a whole.

    A file that `replaces` another must be complete: it has rows, and a line end at its end.
    """
    with _open(path) as file:
        # SQLite creates the database "" in a temporary file, which it removes on close.
        rows = Rows(_version(file), sqlite3.connect("", check_same_thread=False))
        try:
            rows.database.execute(
                "CREATE TABLE rows (id TEXT PRIMARY KEY, answer TEXT) WITHOUT ROWID"
            )
            lines = _Lines(file)
            for number, row in _READERS[TABLE_SUFFIXES[path.suffix.lower()]](lines, rows):
                rows.add(number, row)
            rows.database.commit()
            _check_finished(
                rows, file, finished=not replaces or bool(lines.ends_with_newline and rows.number)
            )
        except sqlite3.Error as error:
            rows.database.close()
            raise TableError(f"its rows cannot be stored in a temporary file: {error}") from error
        except BaseException:
            rows.database.close()
            raise
    return rows


def _check_finished(rows: Rows, file: BinaryIO, *, finished: bool) -> None:
    if _version(file) != rows.version:
        raise TableError("it changed while it was read")
    if not finished:
        raise TableError("its last line does not end, or it has no rows: is it complete?")


def header_problem(path: Path) -> str | None:
    """Problem of a table in its first line; None if there is none."""
    try:
        with _open(path) as file:
            if TABLE_SUFFIXES[path.suffix.lower()] == "csv":
                _header(_Lines(file))
    except TableError as error:
        return str(error)
    except OSError as error:
        return str(error.strerror)
    return None


def version_of(path: Path) -> FileVersion:
    """File version of a path. Raises OSError."""
    return FileVersion.of(path.stat())


def _open(path: Path) -> BinaryIO:
    file = os.fdopen(os.open(path, READ_ONLY), "rb")
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise TableError("it is not a regular file")
    return file


def _version(file: BinaryIO) -> FileVersion:
    return FileVersion.of(os.fstat(file.fileno()))


class _Lines:
    """Iterator of the lines of a file as text. Raises ValueError for a malformed line."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.number = 0
        """Number of the last line, from 1; 0 before the first."""
        self.ends_with_newline = True
        """Whether the last line has a line end."""

    def __iter__(self) -> "_Lines":
        return self

    def __next__(self) -> str:
        line = self._file.readline(_MAX_LINE)
        if not line:
            raise StopIteration
        self.number += 1
        self.ends_with_newline = line.endswith(b"\n")
        if len(line) == _MAX_LINE and not self.ends_with_newline:
            while not self.ends_with_newline and (rest := self._file.readline(_MAX_LINE)):
                self.ends_with_newline = rest.endswith(b"\n")
            raise ValueError(f"is longer than {_MAX_LINE} bytes")
        try:
            return line.decode("utf-8-sig" if self.number == 1 else "utf-8")
        except UnicodeDecodeError:
            raise ValueError("is not text in UTF-8") from None


def _header(lines: _Lines) -> tuple[list[str], str]:
    """Names of the columns, and the delimiter. Raises TableError if columns are missing."""
    try:
        text = next(lines)
    except StopIteration:
        raise TableError("it is empty") from None
    except ValueError as error:
        raise TableError(f"its first line {error}") from None
    delimiter = max(_DELIMITERS, key=text.count)
    names = [name.strip() for name in next(csv.reader([text], delimiter=delimiter), [])]
    if "id" not in names or not set(names) & set(PLACES):
        raise TableError(
            f"its first line must name the columns: id, and one of {', '.join(PLACES)}"
        )
    return names, delimiter


def _csv_rows(lines: _Lines, rows: Rows) -> Iterator[tuple[int, Mapping[str, Any]]]:
    names, delimiter = _header(lines)
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    while True:
        number = lines.number + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except (ValueError, csv.Error) as error:
            rows.report(number, str(error) if isinstance(error, ValueError) else f"has: {error}")
            continue
        if len(cells) == len(names):
            yield number, dict(zip(names, cells, strict=True))
        elif cells:
            rows.report(number, f"has {len(cells)} columns, and the first line {len(names)}")


def _json_rows(lines: _Lines, rows: Rows) -> Iterator[tuple[int, Mapping[str, Any]]]:
    while True:
        try:
            text = next(lines)
            row = json.loads(text) if text.strip() else None
        except StopIteration:
            return
        except (ValueError, RecursionError) as error:
            is_json_error = isinstance(error, json.JSONDecodeError | RecursionError)
            rows.report(lines.number, "is not JSON" if is_json_error else str(error))
            continue
        if isinstance(row, dict):
            yield lines.number, row
        elif text.strip():
            rows.report(lines.number, "is not an object")


_READERS = {"csv": _csv_rows, "json": _json_rows}
