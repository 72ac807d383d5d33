"""Originals read in parts: requested, stored, shared and verified bytes."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from iiif_server.errors import (
    IiifServerError,
    OriginalChangedError,
    OriginalNotFoundError,
    OriginalTooLargeError,
    SourceUnavailableError,
)
from iiif_server.plan.extents import total_length
from iiif_server.sources.base import SourceContext
from iiif_server.sources.fetching import Fetcher
from iiif_server.sources.opening import OpenedFile, Parts
from iiif_server.sources.ranged import FIRST_BYTES
from iiif_server.sources.sparse_file import FOLDER, RECORD, SparseFile
from iiif_server.sources.web import WebOptions, WebSource
from iiif_server.telemetry.events import Event, FetchFailed, OriginalMissing
from support import pictures
from support.apps import fetch_options
from support.upstream import (
    Reply,
    Upstream,
    cut,
    ranged,
    running_upstream,
    send,
    status,
)

SIZE = 1_000_000
DATA = b"II*\0" + os.urandom(SIZE - 4)
OTHER = b"II*\0" + os.urandom(SIZE - 4)
PATH = "/x.tif"
PART = (500_000, 510_000)


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with running_upstream() as upstream:
        upstream.replies[PATH] = ranged(DATA)
        yield upstream


@dataclass
class Type:
    """A type on the web, without the rest of the server."""

    source: WebSource
    folder: Path
    events: list[Event] = field(default_factory=list)

    @asynccontextmanager
    async def parts(self) -> AsyncIterator[tuple[OpenedFile, Parts]]:
        async with self.source.hold("x.tif") as opened:
            assert opened.parts is not None
            yield opened, opened.parts

    async def read(self, start: int, stop: int) -> bytes:
        async with self.parts() as (opened, parts):
            await parts.fetch([(start, stop)])
            assert opened.file.version.matches_descriptor(opened.descriptor)
            return os.pread(opened.descriptor, stop - start, start)

    def stored(self) -> list[Path]:
        """All sparse files."""
        return [path for path in (self.folder / FOLDER).iterdir() if path.suffix != RECORD]

    @property
    def file(self) -> Path:
        (found,) = self.stored()
        return found

    @property
    def record(self) -> Path:
        return self.file.with_name(self.file.name + RECORD)


@asynccontextmanager
async def web(folder: Path, upstream: Upstream, **options: object) -> AsyncIterator[Type]:
    fetcher = Fetcher(fetch_options(**options), 4, folder / "incoming")
    events: list[Event] = []
    context = SourceContext("web", folder / "web", fetcher, events.append)
    settings = WebOptions(source="web", url=f"{upstream.base}/{{name}}")
    try:
        yield Type(WebSource(context, settings), folder / "web", events)
    finally:
        await fetcher.close()


def ranges(upstream: Upstream) -> list[str | None]:
    return [asked.headers["Range"] for asked in upstream.requests]


async def test_only_what_is_needed_is_requested_of_the_version_that_was_seen(
    tmp_path: Path, upstream: Upstream
) -> None:
    async with web(tmp_path, upstream) as type_:
        assert await type_.read(*PART) == DATA[slice(*PART)]
        assert await type_.read(*PART) == DATA[slice(*PART)]
        assert await type_.read(0, 100) == DATA[:100]
    assert ranges(upstream) == [f"bytes=0-{FIRST_BYTES - 1}", f"bytes={PART[0]}-{PART[1] - 1}"]
    assert [asked.headers["If-Match"] for asked in upstream.requests] == [None, '"one"']


async def test_the_same_bytes_are_requested_once_for_all(
    tmp_path: Path, upstream: Upstream
) -> None:
    async with web(tmp_path, upstream) as type_:
        halves = [(PART[0], 507_000), (503_000, PART[1]), PART]
        found = await asyncio.gather(*(type_.read(*part) for part in halves))
        assert found == [DATA[slice(*part)] for part in halves]
    # The second lacks three thousand bytes of the first.
    assert len(upstream.requests) <= 3
    assert sum(_length(text) for text in ranges(upstream)[1:]) == PART[1] - PART[0]


def _length(text: str | None) -> int:
    first, _, last = (text or "").removeprefix("bytes=").partition("-")
    return int(last) - int(first) + 1


async def test_extents_that_are_close_are_one_request(tmp_path: Path, upstream: Upstream) -> None:
    async with web(tmp_path, upstream) as type_, type_.parts() as (_, parts):
        await parts.fetch([(200_000, 200_100), (210_000, 210_100), (400_000, 400_100)])
    assert set(ranges(upstream)[1:]) == {"bytes=200000-210099", "bytes=400000-400099"}


async def test_parts_survive_a_restart(tmp_path: Path, upstream: Upstream) -> None:
    for _ in range(2):
        async with web(tmp_path, upstream) as type_:
            assert await type_.read(*PART) == DATA[slice(*PART)]
    assert len(upstream.requests) == 2


async def test_processes_share_what_they_have_fetched(tmp_path: Path, upstream: Upstream) -> None:
    async with web(tmp_path, upstream) as one, web(tmp_path, upstream) as other:
        await one.read(0, 10)
        await other.read(0, 10)
        await one.read(*PART)
        assert await other.read(*PART) == DATA[slice(*PART)]
    assert len(upstream.requests) == 2


def lose_bytes(type_: Type) -> None:
    """As a power cut does: recorded, and not written."""
    with type_.file.open("r+b") as file:
        file.seek(PART[0] + 5_000)
        file.write(bytes(100))


def tear_record(type_: Type) -> None:
    """The last line was not written to its end."""
    type_.record.write_bytes(type_.record.read_bytes()[:-3])


def cut_file(type_: Type) -> None:
    os.truncate(type_.file, 600_000)


def drop_record(type_: Type) -> None:
    type_.record.unlink()


def spoil_record(type_: Type) -> None:
    type_.record.write_bytes(b"\xff" + type_.record.read_bytes())


def lie(type_: Type) -> None:
    """A line about bytes that were never written, and some that are no lines."""
    with type_.record.open("ab") as file:
        file.write(b"500000 510000 1\n-1 5 0\n5 1 0\n0 99999999999 0\n" + b"9" * 5000 + b" 1 1\n")


def swap_file(type_: Type) -> None:
    """Another file in its place, with the record of the old one."""
    (other := type_.folder / "other").write_bytes(OTHER)
    other.replace(type_.file)


@pytest.mark.parametrize(
    "damage",
    [lose_bytes, tear_record, cut_file, drop_record, spoil_record, lie, swap_file],
    ids=lambda damage: damage.__name__,
)
async def test_no_byte_is_believed_that_was_not_stored(
    tmp_path: Path, upstream: Upstream, damage: Callable[[Type], None]
) -> None:
    async with web(tmp_path, upstream) as type_:
        await type_.read(*PART)
        damage(type_)
    async with web(tmp_path, upstream) as type_:
        assert await type_.read(*PART) == DATA[slice(*PART)]
        assert await type_.read(0, 1_000) == DATA[:1_000]


@pytest.mark.parametrize("ignores", [False, True], ids=["412", "ignores If-Match"])
async def test_a_replaced_original_is_noticed_and_read_anew(
    tmp_path: Path, upstream: Upstream, *, ignores: bool
) -> None:
    async with web(tmp_path, upstream) as type_:
        assert await type_.read(0, 10) == DATA[:10]
        later = ranged(OTHER, '"two"')
        upstream.replies[PATH] = without_if_match(later) if ignores else later
        with pytest.raises(OriginalChangedError):
            await type_.read(*PART)
        assert await type_.read(*PART) == OTHER[slice(*PART)]
        assert await type_.read(0, 10) == OTHER[:10]


def without_if_match(then: Reply) -> Reply:
    def reply(handler: object) -> None:
        del handler.headers["If-Match"]  # type: ignore[attr-defined]
        then(handler)  # type: ignore[arg-type]

    return reply


async def test_a_held_original_stays_as_it_is(tmp_path: Path, upstream: Upstream) -> None:
    async with web(tmp_path, upstream) as type_, type_.parts() as (opened, parts):
        await parts.fetch([PART])
        upstream.replies[PATH] = ranged(OTHER, '"two"')
        with pytest.raises(OriginalChangedError):
            await type_.read(700_000, 700_010)
        assert await type_.read(*PART) == OTHER[slice(*PART)]
        assert opened.file.version.matches_descriptor(opened.descriptor)
        assert os.pread(opened.descriptor, 10, PART[0]) == DATA[PART[0] : PART[0] + 10]


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (status(404), OriginalNotFoundError),
        (status(500), SourceUnavailableError),
        (cut(DATA), SourceUnavailableError),
        (send(DATA, "image/tiff", ETag='"one"'), SourceUnavailableError),
        (
            send(b"x" * 10_000, code=206, ETag='"one"', Content_Range="bytes 7-10006/1000000"),
            SourceUnavailableError,
        ),
        (
            send(
                DATA[500_000:500_099],
                code=206,
                ETag='"one"',
                Content_Range="bytes 500000-509999/1000000",
            ),
            SourceUnavailableError,
        ),
        (
            send(
                b"x" * 99_999, code=206, ETag='"one"', Content_Range="bytes 500000-509999/1000000"
            ),
            SourceUnavailableError,
        ),
    ],
    ids=["404", "500", "cut", "whole", "another part", "too short", "too long"],
)
async def test_a_failed_range_leaves_nothing_that_is_believed(
    tmp_path: Path, upstream: Upstream, reply: Reply, error: type[IiifServerError]
) -> None:
    async with web(tmp_path, upstream, failure_ttl=0) as type_:
        await type_.read(0, 10)
        upstream.replies[PATH] = reply
        with pytest.raises((error, OriginalChangedError)):
            await type_.read(*PART)
        upstream.replies[PATH] = ranged(DATA)
        assert await type_.read(*PART) == DATA[slice(*PART)]


async def test_where_no_ranges_are_sent_any_more_the_whole_original_is_fetched(
    tmp_path: Path, upstream: Upstream
) -> None:
    async with web(tmp_path, upstream) as type_:
        await type_.read(0, 10)
        upstream.replies[PATH] = send(DATA, "image/tiff", ETag='"one"')
        with pytest.raises(OriginalChangedError):
            await type_.read(*PART)
        async with type_.source.hold("x.tif") as opened:
            assert opened.parts is None
            assert os.pread(opened.descriptor, SIZE, 0) == DATA


async def test_the_log_names_the_url_of_a_failed_range(tmp_path: Path, upstream: Upstream) -> None:
    async with web(tmp_path, upstream, failure_ttl=0) as type_:
        for reply, event in ((status(404), OriginalMissing), (status(500), FetchFailed)):
            upstream.replies[PATH] = reply
            with pytest.raises(IiifServerError):
                await type_.read(0, 10)
            assert isinstance(type_.events[-1], event)
            assert f"({upstream.base}{PATH})" in type_.events[-1].reason
        upstream.replies[PATH] = ranged(DATA)
        await type_.read(0, 10)
        upstream.replies[PATH] = status(500)
        with pytest.raises(SourceUnavailableError):
            await type_.read(*PART)
        assert isinstance(type_.events[-1], FetchFailed)
        assert f"({upstream.base}{PATH})" in type_.events[-1].reason


@pytest.mark.parametrize("record", ["folder", "damaged"])
async def test_a_record_that_cannot_be_used_leaves_no_descriptor_open(
    tmp_path: Path, upstream: Upstream, record: str
) -> None:
    async with web(tmp_path, upstream) as type_:
        await type_.read(0, 10)
        type_.record.unlink()
        type_.record.mkdir() if record == "folder" else type_.record.write_text("no record\n")
        before = len(os.listdir("/dev/fd"))
        with suppress(OSError):
            assert SparseFile.open(type_.file) is None
        assert len(os.listdir("/dev/fd")) == before


async def test_a_failure_is_remembered_for_a_while(tmp_path: Path, upstream: Upstream) -> None:
    async with web(tmp_path, upstream, failure_ttl=60) as type_:
        await type_.read(0, 10)
        upstream.replies[PATH] = status(500)
        for _ in range(3):
            with pytest.raises(SourceUnavailableError):
                await type_.read(*PART)
    assert len(upstream.requests) == 2


async def test_no_more_is_fetched_than_the_limit(tmp_path: Path, upstream: Upstream) -> None:
    async with web(tmp_path, upstream, max_bytes=300_000) as type_:
        assert await type_.read(*PART) == DATA[slice(*PART)]
        with pytest.raises(OriginalTooLargeError):
            await type_.read(0, SIZE)
    assert len(upstream.requests) == 2


async def test_extents_beyond_the_end_are_cut(tmp_path: Path, upstream: Upstream) -> None:
    async with web(tmp_path, upstream) as type_, type_.parts() as (_, parts):
        await parts.fetch([(-5, 3), (SIZE - 10, SIZE + 10**12), (2 * SIZE, 3 * SIZE)])
        assert total_length(parts.present) == FIRST_BYTES + 10


async def test_the_upstream_is_asked_again_when_it_is_time(
    tmp_path: Path, upstream: Upstream
) -> None:
    async with web(tmp_path, upstream, refresh_after=1e-9, refresh_wait=30) as type_:
        await type_.read(*PART)
        assert await type_.read(*PART) == DATA[slice(*PART)]
        assert ranges(upstream)[-1] == "bytes=0-0"
        upstream.replies[PATH] = ranged(OTHER, '"two"')
        assert await type_.read(*PART) == OTHER[slice(*PART)]
        upstream.replies[PATH] = status(404)
        with pytest.raises(OriginalNotFoundError):
            await type_.read(*PART)


WHOLE = pictures.jpeg(pictures.photograph(64, 48))
NOT_IN_PARTS: dict[str, Reply] = {
    "no ranges": send(WHOLE, ETag='"one"'),
    "no validator": ranged(WHOLE, ""),
    "weak validator": ranged(WHOLE, 'W/"one"'),
    "no TIFF": ranged(WHOLE),
    "compressed": ranged(WHOLE, Content_Encoding="gzip"),
}


@pytest.mark.parametrize("reply", NOT_IN_PARTS.values(), ids=NOT_IN_PARTS)
async def test_other_originals_are_fetched_as_a_whole(
    tmp_path: Path, upstream: Upstream, reply: Reply
) -> None:
    plain = send(WHOLE)
    upstream.replies[PATH] = lambda handler: (reply if handler.headers["Range"] else plain)(handler)
    async with web(tmp_path, upstream) as type_:
        for _ in range(2):
            async with type_.source.hold("x.tif") as opened:
                assert opened.parts is None
                assert os.pread(opened.descriptor, 1 << 20, 0) == WHOLE
    assert ranges(upstream) == [f"bytes=0-{FIRST_BYTES - 1}", None]


async def test_a_file_of_the_operator_is_served_without_asking(
    tmp_path: Path, upstream: Upstream
) -> None:
    (tmp_path / "web").mkdir()
    (tmp_path / "web" / "x.tif").write_bytes(WHOLE)
    async with web(tmp_path, upstream) as type_, type_.source.hold("x.tif") as opened:
        assert opened.parts is None
    assert not upstream.requests


@pytest.mark.parametrize("limit", [{"keep_bytes": 200_000}, {"keep_files": 1}], ids=str)
async def test_parts_count_as_fetched_originals_and_are_evicted(
    tmp_path: Path, upstream: Upstream, limit: dict[str, int]
) -> None:
    upstream.replies["/y.tif"] = ranged(OTHER)
    async with web(tmp_path, upstream, **limit) as type_:
        await type_.read(0, 150_000)
        (first,) = type_.stored()
        async with type_.source.hold("y.tif") as opened:
            assert opened.parts is not None
            await opened.parts.fetch([(0, 150_000)])
            (second,) = type_.stored()
            assert second != first
            # What is held stays, and the other does not fit beside it.
            with pytest.raises(IiifServerError):
                await type_.read(0, 150_000)
            assert second in type_.stored()
        assert await type_.read(0, 150_000) == DATA[:150_000]
        assert second not in type_.stored()


async def test_parts_are_counted_again_when_the_index_is_lost(
    tmp_path: Path, upstream: Upstream
) -> None:
    async with web(tmp_path, upstream) as type_:  # without limits there is no index
        await type_.read(0, 150_000)
        (first,) = type_.stored()
    upstream.replies["/y.tif"] = ranged(OTHER)
    async with web(tmp_path, upstream, keep_bytes=250_000) as type_:
        store = type_.source.context.fetcher.store
        assert store is not None
        store.import_existing()
        assert 150_000 <= store.stats.size <= 170_000
        async with type_.source.hold("y.tif") as opened:
            assert opened.parts is not None
            await opened.parts.fetch([(0, 150_000)])
        assert first not in type_.stored()


async def test_an_original_in_use_grows_within_the_number_of_files(
    tmp_path: Path, upstream: Upstream
) -> None:
    async with web(tmp_path, upstream, keep_files=1) as type_:
        assert await type_.read(*PART) == DATA[slice(*PART)]
        assert await type_.read(0, SIZE) == DATA


async def test_an_original_larger_than_all_that_is_kept_is_still_read_in_parts(
    tmp_path: Path, upstream: Upstream
) -> None:
    async with web(tmp_path, upstream, keep_bytes=200_000) as type_:
        assert await type_.read(*PART) == DATA[slice(*PART)]
        with pytest.raises(OriginalTooLargeError):
            await type_.read(0, SIZE)
