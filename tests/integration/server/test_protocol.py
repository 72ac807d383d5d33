"""The HTTP protocol with clients that are slow, silent or malformed."""

import asyncio
import random
import re
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
import uvicorn

from iiif_server.errors import ClientDisconnectedError
from iiif_server.server.protocol import Listener


class Impatient(Listener):
    """As it is in service, with less patience."""

    head_seconds = 0.2
    probe_seconds = 0.1
    stalled_seconds = 0.5


@asynccontextmanager
async def listening(app: Any) -> AsyncIterator[int]:
    """An application behind the edge; yields its port."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        config = uvicorn.Config(
            app, http=Impatient, ws="none", lifespan="off", log_config=None, access_log=False
        )
        server = uvicorn.Server(config)
        serving = asyncio.create_task(server._serve([bound]))
        try:
            while not server.started:  # noqa: ASYNC110 - it sets no event
                await asyncio.sleep(0.01)
            yield bound.getsockname()[1]
        finally:
            server.should_exit = server.force_exit = True  # whoever is still being served
            await serving


async def test_a_client_that_takes_nothing_of_its_answer_is_given_up() -> None:
    ended = asyncio.Event()

    async def endless(_: Any, __: Any, send: Any) -> None:
        length = 1 << 30
        headers = [(b"content-length", str(length).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        try:
            for _ in range(length >> 20):  # goes on only while somebody reads
                await send(
                    {"type": "http.response.body", "body": bytes(1 << 20), "more_body": True}
                )
        finally:
            ended.set()

    async with listening(endless) as port, asyncio.timeout(60):
        _, writer = await asyncio.open_connection("127.0.0.1", port, limit=1)
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        await ended.wait()
        writer.close()


async def test_a_slow_answer_is_not_cut_by_what_the_client_begins_behind_it() -> None:
    go_on = asyncio.Event()

    async def slow(_: Any, __: Any, send: Any) -> None:
        headers = [(b"content-length", b"2")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"o", "more_body": True})
        await go_on.wait()
        await send({"type": "http.response.body", "body": b"k"})

    async with listening(slow) as port, asyncio.timeout(60):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\nGET /half")
        await asyncio.sleep(2 * Impatient.head_seconds)
        go_on.set()
        answer = await reader.read()
        writer.close()
    assert answer.startswith(b"HTTP/1.1 200")
    assert answer.endswith(b"\r\n\r\nok")


@pytest.mark.parametrize(
    ("version", "content"), [(b"1.0", b"one two"), (b"1.1", b"4\r\none \r\n3\r\ntwo\r\n0\r\n\r\n")]
)
async def test_content_of_unknown_length_is_chunked_for_those_who_know_chunks(
    version: bytes, content: bytes
) -> None:
    async def stream(_: Any, __: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"one ", "more_body": True})
        await send({"type": "http.response.body", "body": b"two"})

    async with listening(stream) as port, asyncio.timeout(60):
        head = b"GET / HTTP/%b\r\nHost: a\r\nConnection: close\r\n\r\n" % version
        fields, _, body = (await exchange(port, head)).partition(b"\r\n\r\n")
    assert body == content
    assert (b"transfer-encoding" in fields) == (version == b"1.1")


class AtOnce:
    """An application that has the answers to some requests at hand."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.was_asked = asyncio.Event()
        self.body = b"direct"

    def direct(self, scope: Any) -> Sequence[bytes] | None:
        if not scope["path"].startswith("/direct"):
            return None
        length = b"content-length: %d\r\n" % len(self.body)
        return length, b"x-path: %b\r\n\r\n" % scope["raw_path"], self.body

    async def __call__(self, scope: Any, _: Any, send: Any) -> None:
        self.asked.append(scope["path"])
        self.was_asked.set()
        headers = [(b"content-length", b"3")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"app"})


