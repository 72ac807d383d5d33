"""Partial files: only some extents are present; all other bytes are filler."""

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

from iiif_server.plan.extents import Extent, PartialResult, merge_extents, missing_extents
from iiif_server.plan.local_file import LocalFile

Result = TypeVar("Result")

MAX_ROUNDS = 200


@dataclass
class PartialFile:
    """File that gets the bytes of its original as they are needed."""

    path: Path
    data: bytes
    present: tuple[Extent, ...] = ()
    brought: list[tuple[Extent, ...]] = field(default_factory=list)
    """What was needed in each round."""

    def __post_init__(self) -> None:
        self.path.write_bytes(b"\xa5" * len(self.data))
        first, self.present = self.present, ()
        self.fetch(first)

    @property
    def file(self) -> LocalFile:
        whole = LocalFile.at(self.path)
        return replace(whole, version=replace(whole.version, partial=True))

    def fetch(self, extents: Iterable[Extent], ahead: int = 0) -> None:
        """Write the original's bytes into extents, and so many after them."""
        wider = [(start, min(stop + ahead, len(self.data))) for start, stop in extents]
        descriptor = os.open(self.path, os.O_WRONLY)
        try:
            for start, stop in wider:
                os.pwrite(descriptor, self.data[start:stop], start)
        finally:
            os.close(descriptor)
        self.present = merge_extents([*self.present, *wider])

    def run(self, work: Callable[..., PartialResult[Result]], ahead: int = 0) -> Result:
        """Run a worker function, fetching what it needs round by round; return its result."""
        for _ in range(MAX_ROUNDS):
            found = work(self.file, present=self.present)
            if not found.needs:
                assert found.result is not None
                return found.result
            assert all(0 <= start < stop <= len(self.data) for start, stop in found.needs)
            assert missing_extents(self.present, found.needs) == merge_extents(found.needs)
            self.brought.append(found.needs)
            self.fetch(found.needs, ahead)
        raise AssertionError("it needs ever more")
