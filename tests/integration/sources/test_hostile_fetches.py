"""Hostile upstreams: rejected in bounded time, bytes and memory, without leftover files."""

import asyncio
import tracemalloc
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import pytest_asyncio
from pydantic import ByteSize

from support.apps import Server, assert_problem, fetch_options, picture, running_app, settings_below
from support.upstream import (
    Reply,
    Upstream,
    compressed,
    endless,
    raw,
    redirect,
    reset,
    running_upstream,
    send,
    silent,
)

pytestmark = pytest.mark.asyncio(loop_scope="module")

PICTURE = picture()
MAX_BYTES = 200_000
MEGABYTE = 1_000_000
AT_LAST = 60.0
"""Seconds: not a measure of speed, but the end of waiting for what hangs."""

OK = b"HTTP/1.1 200 OK\r\n"
IMAGE = OK + b"Content-Type: image/jpeg\r\n"
CHUNKED = IMAGE + b"Transfer-Encoding: chunked\r\n\r\n"
OLD = b"HTTP/1.0 200 OK\r\nContent-Type: image/jpeg\r\n\r\n"


def sized(length: int | str, data: bytes = PICTURE) -> bytes:
    """An answer that promises a length."""
    return IMAGE + f"Content-Length: {length}\r\n\r\n".encode() + data


def chunk(data: bytes) -> bytes:
    """One chunk of a body."""
    return b"%x\r\n%s\r\n" % (len(data), data)


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    with running_upstream() as upstream:
        yield upstream


@asynccontextmanager
async def fetching_server(
    root: Path, upstream: Upstream, **timeouts: float
) -> AsyncIterator[Server]:
    """A server of small originals from the upstream."""
    options = {"max_bytes": ByteSize(MAX_BYTES), "max_redirects": 2, **timeouts}
    types = {
        "web": {"source": "web", "url": f"{upstream.base}/{{name}}"},
        "secure": {"source": "web", "url": f"https://127.0.0.1:{upstream.port}/{{name}}"},
    }
    async with running_app(
        settings_below(root, fetch=fetch_options(**options), types=types)
    ) as server:
        yield server


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(
    upstream: Upstream, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Server]:
    async with fetching_server(tmp_path_factory.mktemp("hostile"), upstream) as server:
        yield server


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def impatient(
    upstream: Upstream, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Server]:
    root = tmp_path_factory.mktemp("impatient")
    async with fetching_server(root, upstream, connect_timeout=0.3, total_timeout=0.6) as server:
        yield server


def left(server: Server) -> list[str]:
    """Every file below `source_path` but the records of what once was kept there."""
    root = server.settings.source_path
    files = (path.relative_to(root) for path in root.rglob("*") if path.is_file())
    return [str(path) for path in files if ".provenance" not in path.parts]


async def refused(server: Server, upstream: Upstream, reply: Reply, code: int, *words: str) -> None:
    """That what the upstream does is refused so, in time, and leaves nothing behind."""
    upstream.replies["/x"] = reply
    async with asyncio.timeout(AT_LAST):
        for path in ("info.json", "full/max/0/default.jpg"):
            assert_problem(await server.get(f"/web:x/{path}"), code, *words)
    assert left(server) == []
    assert server.services.fetcher.active == 0


@pytest.mark.parametrize(
    "coding",
    ["gzip", "GZIP", "x-gzip", "deflate", "br", "zstd", "compress", "gzip, gzip", "identity, gzip"],
)
async def test_what_is_not_encoded_as_it_says_is_refused(
    server: Server, upstream: Upstream, coding: str
) -> None:
    reply = send(PICTURE, Content_Encoding=coding)
    await refused(server, upstream, reply, 502, "compressed")


@pytest.mark.parametrize("coding", ["", "identity", "Identity"])
async def test_what_says_that_it_is_not_encoded_is_taken(
    server: Server, upstream: Upstream, coding: str
) -> None:
    upstream.replies["/plain"] = send(PICTURE, Content_Encoding=coding)
    assert (await server.get("/web:plain/info.json")).status_code == 200
    server.remove("web", "plain")


BOMB = compressed(PICTURE + bytes(100 * MEGABYTE))


