"""Revalidation of stored originals after `refresh_after`; they are never lost by it."""

import asyncio
import json
import os
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from pydantic import ByteSize

from iiif_server.cache.threads import StorageThreads
from iiif_server.errors import OriginalNotFoundError, SourceBusyError
from iiif_server.sources.base import SourceContext
from iiif_server.sources.fetching import Fetcher
from iiif_server.sources.incoming import move_to_target
from iiif_server.sources.templates import Template
from iiif_server.sources.web import WebOptions, WebSource
from iiif_server.telemetry.events import Event, Fetched, FetchFailed
from support.apps import fetch_options, picture, running_app, settings_below
from support.upstream import (
    Reply,
    Upstream,
    cut,
    dripping,
    gated,
    page,
    redirect,
    reset,
    running_upstream,
    send,
    silent,
    status,
    validated,
)
from support.waiting import async_wait_until

OLD, NEW = picture(), picture(64, 32)
DATE, LATER = "Wed, 21 Oct 2015 07:28:00 GMT", "Thu, 22 Oct 2015 07:28:00 GMT"
AT_LAST = 30.0
"""Seconds: the end of waiting for what hangs."""


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with running_upstream() as upstream:
        upstream.replies["/x"] = validated(OLD, ETag='"old"', Last_Modified=DATE)
        yield upstream


@dataclass
class Museum:
    """A type of originals on the web, without the rest of the server."""

    source: WebSource
    fetcher: Fetcher
    folder: Path
    events: list[Event] = field(default_factory=list)

    async def held(self, name: str = "x") -> bytes:
        """The bytes of an original as they are while it is held."""
        async with asyncio.timeout(AT_LAST), self.source.hold(name) as kept:
            return os.pread(kept.descriptor, 1 << 20, 0)

    @property
    def file(self) -> Path:
        """Where `x` is kept."""
        return self.folder / "x"

    @property
    def record(self) -> Path:
        """Where it is noted what is known of `x`."""
        return self.folder / ".provenance" / f"{sha256(b'x').hexdigest()}.json"

    def noted(self) -> Any:
        return json.loads(self.record.read_text())

    def age(self, seconds: float = 1e9) -> None:
        """Let `x` have been fetched so long before."""
        noted = self.noted()
        self.record.write_text(json.dumps({**noted, "asked": noted["asked"] - seconds}))

    def failures(self) -> list[str]:
        return [event.reason for event in self.events if isinstance(event, FetchFailed)]

    def left(self) -> list[str]:
        """What is there besides the original and its record."""
        files = [path for path in self.folder.parent.rglob("*") if path.is_file()]
        return [str(path) for path in files if path not in {self.file, self.record}]