async def exchange(port: int, data: bytes) -> bytes:
    """All that is answered on one connection, whose last request closes it."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(data)
    answer = await reader.read()
    writer.close()
    return answer


def request(path: str, *fields: str, method: str = "GET") -> bytes:
    return "\r\n".join((f"{method} {path} HTTP/1.1", "Host: a", *fields, "", "")).encode()


async def test_what_is_at_hand_is_answered_without_the_application() -> None:
    app = AtOnce()
    close = request("/end", "Connection: close")
    async with listening(app) as port, asyncio.timeout(60):
        answer = await exchange(port, request("/direct/1") + request("/direct/2") + close)
    first, second, rest = answer.split(b"\r\ndirect")
    for number, head in ((1, first), (2, second)):
        status, *fields = head.strip().split(b"\r\n")
        assert status == b"HTTP/1.1 200 OK"
        named = dict(field.split(b": ", 1) for field in fields)
        assert named[b"content-length"] == b"6"
        assert named[b"x-path"] == b"/direct/%d" % number
        assert named[b"date"].endswith(b"GMT")
    assert rest.endswith(b"\r\n\r\napp")
    assert app.asked == ["/end"]


async def test_answers_come_in_the_order_of_the_requests_whoever_gives_them() -> None:
    app = AtOnce()
    paths = ["/a", "/direct/b", "/c", "/direct/d", "/direct/e", "/f"]
    data = b"".join(request(path) for path in paths) + request("/end", "Connection: close")
    async with listening(app) as port, asyncio.timeout(60):
        answer = await exchange(port, data)
    bodies = [part.rpartition(b"\r\n\r\n")[2] for part in answer.split(b"HTTP/1.1 200 OK")[1:]]
    expected = [b"direct" if path.startswith("/direct") else b"app" for path in paths]
    assert bodies == [*expected, b"app"]


async def test_all_requests_that_wait_behind_a_slow_one_are_answered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Impatient, "max_pipelined", 10_000)
    app = AtOnce()
    waiting = 2 * sys.getrecursionlimit()
    data = request("/slow") + waiting * request("/direct/1")
    async with listening(app) as port, asyncio.timeout(60):
        answer = await exchange(port, data + request("/end", "Connection: close"))
    assert answer.count(b"\r\n\r\ndirect") == waiting
    assert app.asked == ["/slow", "/end"]


async def test_a_connection_that_is_to_be_closed_is_the_applications_matter() -> None:
    app = AtOnce()
    async with listening(app) as port, asyncio.timeout(60):
        answer = await exchange(port, request("/direct/1", "Connection: close"))
    assert answer.endswith(b"app")


async def test_content_that_comes_with_a_request_is_not_taken_for_the_next_one() -> None:
    app = AtOnce()
    data = request("/direct/1", "Content-Length: 8") + b"GET /evil"[:8]
    data += request("/end", "Connection: close")
    async with listening(app) as port, asyncio.timeout(60):
        answer = await exchange(port, data)
    assert answer.count(b"HTTP/1.1 200 OK") == 2
    assert app.asked == ["/end"]


async def test_a_client_that_reads_slowly_does_not_fill_the_memory() -> None:
    app = AtOnce()
    app.body = bytes(1 << 20)
    async with listening(app) as port, asyncio.timeout(60):
        _, writer = await asyncio.open_connection("127.0.0.1", port, limit=1)
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        writer.write(request("/direct/1") * 200)
        await app.was_asked.wait()  # from then on the application waits for the client
        assert len(app.asked) == 1
        writer.close()


async def half_closed(port: int, data: bytes) -> bytes:
    """All that is answered to a client that sends nothing more."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(data)
    writer.write_eof()
    answer = await reader.read()
    writer.close()
    return answer


@pytest.mark.parametrize("paths", [["/late"], ["/direct"], ["/late/1", "/piece", "/late/2"]])
async def test_a_client_that_has_closed_its_side_is_answered(paths: list[str]) -> None:
    async with listening(Mixed()) as port, asyncio.timeout(60):
        answer = await half_closed(port, b"".join(map(request, paths)))
    assert answer.count(b"HTTP/1.1 200 OK\r\n") == len(paths)
    assert re.findall(rb"\r\nx-path: (\S+)\r\n", answer) == [path.encode() for path in paths]


async def test_half_a_request_is_not_waited_for() -> None:
    async with listening(AtOnce()) as port, asyncio.timeout(60):
        assert await half_closed(port, b"GET /half HTTP/1.1\r\nHost: a\r\n") == b""


class Waiting:
    """An application that works until the client has left, or it may go on."""

    def __init__(self) -> None:
        self.asked, self.left, self.go_on = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def __call__(self, _: Any, receive: Any, send: Any) -> None:
        self.asked.set()
        await receive()

        async def leave() -> None:
            while (await receive())["type"] != "http.disconnect":
                pass
            self.left.set()

        watch = asyncio.create_task(leave())
        waits = [asyncio.create_task(event.wait()) for event in (self.left, self.go_on)]
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        watch.cancel()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"late"})


async def test_nobody_works_for_a_client_that_has_left_altogether() -> None:
    app = Waiting()
    async with listening(app) as port, asyncio.timeout(60):
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(request("/slow"))
        await app.asked.wait()
        writer.close()
        await app.left.wait()


async def test_a_client_that_waits_for_long_is_answered_behind_interim_responses() -> None:
    app = Waiting()
    async with listening(app) as port, asyncio.timeout(60):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(request("/slow"))
        writer.write_eof()
        interim = b"HTTP/1.1 100 Continue\r\n\r\n"
        assert await reader.readexactly(2 * len(interim)) == 2 * interim
        app.go_on.set()
        answer = await reader.read()
        writer.close()
    assert b"HTTP/1.1 200 OK\r\n" in answer
    assert b"late" in answer


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"BANANA /health HTTP/1.1\r\nHost: a\r\n\r\n", 405),
        (b"VERSION-CONTROLS / HTTP/1.0\r\n\r\n", 405),
        (b"get / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"BANANA\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
        (b"SSH-2.0-OpenSSH_9.9\r\n", 400),
        (b"GET / HTTP/1.1\r\nBad Header: x\r\n\r\n", 400),
        (b"POST / HTTP/9.9\r\n\r\n", 400),
    ],
)
async def test_an_unknown_method_is_told_which_are_answered(data: bytes, status: int) -> None:
    async with listening(AtOnce()) as port, asyncio.timeout(60):
        answer = await exchange(port, data)
    assert answer.startswith(b"HTTP/1.1 %d " % status)
    assert (b"allow: GET, HEAD, OPTIONS\r\n" in answer) == (status == 405)
    assert b"connection: close\r\n" in answer


