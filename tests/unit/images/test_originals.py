"""Originals whose source or disk fails: clients get a reason, and the log path, user and errno."""

import errno
import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import cast

import pytest

from iiif_server.errors import (
    IiifServerError,
    OriginalNotFoundError,
    SourceUnavailableError,
    TooManyOpenFilesError,
)
from iiif_server.iiif.identifier import Identifier
from iiif_server.images.originals import Originals
from iiif_server.sources.base import Source, SourceContext, TypeOptions
from iiif_server.sources.fetching import Fetcher
from iiif_server.sources.opening import OpenedFile, open_file, user_name
from iiif_server.telemetry.events import Event, SourceFailed

NAME = Identifier("t", "a")


class Failing(Source[TypeOptions]):
    """A plug-in whose disk fails in some way."""

    def __init__(self, error: Exception | None) -> None:
        context = SourceContext("t", Path("t"), cast("Fetcher", None), lambda _: None)
        super().__init__(context, TypeOptions(source="failing"))
        self._error = error

    @asynccontextmanager
    async def hold(self, name: str) -> AsyncIterator[OpenedFile]:
        if self._error is not None:
            raise self._error
        yield open_file(Path(name))

    def problems(self) -> list[str]:
        if self._error is not None:
            raise self._error
        return []


class Holding(Failing):
    """A source that opens a file; or names it only, as those of older releases do."""

    def __init__(self, path: Path, *, opens: bool = True) -> None:
        super().__init__(None)
        self.path = path
        self.opens = opens

    @asynccontextmanager
    async def hold(self, name: str) -> AsyncIterator[OpenedFile | Path]:  # type: ignore[override]
        assert name == "a"
        if not self.opens:
            yield self.path
            return
        opened = open_file(self.path)
        yield opened
        opened.close()


@pytest.mark.parametrize(
    ("number", "kind", "told"),
    [
        (errno.ESTALE, SourceUnavailableError, True),
        (errno.EIO, SourceUnavailableError, True),
        (errno.EACCES, SourceUnavailableError, True),
        (errno.EMFILE, TooManyOpenFilesError, True),
        (errno.ENAMETOOLONG, OriginalNotFoundError, False),
        (errno.ENOENT, OriginalNotFoundError, False),
    ],
)
async def test_what_a_disk_says_has_a_reason_for_clients_and_a_path_for_the_log(
    number: int, kind: type[IiifServerError], *, told: bool
) -> None:
    events: list[Event] = []
    error = OSError(number, os.strerror(number), "/srv/images/a")
    originals = Originals({"t": Failing(error)}, events.append)
    with pytest.raises(kind) as caught:
        async with originals.hold(NAME):
            pytest.fail("it cannot be opened")
    assert "/srv" not in str(caught.value)
    reason = f"{errno.errorcode[number]}: {os.strerror(number)}"
    assert events == ([SourceFailed("t:a", reason, "/srv/images/a", user_name())] if told else [])


async def test_a_plug_in_that_raises_something_else_is_logged_and_no_crash() -> None:
    events: list[Event] = []
    originals = Originals({"t": Failing(KeyError("column"))}, events.append)
    with pytest.raises(SourceUnavailableError, match="the server's log says why"):
        async with originals.hold(NAME):
            pytest.fail("it cannot be opened")
    (event,) = events
    assert isinstance(event, SourceFailed)
    assert "KeyError('column')" in event.reason


@pytest.mark.parametrize("error", [OSError(errno.EIO, "lost"), ValueError("odd")])
async def test_a_source_that_cannot_be_looked_at_is_a_problem_and_no_crash(
    error: Exception,
) -> None:
    originals = Originals({"t": Failing(error)})
    ((problem,),) = (await originals.problems(10)).values()
    assert repr(error) in problem


async def test_an_error_of_the_work_inside_is_not_taken_for_the_sources(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"abc")
    originals = Originals({"t": Holding(path)})
    with pytest.raises(PermissionError):
        async with originals.hold(NAME):
            raise PermissionError


async def test_a_source_that_names_a_path_still_works_and_is_deprecated(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"abc")
    originals = Originals({"t": Holding(path, opens=False)})
    async with AsyncExitStack() as stack:
        with pytest.warns(DeprecationWarning, match="yields a path"):
            original = await stack.enter_async_context(originals.hold(NAME))
        assert original.file.path == path
        assert original.opened is not None
        assert os.pread(original.opened.descriptor, 3, 0) == b"abc"


async def test_no_descriptor_is_left_open(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"abc")
    originals = Originals({"t": Holding(path)})
    async with originals.hold(NAME) as original:
        assert original.opened is not None
        descriptor = original.opened.descriptor
        async with original.for_worker() as (own,):
            assert own != descriptor
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)