class WatchedThreads(StorageThreads):
    """Counts the calls, and can keep what comes of one from whoever made it."""

    def __init__(self) -> None:
        super().__init__("a test")
        self.calls = 0
        self.next_result: asyncio.Event | None = None
        """What the result of the next call has to wait for."""
        self.held = asyncio.Event()
        """Set when a result waits."""

    async def run(self, function: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        self.calls += 1
        gate, self.next_result = self.next_result, None
        result = await super().run(function, *arguments, **options)
        if gate is not None:
            self.held.set()
            await gate.wait()
        return result


@asynccontextmanager
async def museum(root: Path, upstream: Upstream, **options: Any) -> AsyncIterator[Museum]:
    """A type whose originals are to be compared after an hour."""
    events: list[Event] = []
    threads = options.pop("threads", StorageThreads("a test"))
    patient = {"refresh_after": 3600, "refresh_wait": AT_LAST, "failure_ttl": 60}
    settings = fetch_options(**{**patient, **options})
    fetcher = Fetcher(settings, 2, root / ".incoming")
    context = SourceContext("web", root / "web", fetcher, events.append, threads)
    web = WebOptions(source="web", url=f"{upstream.base}/{{name}}")
    yield Museum(WebSource(context, web), fetcher, root / "web", events)
    await fetcher.close()


def conditions(upstream: Upstream, target: str = "/x") -> list[tuple[str | None, str | None]]:
    """By what the upstream was asked, question for question."""
    return [
        (asked.headers["If-None-Match"], asked.headers["If-Modified-Since"])
        for asked in upstream.requests
        if asked.target == target
    ]


async def test_what_has_not_changed_is_asked_for_by_its_tag_and_stays_as_it_is(
    tmp_path: Path, upstream: Upstream
) -> None:
    async with museum(tmp_path, upstream) as web:
        await web.held()
        before = web.file.stat()
        web.age()
        assert await web.held() == OLD
        after = web.file.stat()
        assert conditions(upstream) == [(None, None), ('"old"', None)]
        assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
        assert web.failures() == web.left() == []


async def test_a_question_renews_the_time(tmp_path: Path, upstream: Upstream) -> None:
    async with museum(tmp_path, upstream) as web:
        await web.held()
        web.age()
        for _ in range(3):
            await web.held()
        assert upstream.count("/x") == 2
        web.age(3599)
        await web.held()
        assert upstream.count("/x") == 2
        web.age(2)
        await web.held()
        assert upstream.count("/x") == 3


async def test_without_a_tag_the_date_is_asked_by(tmp_path: Path, upstream: Upstream) -> None:
    upstream.replies["/x"] = validated(OLD, Last_Modified=DATE)
    async with museum(tmp_path, upstream) as web:
        await web.held()
        web.age()
        assert await web.held() == OLD
        assert conditions(upstream) == [(None, None), (None, DATE)]


async def test_what_has_changed_is_replaced_and_asked_for_by_its_new_tag(
    tmp_path: Path, upstream: Upstream
) -> None:
    async with museum(tmp_path, upstream) as web:
        await web.held()
        upstream.replies["/x"] = validated(NEW, ETag='"new"', Last_Modified=LATER)
        assert await web.held() == OLD  # it is not time yet
        web.age()
        assert await web.held() == NEW
        web.age()
        assert await web.held() == NEW
        assert conditions(upstream) == [(None, None), ('"old"', None), ('"new"', None)]
        assert [event.size for event in web.events if isinstance(event, Fetched)] == [
            len(OLD),
            len(NEW),
        ]
        assert web.left() == []


async def test_unset_nothing_is_ever_asked_for_again(tmp_path: Path, upstream: Upstream) -> None:
    async with museum(tmp_path, upstream, refresh_after=None) as web:
        await web.held()
        web.age()
        os.utime(web.file, (0, 0))
        upstream.replies["/x"] = send(NEW)
        assert await web.held() == OLD
        assert upstream.count("/x") == 1


async def test_what_was_fetched_before_the_setting_is_asked_for_by_its_tag_as_well(
    tmp_path: Path, upstream: Upstream
) -> None:
    async with museum(tmp_path, upstream, refresh_after=None) as web:
        await web.held()
        web.age()
    async with museum(tmp_path, upstream) as web:
        assert await web.held() == OLD
    assert conditions(upstream) == [(None, None), ('"old"', None)]


DAMAGES = {
    "missing": None,
    "empty": b"",
    "zeros": b"\0" * 300,
    "cut": b'{"size":1',
    "no record": b'{"tag": "old"}',
    "of another file": b'{"size":1,"mtime_ns":1,"asked":9e9,"validators":{"etag":"\\"new\\""}}',
    "huge": b" " * 10_000_000,
}


@pytest.mark.parametrize("damage", DAMAGES)
async def test_without_a_sound_record_all_is_fetched_anew(
    tmp_path: Path, upstream: Upstream, damage: str
) -> None:
    content = DAMAGES[damage]
    async with museum(tmp_path, upstream) as web:
        await web.held()
        web.record.unlink() if content is None else web.record.write_bytes(content)
        assert await web.held() == OLD  # for the file's own time is there
        assert upstream.count("/x") == 1
        os.utime(web.file, (1e9, 1e9))
        assert await web.held() == OLD
        assert conditions(upstream) == [(None, None)] * 2
        # The bytes are the same: nothing that was made of them is lost.
        assert web.file.stat().st_mtime == 1e9
        web.age()
        await web.held()
        assert conditions(upstream)[2:] == [('"old"', None)]


async def test_a_file_whose_record_did_not_come_to_be_written_has_none(
    tmp_path: Path, upstream: Upstream
) -> None:
    async with museum(tmp_path, upstream) as web:
        await web.held()
        web.age()
        web.file.write_bytes(OLD[:-1] + b"\xff")  # of the same size, even
        os.utime(web.file, (1e9, 1e9))
        upstream.replies["/x"] = validated(NEW, ETag='"old"')
        assert await web.held() == NEW
        assert conditions(upstream) == [(None, None)] * 2


async def test_what_an_operator_has_put_there_is_as_old_as_its_file(
    tmp_path: Path, upstream: Upstream
) -> None:
    async with museum(tmp_path, upstream) as web:
        web.folder.mkdir()
        web.file.write_bytes(NEW)
        assert await web.held() == NEW
        assert upstream.requests == []
        os.utime(web.file, (1e9, 1e9))
        assert await web.held() == OLD


async def test_a_time_to_come_is_none(tmp_path: Path, upstream: Upstream) -> None:
    async with museum(tmp_path, upstream) as web:
        await web.held()
        web.age(-1e9)
        await web.held()
        await web.held()
        assert upstream.count("/x") == 2


async def test_fifty_viewers_cause_one_question(tmp_path: Path, upstream: Upstream) -> None:
    async with museum(tmp_path, upstream) as web:
        await web.held()
        web.age()
        upstream.replies["/x"] = validated(NEW, ETag='"new"')
        assert set(await asyncio.gather(*(web.held() for _ in range(50)))) == {NEW}
        assert upstream.count("/x") == 2


@pytest.mark.parametrize("changed", [True, False])
async def test_who_comes_late_to_a_refresh_is_not_told_that_the_original_is_gone(
    tmp_path: Path, upstream: Upstream, *, changed: bool
) -> None:
    """Both viewers find that a refresh is due; one has it done before the other gets to ask."""
    threads, gate = WatchedThreads(), asyncio.Event()
    async with museum(tmp_path, upstream, threads=threads) as web:
        await web.held()
        web.age()
        if changed:
            upstream.replies["/x"] = validated(NEW, ETag='"new"')
        threads.next_result = gate
        late = asyncio.create_task(web.held())
        await threads.held.wait()
        assert await web.held() == (NEW if changed else OLD)
        gate.set()
        assert await late == (NEW if changed else OLD)
        assert upstream.count("/x") == 2
        assert web.failures() == []


async def test_a_file_removed_before_its_refresh_is_no_original_that_is_gone(
    tmp_path: Path, upstream: Upstream
) -> None:
    threads, gate = WatchedThreads(), asyncio.Event()
    async with museum(tmp_path, upstream, threads=threads) as web:
        await web.held()
        web.age()
        threads.next_result = gate
        viewer = asyncio.create_task(web.held())
        await threads.held.wait()
        web.file.unlink()
        gate.set()
        assert await viewer == OLD  # it is fetched again
        assert upstream.count("/x") == 2


@pytest.mark.parametrize("name", ["x", "a/b.jpg"])
async def test_two_processes_fetch_an_original_once(
    tmp_path: Path, upstream: Upstream, name: str
) -> None:
    gate, threads = threading.Event(), WatchedThreads()
    upstream.replies[f"/{name}"] = gated(gate, send(OLD))
    async with museum(tmp_path, upstream) as one, museum(tmp_path, upstream) as other:
        other.fetcher.incoming.threads = threads
        first = asyncio.create_task(one.held(name))
        await async_wait_until(lambda: upstream.count(f"/{name}") == 1)
        second = asyncio.create_task(other.held(name))
        # Two looks at the lock at least, unless there is none.
        await async_wait_until(lambda: threads.calls > 1 or upstream.count(f"/{name}") > 1)
        gate.set()
        assert [await first, await second] == [OLD, OLD]
        assert upstream.count(f"/{name}") == 1


FAILURES: dict[str, Reply] = {
    "500": status(500),
    "503": status(503),
    "403": status(403),
    "page": page(),
    "empty": send(b""),
    "compressed": send(NEW, Content_Encoding="gzip"),
    "cut": cut(NEW),
    "reset": reset(b"HTTP/1.1 200 OK\r\n"),
    "too large": send(NEW + bytes(200_000)),
    "silent": silent(),
    "slow": dripping(NEW, 0.3),
    "redirect in a loop": redirect("/x"),
    "redirect to where nothing is fetched from": redirect("http://10.0.0.1/x"),
    "redirect to no web address": redirect("file:///etc/passwd"),
}


@pytest.mark.parametrize("failure", FAILURES)
async def test_while_the_upstream_fails_what_is_kept_is_served(
    tmp_path: Path, upstream: Upstream, failure: str
) -> None:
    async with museum(tmp_path, upstream) as web:
        await web.held()
        before = web.file.stat()
        web.age()
    upstream.replies["/x"] = FAILURES[failure]
    total = 1.0 if failure in {"silent", "slow"} else 20.0
    options = {"total_timeout": total, "max_bytes": ByteSize(100_000), "refresh_wait": AT_LAST}
    async with museum(tmp_path, upstream, **options) as web:
        assert await web.held() == OLD
        asked = upstream.count("/x")
        assert asked > 1
        for _ in range(5):
            assert await web.held() == OLD
        assert upstream.count("/x") == asked  # not again at once
        assert len(web.failures()) == 1
        assert web.failures()[0].endswith("; the stored copy is served")
        assert web.file.stat() == before
        assert web.left() == []


async def test_an_upstream_that_is_not_there_fails_as_well(
    tmp_path: Path, upstream: Upstream
) -> None:
    async with museum(tmp_path, upstream) as web:
        await web.held()
        web.age()
        web.source._template = Template("http://no-such-host.invalid/{name}")
        assert await web.held() == OLD
        assert "cannot be reached" in web.failures()[0]


async def test_a_failure_is_not_remembered_for_ever(tmp_path: Path, upstream: Upstream) -> None:
    async with museum(tmp_path, upstream, failure_ttl=0) as web:
        await web.held()
        web.age()
        upstream.replies["/x"] = status(500)
        assert await web.held() == OLD
        assert await web.held() == OLD
        assert upstream.count("/x") == 3
        upstream.replies["/x"] = validated(NEW, ETag='"new"')
        assert await web.held() == NEW


@pytest.mark.parametrize("code", [404, 410])
async def test_what_the_upstream_says_is_gone_is_not_found_and_not_removed(
    tmp_path: Path, upstream: Upstream, code: int
) -> None:
    async with museum(tmp_path, upstream) as web:
        await web.held()
        web.age()
        upstream.replies["/x"] = status(code)
        for _ in range(3):
            with pytest.raises(OriginalNotFoundError):
                await web.held()
        assert upstream.count("/x") == 2
        assert web.file.read_bytes() == OLD
        assert len(web.failures()) == 1


async def test_that_an_original_is_gone_is_reported_once(
    tmp_path: Path, upstream: Upstream
) -> None:
    async with museum(tmp_path, upstream, failure_ttl=0) as web:
        await web.held()
        web.age()
        upstream.replies["/x"] = status(404)
        for _ in range(3):
            with pytest.raises(OriginalNotFoundError):
                await web.held()
        assert upstream.count("/x") == 4
        assert len(web.failures()) == 1


async def test_what_was_gone_is_served_when_the_upstream_has_it_again(
    tmp_path: Path, upstream: Upstream
) -> None:
    async with museum(tmp_path, upstream, failure_ttl=0) as web:
        await web.held()
        web.age()
        there = upstream.replies["/x"]
        upstream.replies["/x"] = status(404)
        with pytest.raises(OriginalNotFoundError):
            await web.held()
        upstream.replies["/x"] = there
        assert await web.held() == OLD
        assert conditions(upstream)[-1] == ('"old"', None)
        assert web.noted()["gone"] is False


async def test_an_upstream_that_fails_does_not_take_back_that_it_is_gone(
    tmp_path: Path, upstream: Upstream
) -> None:
    async with museum(tmp_path, upstream, failure_ttl=0) as web:
        await web.held()
        web.age()
        upstream.replies["/x"] = status(404)
        with pytest.raises(OriginalNotFoundError):
            await web.held()
        upstream.replies["/x"] = status(500)
        with pytest.raises(OriginalNotFoundError):
            await web.held()
    async with museum(tmp_path, upstream) as web:  # nor does the next process
        for _ in range(2):
            with pytest.raises(OriginalNotFoundError):
                await web.held()
        assert web.file.read_bytes() == OLD


async def test_what_an_operator_puts_in_the_place_of_what_is_gone_is_served(
    tmp_path: Path, upstream: Upstream
) -> None:
    async with museum(tmp_path, upstream) as web:
        await web.held()
        web.age()
        upstream.replies["/x"] = status(404)
        with pytest.raises(OriginalNotFoundError):
            await web.held()
        web.file.write_bytes(NEW)
        assert await web.held() == NEW


async def test_a_slow_upstream_keeps_viewers_waiting_no_longer_than_configured(
    tmp_path: Path, upstream: Upstream
) -> None:
    gate = threading.Event()
    options = {"refresh_wait": 0.2, "total_timeout": 600, "connect_timeout": 600}
    async with museum(tmp_path, upstream, **options) as web:
        await web.held()
        web.age()
        upstream.replies["/x"] = gated(gate, validated(NEW, ETag='"new"'))
        for _ in range(20):  # all but the first do not wait at all
            assert await web.held() == OLD
            assert web.fetcher.active == 1
        assert upstream.count("/x") == 2
        gate.set()
        await async_wait_until(lambda: web.fetcher.active == 0)
        await async_wait_until(lambda: web.noted()["validators"]["etag"] == '"new"')
        assert await web.held() == NEW
        assert upstream.count("/x") == 2


async def test_without_a_wait_what_is_kept_is_served_at_once(
    tmp_path: Path, upstream: Upstream
) -> None:
    async with museum(tmp_path, upstream, refresh_wait=0) as web:
        await web.held()
        web.age()
        upstream.replies["/x"] = validated(NEW, ETag='"new"')
        assert await web.held() == OLD
        await async_wait_until(lambda: web.file.read_bytes() == NEW)


async def test_a_viewer_who_leaves_does_not_end_the_question(
    tmp_path: Path, upstream: Upstream
) -> None:
    gate = threading.Event()
    async with museum(tmp_path, upstream, refresh_wait=AT_LAST) as web:
        await web.held()
        web.age()
        upstream.replies["/x"] = gated(gate, validated(NEW, ETag='"new"'))
        viewer = asyncio.create_task(web.held())
        await async_wait_until(lambda: web.fetcher.active == 1)
        viewer.cancel()
        await asyncio.wait([viewer])
        gate.set()
        await async_wait_until(lambda: web.file.read_bytes() == NEW)


async def test_what_is_being_read_stays_what_it_is_until_it_is_closed(
    tmp_path: Path, upstream: Upstream
) -> None:
    async with museum(tmp_path, upstream) as web, web.source.hold("x") as kept:
        start = os.pread(kept.descriptor, 10, 0)
        web.age()
        upstream.replies["/x"] = validated(NEW, ETag='"new"')
        assert await web.held() == NEW
        assert start + os.pread(kept.descriptor, 1 << 20, 10) == OLD


async def test_what_comes_slowly_is_not_seen_before_it_is_whole(
    tmp_path: Path, upstream: Upstream
) -> None:
    seen = set()
    async with museum(tmp_path, upstream, refresh_wait=0) as web:
        await web.held()
        web.age()
        upstream.replies["/x"] = dripping(NEW, 0.02)
        while NEW not in seen:
            seen.add(await web.held())
        assert seen == {OLD, NEW}


async def test_a_server_that_ends_ends_its_questions_and_leaves_nothing(
    tmp_path: Path, upstream: Upstream
) -> None:
    async with museum(tmp_path, upstream, refresh_wait=0) as web:
        await web.held()
        web.age()
        upstream.replies["/x"] = dripping(NEW, 30)
        assert await web.held() == OLD
        await async_wait_until(lambda: web.fetcher.active == 1)
    assert web.fetcher.active == 0
    assert web.left() == []
    assert web.file.read_bytes() == OLD


async def test_where_nothing_can_be_noted_what_is_kept_is_served_and_not_asked_for_all_the_time(
    tmp_path: Path, upstream: Upstream
) -> None:
    async with museum(tmp_path, upstream) as web:
        web.folder.mkdir()
        web.record.parent.write_bytes(b"a file where a folder should be")
        assert await web.held() == OLD
        os.utime(web.file, (1e9, 1e9))
        for _ in range(5):
            assert await web.held() == OLD
        assert upstream.count("/x") == 2
        assert len(web.failures()) == 1


async def test_validators_are_told_only_to_the_url_that_gave_them(
    tmp_path: Path, upstream: Upstream
) -> None:
    upstream.replies["/x"] = redirect("/first")
    upstream.replies["/first"] = validated(OLD, ETag='"1"', Last_Modified=DATE)
    upstream.replies["/second"] = validated(NEW, ETag='"1"', Last_Modified=DATE)
    async with museum(tmp_path, upstream) as web:
        await web.held()
        web.age()
        assert await web.held() == OLD
        upstream.replies["/x"] = redirect("/second")
        web.age()
        assert await web.held() == NEW
    assert conditions(upstream) == [(None, None)] * 3
    assert conditions(upstream, "/first") == [(None, None), ('"1"', None)]
    assert conditions(upstream, "/second") == [(None, None)]


@pytest.mark.parametrize("etag", ["no tag", '"\xfc"', '"a" "b"'])
async def test_what_is_no_tag_is_not_told(tmp_path: Path, upstream: Upstream, etag: str) -> None:
    upstream.replies["/x"] = send(OLD, ETag=etag)
    async with museum(tmp_path, upstream) as web:
        await web.held()
        web.age()
        assert await web.held() == OLD
    assert conditions(upstream) == [(None, None)] * 2


async def test_a_record_cannot_be_had_as_an_original(tmp_path: Path, upstream: Upstream) -> None:
    async with museum(tmp_path, upstream) as web:
        await web.held()
        name = str(web.record.relative_to(web.folder))
        upstream.replies[f"/{name}"] = send(NEW)
        assert await web.held(name) == NEW
        assert web.noted()["validators"]["etag"] == '"old"'


async def test_a_place_is_waited_for_no_longer_than_configured(
    tmp_path: Path, upstream: Upstream
) -> None:
    gate = threading.Event()
    async with museum(tmp_path, upstream, queue_timeout=0.1) as web:
        await web.held()
        web.age()
        upstream.replies["/slow"] = gated(gate, send(NEW))
        slow = asyncio.create_task(web.held("slow"))  # the one place that one host has of two
        await async_wait_until(lambda: web.fetcher.active == 1)
        with pytest.raises(SourceBusyError):
            await web.held("other")
        assert await web.held() == OLD  # it is there, so nobody is refused it
        assert upstream.count("/other") == 0
        assert upstream.count("/x") == 1
        gate.set()
        assert await slow == NEW
        upstream.replies["/other"] = send(NEW)
        assert await web.held("other") == NEW  # for that it was refused is not remembered


@pytest.mark.parametrize("same", [True, False])
def test_the_fingerprint_of_a_file_changes_with_its_bytes(tmp_path: Path, *, same: bool) -> None:
    before, after = tmp_path / "before", tmp_path / "after"
    before.write_bytes(b"one")
    after.write_bytes(b"one" if same else b"two")
    for path in (before, after):
        os.utime(path, ns=(5, 5))
    landed = move_to_target(after, before)
    status_ = before.stat()
    assert (landed.st_size, landed.st_mtime_ns) == (status_.st_size, status_.st_mtime_ns)
    assert (landed.st_mtime_ns == 5) is same
    assert before.read_bytes() == (b"one" if same else b"two")


async def test_images_follow_the_original(tmp_path: Path, upstream: Upstream) -> None:
    settings = settings_below(
        tmp_path,
        types={"web": {"source": "web", "url": f"{upstream.base}/{{name}}"}},
        fetch=fetch_options(refresh_after=0.001, refresh_wait=AT_LAST),
    )
    path = "/web:x/full/50,/0/default.jpg"
    async with running_app(settings) as server:
        first = await server.get(path)
        again = await server.get(path)
        assert first.status_code == again.status_code == 200
        assert first.headers["etag"] == again.headers["etag"]
        assert len(server.events_of(Fetched)) == 1
        upstream.replies["/x"] = validated(NEW, ETag='"new"')
        changed = await server.get(path)
        assert changed.headers["etag"] != first.headers["etag"]
        assert (await server.get("/web:x/info.json")).json()["width"] == 64
        upstream.replies["/x"] = status(503)
        assert (await server.get(path)).content == changed.content
        upstream.replies["/x"] = status(404)
        assert (await server.get(path)).status_code == 404