@pytest.mark.parametrize(
    ("reply", "code"),
    [
        (BOMB, 413),
        (endless(IMAGE + b"\r\n" + PICTURE, b"x"), 413),
        (endless(CHUNKED + chunk(PICTURE), chunk(bytes(60_000))), 413),
        (endless(OK, b"a: b\r\n"), 502),
    ],
    ids=["gzip bomb", "endless", "endless chunks", "endless headers"],
)
async def test_however_much_comes_little_memory_is_taken(
    server: Server, upstream: Upstream, reply: Reply, code: int
) -> None:
    tracemalloc.start()
    try:
        await refused(server, upstream, reply, code)
        assert tracemalloc.get_traced_memory()[1] < 20 * MEGABYTE
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("reply", "code", "words"),
    [
        (endless(b"", b"HTTP/1.1 100 Continue\r\n\r\n"), 502, "cannot be reached"),
        (endless(b"", b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"), 502, "cannot be reached"),
        (endless(b"HTTP/1.1 200 ", b"O"), 502, "cannot be reached"),
        (endless(OK + b"A: ", b"b"), 502, "cannot be reached"),
        (endless(OK, b"a: b\r\n"), 502, "cannot be reached"),
        (endless(OK + b"A: b", b"\r\n folded"), 502, "cannot be reached"),
        (endless(OK, b"Set-Cookie: a=b; expires=Wed, 01 Jan 2030 10:00:00 GMT\r\n"), 502, ""),
        (endless(CHUNKED + chunk(PICTURE) + b"0\r\n", b"a: b\r\n"), 502, "cannot be reached"),
        (endless(CHUNKED + chunk(PICTURE) + b"1;", b"x"), 502, "cannot be reached"),
        (
            endless(CHUNKED + chunk(PICTURE), b"1;" + b"x" * 4000 + b"\r\na\r\n"),
            502,
            "pieces of a few bytes",
        ),
        (endless(CHUNKED + chunk(PICTURE), b"1\r\na\r\n"), 502, "pieces of a few bytes"),
        (endless(CHUNKED + chunk(PICTURE), chunk(bytes(60_000))), 413, "200 kB"),
        (endless(IMAGE + b"\r\n" + PICTURE, b"x"), 413, "200 kB"),
        (endless(OLD + PICTURE, b"x"), 413, "200 kB"),
        (endless(IMAGE + b"\r\n", b"<p>"), 415, "not an image"),
    ],
    ids=[
        "interim answers",
        "early hints",
        "status line",
        "one header",
        "headers",
        "folded header",
        "cookies",
        "trailers",
        "chunk extension",
        "chunk extensions",
        "chunks of a byte",
        "chunks",
        "body",
        "body of HTTP 1.0",
        "page",
    ],
)
async def test_what_has_no_end_is_cut_short(
    server: Server, upstream: Upstream, reply: Reply, code: int, words: str
) -> None:
    await refused(server, upstream, reply, code, words)
    assert upstream.sent_endlessly < 20 * MEGABYTE  # most of it in the buffers of the two sockets


async def test_others_are_served_while_an_upstream_pours_out_what_it_can(
    server: Server, upstream: Upstream
) -> None:
    upstream.replies["/fine"] = send(PICTURE)
    upstream.replies["/flood"] = endless(CHUNKED + chunk(PICTURE), b"1\r\na\r\n")
    upstream.replies["/hints"] = endless(b"", b"HTTP/1.1 100 Continue\r\n\r\n")
    async with asyncio.timeout(AT_LAST):
        floods = [
            asyncio.create_task(server.get(f"/web:{name}/info.json")) for name in ("flood", "hints")
        ]
        assert (await server.get("/web:fine/info.json")).status_code == 200
        for flood in floods:
            assert_problem(await flood, 502)
    server.remove("web", "fine")


@pytest.mark.parametrize(
    "reply",
    [
        silent(),
        raw(*(bytes([byte]) for byte in sized(len(PICTURE))), pause=0.2),
        raw(OK, *([b"a: b\r\n"] * 100), pause=0.2),
        raw(*([b"HTTP/1.1 100 Continue\r\n\r\n"] * 100), pause=0.2),
        raw(CHUNKED, *(chunk(PICTURE[at : at + 10]) for at in range(0, 1000, 10)), pause=0.2),
        raw(CHUNKED + chunk(PICTURE) + b"0\r\n", *([b"a: b\r\n"] * 100), pause=0.2),
        raw(CHUNKED + chunk(PICTURE), *([b"1"] * 100), pause=0.2),
        raw(sized(len(PICTURE), PICTURE[:-1]), b"", b"", pause=30),
    ],
    ids=[
        "silence",
        "head by bytes",
        "headers by lines",
        "interim answers",
        "chunks",
        "trailers",
        "chunk size by digits",
        "all but the last byte",
    ],
)
async def test_who_drips_is_not_waited_for(
    impatient: Server, upstream: Upstream, reply: Reply
) -> None:
    await refused(impatient, upstream, reply, 504, "in time")


UNREACHABLE = {
    "one byte too few": raw(sized(len(PICTURE) + 1)),
    "many bytes too few": raw(sized(MAX_BYTES)),
    "negative length": raw(sized(-1)),
    "hexadecimal length": raw(sized("0x10")),
    "length of many digits": raw(sized("1" * 30)),
    "two lengths": raw(sized(f"{len(PICTURE)}, 1")),
    "two lengths in two headers": raw(sized(f"{len(PICTURE)}\r\nContent-Length: 1")),
    "no last chunk": raw(CHUNKED + chunk(PICTURE)),
    "cut in a chunk": raw(CHUNKED + chunk(PICTURE)[:-20]),
    "cut in the last chunk": raw(CHUNKED + chunk(PICTURE) + b"0"),
    "cut before the trailer": raw(CHUNKED + chunk(PICTURE) + b"0\r\n"),
    "chunk size that is none": raw(CHUNKED + b"zz\r\n" + PICTURE),
    "negative chunk size": raw(CHUNKED + b"-1\r\n" + PICTURE),
    "chunk size of many digits": raw(CHUNKED + b"f" * 40 + b"\r\n" + PICTURE),
    "compressed chunks": raw(CHUNKED.replace(b"chunked", b"gzip, chunked") + chunk(PICTURE)),
    "reset before a word": reset(),
    "reset in the head": reset(OK),
    "reset in the body": reset(sized(len(PICTURE), PICTURE[:-1])),
    "reset in chunks": reset(CHUNKED + chunk(PICTURE)),
    "reset in HTTP 1.0": reset(OLD + PICTURE),
    "end before a word": raw(),
    "end in the head": raw(OK),
    "an image without a head": raw(PICTURE),
    "SSH": raw(b"SSH-2.0-OpenSSH_9.6\r\n"),
    "TLS": raw(b"\x15\x03\x03\x00\x02\x02\x28"),
    "no version": raw(b"HTTP/one 200 OK\r\n\r\n" + PICTURE),
    "no status": raw(b"HTTP/1.1 2000 OK\r\n\r\n" + PICTURE),
    "zero byte in a header": raw(OK + b"a\0b: c\r\n\r\n" + PICTURE),
    "header without a colon": raw(OK + b"no colon\r\n\r\n" + PICTURE),
}


@pytest.mark.parametrize("what", UNREACHABLE)
async def test_what_is_no_whole_answer_is_refused(
    server: Server, upstream: Upstream, what: str
) -> None:
    await refused(server, upstream, UNREACHABLE[what], 502, "cannot be reached")


@pytest.mark.parametrize(
    "reply",
    [
        raw(OLD + PICTURE[:-2]),
        raw(OLD + PICTURE[: len(PICTURE) // 2]),
        raw(IMAGE + b"Connection: close\r\n\r\n" + PICTURE[:-2]),
        raw(OLD + picture(format_="TIFF")),
    ],
    ids=["but the end", "half", "in HTTP 1.1", "of a format that does not tell"],
)
async def test_what_may_have_been_cut_off_is_refused(
    server: Server, upstream: Upstream, reply: Reply
) -> None:
    await refused(server, upstream, reply, 502, "without its length")


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (raw(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n" + PICTURE), ""),
        (raw(b"HTTP/1.1 304 Not Modified\r\n\r\n"), "304"),
        (raw(b"HTTP/1.1 206 Partial Content\r\nContent-Length: 4\r\n\r\n" + PICTURE[:4]), "206"),
        (raw(b"HTTP/1.1 401 No\r\nWWW-Authenticate: Basic\r\n\r\n"), "401"),
        (raw(b"HTTP/1.1 302 Found\r\nLocation: http://\xff\xfe/\r\n\r\n"), ""),
        (redirect("http://user:password@127.0.0.1/x"), "not trusted"),
        (redirect("//user@127.0.0.1/x"), "not trusted"),
        (redirect("//:@127.0.0.1/x"), "not trusted"),
    ],
)
async def test_any_other_answer_than_an_image_is_refused(
    server: Server, upstream: Upstream, reply: Reply, words: str
) -> None:
    await refused(server, upstream, reply, 502, words)


@pytest.mark.parametrize("length", [MAX_BYTES + 1, 10**18])
async def test_what_says_that_it_is_too_large_is_not_read(
    server: Server, upstream: Upstream, length: int
) -> None:
    await refused(server, upstream, raw(sized(length)), 413, "200 kB")


@pytest.mark.parametrize(
    "reply",
    [
        raw(OLD),
        raw(sized(0)),
        raw(CHUNKED + b"0\r\n\r\n"),
        send(b"<!DOCTYPE html><title>Please log in</title>", "image/jpeg"),
        raw(OLD + b"<html>"),
        raw(sized(2)),  # of more, which no one will miss
        send(b"\0" * 100, "image/tiff"),
        send(b"%!PS-Adobe-3.0 EPSF-3.0", "image/png"),
    ],
    ids=[
        "nothing, in HTTP 1.0",
        "nothing",
        "no chunk",
        "page called an image",
        "page in HTTP 1.0",
        "two bytes",
        "zeros",
        "EPS",
    ],
)
async def test_what_is_no_image_is_refused_whatever_it_is_called(
    server: Server, upstream: Upstream, reply: Reply
) -> None:
    await refused(server, upstream, reply, 415, "not an image")


@pytest.mark.parametrize(
    "reply",
    [
        raw(OLD + PICTURE),
        raw(IMAGE + b"Connection: close\r\n\r\n" + PICTURE),
        raw(OLD.replace(b"\r\n\r\n", b"\r\nContent-Length: %d\r\n\r\n" % len(PICTURE)) + PICTURE),
        raw(CHUNKED + chunk(PICTURE) + b"0\r\nTrailer: x\r\n\r\n"),
        raw(CHUNKED + chunk(PICTURE[:1]) + chunk(PICTURE[1:]) + b"0\r\n\r\n"),
        raw(b"HTTP/1.1 100 Continue\r\n\r\n" * 3 + sized(len(PICTURE))),
        raw(sized(len(PICTURE), PICTURE + b"HTTP/1.1 200 OK\r\n\r\nmore than was promised")),
        raw(
            IMAGE + b"ETag: no tag\r\nLast-Modified: never\r\n" + sized(len(PICTURE))[len(IMAGE) :]
        ),
    ],
    ids=[
        "HTTP 1.0",
        "without length",
        "HTTP 1.0 with length",
        "chunks and trailer",
        "first byte alone",
        "interim answers",
        "more than promised",
        "strange validators",
    ],
)
async def test_what_is_only_odd_is_taken(server: Server, upstream: Upstream, reply: Reply) -> None:
    upstream.replies["/odd"] = reply
    assert (await server.get("/web:odd/info.json")).status_code == 200
    assert server.original_path("web", "odd").read_bytes() == PICTURE
    server.remove("web", "odd")


async def test_what_comes_beyond_the_end_is_not_the_start_of_the_next_answer(
    server: Server, upstream: Upstream
) -> None:
    other = picture(64, 32)
    smuggled = sized(len(PICTURE), PICTURE + sized(len(other), other))
    upstream.replies["/first"] = raw(smuggled, stay=True)
    upstream.replies["/second"] = send(PICTURE)
    for name in ("first", "second"):
        assert (await server.get(f"/web:{name}/info.json")).json()["width"] == 200
        server.remove("web", name)


async def test_what_promises_less_than_an_image_is_is_no_image_to_anyone(
    server: Server, upstream: Upstream
) -> None:
    half = len(PICTURE) // 2
    upstream.replies["/half"] = raw(sized(half))
    response = await server.get("/web:half/full/100,/0/default.jpg")
    assert_problem(response, 422)
    assert server.original_path("web", "half").read_bytes() == PICTURE[:half]  # as was promised
    server.remove("web", "half")


async def test_what_speaks_no_tls_is_refused(server: Server) -> None:
    async with asyncio.timeout(AT_LAST):
        assert_problem(await server.get("/secure:x/info.json"), 502, "cannot be reached")
    assert left(server) == []