def test_a_server_opens_as_many_files_as_it_may() -> None:
    program = """
import resource
from iiif_server.server.protocol import allow_many_files
_, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (64, hard))
allow_many_files()
soft, after = resource.getrlimit(resource.RLIMIT_NOFILE)
assert after == hard
assert soft == min(hard, 65_536), soft
"""
    subprocess.run([sys.executable, "-c", program], check=True)


# --- any run of requests -------------------------------------------------------------------------


class Mixed(AtOnce):
    """Some answers are at hand, some come at once, some take a while, and some come in pieces."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        path = scope["raw_path"]
        if b"late" in path:
            await asyncio.sleep(0.001)
        if b"read" in path:
            while (await receive()).get("more_body"):
                pass
        named = [(b"content-length", b"3"), (b"x-path", path)]
        await send({"type": "http.response.start", "status": 200, "headers": named})
        body = b"" if scope["method"] == "HEAD" else b"app"
        if b"piece" in path:
            await send({"type": "http.response.body", "body": body[:1], "more_body": True})
            await asyncio.sleep(0)
            body = body[1:]
        await send({"type": "http.response.body", "body": body})


def some_requests(chance: random.Random) -> list[tuple[str, bytes]]:
    """Paths, and the requests for them; the last one ends the connection."""
    found = []
    count = chance.randint(1, 12)
    for number in range(count):
        kind = chance.choice(["direct", "direct", "app", "late", "piece", "read"])
        path = f"/{kind}/{number}"
        method = chance.choice(["GET", "GET", "GET", "HEAD", "POST"])
        content = bytes(chance.randrange(256) for _ in range(chance.randint(0, 40)))
        lines = [f"{method} {path} HTTP/1.1", "Host: a"]
        if method == "POST":
            lines.append(f"Content-Length: {len(content)}")
        if number == count - 1:
            lines.append("Connection: close")
        head = "\r\n".join([*lines, "", ""]).encode()
        found.append((path, head + content if method == "POST" else head))
    return found


async def test_any_run_of_requests_in_any_pieces_is_answered_in_order() -> None:
    async with listening(Mixed()) as port, asyncio.timeout(100):
        for seed in range(150):
            chance = random.Random(seed)  # noqa: S311 - the same each time
            asked = some_requests(chance)
            data = b"".join(request for _, request in asked)
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            while data:
                size = chance.choice([1, 7, 60, len(data)])
                writer.write(data[:size])
                data = data[size:]
                await asyncio.sleep(0)
            answer = await reader.read()
            writer.close()
            paths = re.findall(rb"\r\nx-path: (\S+)\r\n", answer)
            assert [path.decode() for path in paths] == [path for path, _ in asked], seed
            assert answer.count(b"HTTP/1.1 200 OK\r\n") == len(asked), seed


async def test_the_requests_that_wait_on_one_connection_are_bounded() -> None:
    go_on, asked = asyncio.Event(), 0

    async def slow(_: Any, __: Any, send: Any) -> None:
        nonlocal asked
        asked += 1
        await go_on.wait()
        headers = [(b"content-length", b"2")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"ok"})

    async with listening(slow) as port, asyncio.timeout(60):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(request("/") * 5000)
        while not asked:  # noqa: ASYNC110 - of the application
            await asyncio.sleep(0.01)
        go_on.set()
        answer = await reader.read()
        writer.close()
    answered = Impatient.max_pipelined + 1
    assert answer.count(b"HTTP/1.1 200 OK\r\n") == answered == asked
    assert b"connection: close" in answer.lower().split(b"\r\n\r\n")[-2]


async def test_an_application_is_told_that_its_client_has_left() -> None:
    told: list[BaseException] = []

    async def talkative(_: Any, __: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        try:
            while True:
                body = {"type": "http.response.body", "body": bytes(1000), "more_body": True}
                await send(body)
                await asyncio.sleep(0.01)
        except OSError as error:
            told.append(error)
            raise

    async with listening(talkative) as port, asyncio.timeout(60):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(request("/"))
        await reader.read(100)
        writer.close()
        while not told:  # noqa: ASYNC110 - of the application
            await asyncio.sleep(0.01)
    assert isinstance(told[0], ClientDisconnectedError)
