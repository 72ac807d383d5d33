"""HTTP edge of a real server, over raw sockets: limits, request smuggling and the log."""

import re
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from PIL import Image

from iiif_server.iiif.identifier import Identifier
from iiif_server.server.signing import Signatures
from support.servers import Server, running_server

pytestmark = pytest.mark.e2e

TOKEN = "0123456789abcdef-admin-token"
KEY = "a-key-of-these-tests-with-enough-letters"
CONNECTIONS = 40
IMAGE = "/pictures:pic.jpg"
LINE = re.compile(
    r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} [A-Z]+ [\w.]+ [ -~]*|  \| [ -~]*|  http[ -~]*|"
)
"""What a line of the log may be; the addresses that are printed at the start begin with spaces."""


@pytest.fixture(scope="module")
def edge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    settings = (
        f'http_connections = {CONNECTIONS}\nadmin.token = "{TOKEN}"\nsigning.keys = ["{KEY}"]\n'
        '[types.closed]\nsource = "disk"\naccess = "signed"\n'
    )
    with running_server(tmp_path_factory.mktemp("edge"), settings) as server:
        Image.linear_gradient("L").save(server.source / "pic.jpg")
        closed = server.source.parent / "closed"
        closed.mkdir()
        Image.linear_gradient("L").save(closed / "pic.jpg")
        yield server
        assert httpx.get(f"{server.url}/health").status_code == 200


@dataclass(frozen=True)
class RawResponse:
    """Response as it was read from a socket."""

    status: int
    headers: dict[str, str]
    body: bytes
    rest: bytes
    """What came behind it."""


@contextmanager
def connected(server: Server) -> Iterator[socket.socket]:
    host, port = server.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=40) as connection:
        yield connection


def receive_all(connection: socket.socket) -> bytes:
    """Read until the server closes the connection."""
    data = b""
    try:
        while chunk := connection.recv(65_536):
            data += chunk
    except ConnectionResetError:
        pass
    return data


def send_until_refused(connection: socket.socket, piece: bytes) -> int:
    """Send a piece until the server closes, at most 1 GiB; return the bytes sent."""
    sent = 0
    with suppress(BrokenPipeError, ConnectionResetError):
        while sent < 1 << 30:
            sent += connection.send(piece)
    return sent


def parse_responses(data: bytes) -> list[RawResponse]:
    """Parse all responses in the bytes of a connection."""
    found = []
    while data:
        head, _, data = data.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = {k.lower(): v for k, _, v in (line.partition(": ") for line in lines)}
        length = int(headers.get("content-length", 0))
        found.append(RawResponse(int(first.split(" ")[1]), headers, data[:length], data[length:]))
        data = data[length:]
    return found


def exchange(server: Server, request: bytes) -> list[RawResponse]:
    """Send bytes; return all responses until the server closes the connection."""
    with connected(server) as connection:
        with suppress(BrokenPipeError, ConnectionResetError):
            connection.sendall(request)
        return parse_responses(receive_all(connection))


def get_request(target: bytes, *lines: bytes) -> bytes:
    """Return a GET request with `Connection: close`."""
    head = (b"GET " + target + b" HTTP/1.1", b"Host: localhost", b"Connection: close", *lines)
    return b"\r\n".join((*head, b"", b""))


def exchange_one(server: Server, request: bytes) -> RawResponse:
    """Send a request; return its only response."""
    (answer,) = exchange(server, request)
    return answer


class TestRequests:
    """Status of valid and invalid requests; content is never read as another request."""

    def test_valid_request_is_200_without_server_header(self, edge: Server) -> None:
        answer = exchange_one(edge, get_request(b"/health"))
        assert answer.status == 200
        assert "server" not in answer.headers

    @pytest.mark.parametrize(
        "target",
        [
            b"http://localhost" + IMAGE.encode() + b"/info.json",
            b"http://evil.example" + IMAGE.encode() + b"/info.json",
            b"http://user:secret@evil.example:99" + IMAGE.encode() + b"/info.json",
        ],
    )
    def test_absolute_target_is_read_as_its_path(self, edge: Server, target: bytes) -> None:
        answer = exchange_one(edge, get_request(target))
        assert answer.status == 200
        assert b"evil.example" not in answer.body
        assert b'"id":"http://localhost/pictures:pic.jpg"' in answer.body

    @pytest.mark.parametrize(
        "request_",
        [
            get_request(b"/health", b"Host: evil.example"),
            b"GET / HTTP/1.1\r\n\r\n",
            b"GET /health HTTP/9.9\r\nHost: a\r\n\r\n",
            b"BANANA /health HTTP/1.1\r\nHost: a\r\n\r\n",
            b"GET /health HTTP/1.1\r\nHost: a\r\nBad Header: x\r\n\r\n",
            b"GET /health HTTP/1.1\r\nHost : a\r\n\r\n",
            b"GET /health HTTP/1.1\r\nHost: a\r\n folded: x\r\n\r\n",
            b"GET /health HTTP/1.1\r\nHost: a\r\nX: a\x00b\r\n\r\n",
            b"GET /hea\x00lth HTTP/1.1\r\nHost: a\r\n\r\n",
            b"GET /hea\x1b[31mlth HTTP/1.1\r\nHost: a\r\n\r\n",
            b"GET /h\xc3\xa9 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
            b"CONNECT evil.example:443 HTTP/1.1\r\nHost: evil.example\r\n\r\n",
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
            b"SSH-2.0-OpenSSH_9.9\r\n",
        ],
    )
    def test_malformed_request_is_4xx_and_closes_the_connection(
        self, edge: Server, request_: bytes
    ) -> None:
        found = exchange(edge, request_)
        assert [answer.status // 100 for answer in found] == [4]

    @pytest.mark.parametrize("method", [b"POST", b"PUT", b"PATCH", b"DELETE", b"TRACE"])
    def test_unsupported_method_is_405(self, edge: Server, method: bytes) -> None:
        request = get_request(IMAGE.encode() + b"/info.json").replace(b"GET", method, 1)
        answer = exchange_one(edge, request)
        assert answer.status == 405
        assert answer.headers["allow"] == "GET, HEAD, OPTIONS"

    @pytest.mark.parametrize("method", [b"POST", b"PUT", b"PATCH", b"DELETE"])
    def test_unsupported_method_with_content_is_405_and_closes_the_connection(
        self, edge: Server, method: bytes
    ) -> None:
        request = get_request(IMAGE.encode() + b"/full/max/0/default.jpg", b"Content-Length: 3")
        found = exchange(
            edge, request.replace(b"GET", method, 1) + b"abc" + get_request(b"/health")
        )
        assert [(answer.status, answer.headers["allow"]) for answer in found] == [
            (405, "GET, HEAD, OPTIONS")
        ]

    def test_lowercase_method_is_400(self, edge: Server) -> None:
        assert exchange_one(edge, get_request(b"/health").replace(b"GET", b"get", 1)).status == 400

    @pytest.mark.parametrize(
        "lines",
        [
            [b"Content-Length: 5", b"Transfer-Encoding: chunked"],
            [b"Transfer-Encoding: chunked", b"Content-Length: 5"],
            [b"Content-Length: 5", b"Content-Length: 6"],
            [b"Content-Length: 5, 5"],
            [b"Content-Length: +5"],
            [b"Content-Length: -1"],
            [b"Content-Length: 0x5"],
            [b"Content-Length: 99999999999999999999999"],
            [b"Transfer-Encoding: chunked, identity"],
            [b"Transfer-Encoding: identity"],
            [b"Transfer-Encoding: xchunked"],
            [b"Transfer-Encoding:\x0bchunked"],
            [b"Transfer-Encoding : chunked"],
            [b"Transfer-Encoding: chunked"],
            [b"Content-Length: 5"],
            [b"Content-Length: 70"],
        ],
    )
    def test_request_smuggling_in_content_is_refused(
        self, edge: Server, lines: list[bytes]
    ) -> None:
        hidden = b"GET /status HTTP/1.1\r\nHost: localhost\r\n\r\n"
        request = b"\r\n".join((b"GET /health HTTP/1.1", b"Host: localhost", *lines, b"", b""))
        for body in (hidden, b"0\r\n\r\n" + hidden, b"5\r\nhello\r\n0\r\n\r\n" + hidden):
            found = exchange(edge, request + body)
            assert [answer.status for answer in found] in ([400], [413]), found
            assert found[0].headers["connection"] == "close"

    def test_unbounded_content_is_not_read(self, edge: Server) -> None:
        with connected(edge) as connection:
            connection.sendall(
                b"GET /health HTTP/1.1\r\nHost: a\r\nContent-Length: 9999999999\r\n\r\n"
            )
            assert send_until_refused(connection, b"x" * 65_536) < 1 << 27

    def test_pipelined_requests_are_answered_in_order(self, edge: Server) -> None:
        plain = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"
        information = b"GET " + IMAGE.encode() + b"/info.json HTTP/1.1\r\nHost: localhost\r\n\r\n"
        found = exchange(edge, plain + information + plain * 20 + get_request(b"/nothing"))
        assert [answer.status for answer in found] == [200] * 22 + [404]
        assert b'"width"' in found[1].body

    def test_upgrade_to_websocket_is_ignored(self, edge: Server) -> None:
        lines = (b"Upgrade: websocket", b"Sec-WebSocket-Key: x", b"Sec-WebSocket-Version: 13")
        request = get_request(b"/health", *lines).replace(
            b"Connection: close", b"Connection: Upgrade"
        )
        with connected(edge) as connection:
            connection.sendall(request)
            assert b" 101 " not in connection.recv(65_536)
        assert "pgrade" not in edge.log.read_text()

    def test_range_header_is_ignored_for_images(self, edge: Server) -> None:
        image = IMAGE.encode() + b"/full/50,/0/default.jpg"
        whole = exchange_one(edge, get_request(image))
        part = exchange_one(edge, get_request(image, b"Range: bytes=0-9"))
        assert (part.status, part.body) == (200, whole.body)
        assert "accept-ranges" not in whole.headers

    def test_expect_continue_is_413_without_reading_content(self, edge: Server) -> None:
        found = exchange(
            edge, get_request(b"/health", b"Content-Length: 5", b"Expect: 100-continue")
        )
        assert [answer.status for answer in found] == [413]


def _send_nothing(edge: Server) -> None:
    started = time.monotonic()
    with connected(edge) as silent:
        assert [answer.status for answer in parse_responses(receive_all(silent))] in ([], [408])
    assert time.monotonic() - started < 35


def _send_headers_slowly(edge: Server) -> None:
    started = time.monotonic()
    with connected(edge) as slow:
        slow.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n")
        slow.settimeout(0.5)
        data = None
        while data is None and time.monotonic() - started < 35:
            try:
                data = slow.recv(1000)
            except TimeoutError:
                slow.sendall(b"X: y\r\n")
    assert data is not None
    assert data.startswith(b"HTTP/1.1 408")


def _begin_a_second_request(edge: Server) -> None:
    with connected(edge) as slow:
        slow.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\nGET /hea")
        found = parse_responses(receive_all(slow))
    assert [answer.status for answer in found] == [200, 408]


class TestLimits:
    """Limits of one connection, and of the number of connections."""

    @pytest.mark.parametrize(
        ("request_", "status"),
        [
            (get_request(b"/" + b"a" * 60_000), 414),
            (get_request(b"/health", *[b"X-%d: y" % number for number in range(200)]), 431),
            (get_request(b"/health", b"Cookie: " + b"a" * 40_000), 431),
        ],
        ids=["target", "many headers", "long header"],
    )
    def test_too_large_request_head_is_414_or_431(
        self, edge: Server, request_: bytes, status: int
    ) -> None:
        answer = exchange_one(edge, request_)
        assert answer.status == status
        assert answer.headers["connection"] == "close"

    @pytest.mark.parametrize(
        ("start", "piece"),
        [
            (b"GET /", b"a" * 65_536),
            (b"GET / HTTP/1.1\r\nX: ", b"a" * 65_536),
            (b"GET / HTTP/1.1\r\n", b"X: y\r\n" * 10_000),
        ],
        ids=["target", "header", "headers"],
    )
    def test_unbounded_request_head_is_read_up_to_a_limit(
        self, edge: Server, start: bytes, piece: bytes
    ) -> None:
        with connected(edge) as connection:
            connection.sendall(start)
            assert send_until_refused(connection, piece) < 1 << 27

    def test_incomplete_request_heads_time_out(self, edge: Server) -> None:
        slow = (_send_nothing, _send_headers_slowly, _begin_a_second_request)
        with ThreadPoolExecutor(len(slow)) as threads:
            for done in [threads.submit(ask, edge) for ask in slow]:
                done.result()

    def test_connections_above_the_limit_are_503_and_others_continue(self, edge: Server) -> None:
        with httpx.Client() as reader:
            assert reader.get(f"{edge.url}/health").status_code == 200
            host, port = edge.url.removeprefix("http://").split(":")
            crowd = [socket.create_connection((host, int(port))) for _ in range(CONNECTIONS * 2)]
            try:
                for _ in range(5):
                    assert reader.get(f"{edge.url}/health").status_code == 200
                turned_away = 0
                for connection in crowd:
                    connection.settimeout(0.1)
                    try:
                        turned_away += connection.recv(100).startswith(b"HTTP/1.1 503")
                    except TimeoutError:
                        continue
                assert turned_away >= CONNECTIONS
            finally:
                for connection in crowd:
                    connection.close()
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            try:
                if httpx.get(f"{edge.url}/health").status_code == 200:
                    return
            except httpx.TransportError:
                pass
            time.sleep(0.05)
        raise AssertionError("the server does not recover")


def wait_for_log_lines(server: Server, mark: str) -> list[str]:
    """Wait for lines of the log that contain a text; return them."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        if lines := [line for line in server.log.read_text().split("\n") if mark in line]:
            return lines
        time.sleep(0.05)
    raise AssertionError(server.log.read_text())


class TestLog:
    """Access log: one printable line for each request."""

    @pytest.mark.parametrize(
        "written",
        [
            b"%0A2026-01-01%2000:00:00,000%20INFO%20forged",
            b"%0D%0AINFO%20forged",
            b"%1B%5B2J%1B%5B31mred",
            b"%E2%80%A8next%E2%80%A9",
            b"%C2%85next",
            b"%E2%80%AEevil",
            b"%00null",
            b"%22%20200%20%22GET",
            b'"quoted"',
            b"%ff%fe",
        ],
    )
    @pytest.mark.parametrize("place", ["path", "query", "type", "header"])
    def test_request_cannot_forge_a_log_line(
        self, edge: Server, place: str, written: bytes
    ) -> None:
        mark = f"mark{abs(hash((place, written)))}"
        target = {
            "path": b"/pictures:" + mark.encode() + written + b"/info.json",
            "query": b"/pictures:" + mark.encode() + b"?" + written,
            "type": b"/" + mark.encode() + written + b":x/info.json",
            "header": b"/pictures:" + mark.encode(),
        }[place]
        names = (b"User-Agent", b"Referer", b"X-Request-Id", b"traceparent")
        lines = [name + b": " + written for name in names] if place == "header" else []
        exchange_one(edge, get_request(target, *lines))
        (line,) = wait_for_log_lines(edge, mark)
        rest = r"\d{3} \d+ \d+\.\d{4}( [a-z]+=[a-z0-9.]+)* request=[0-9a-f]{16}"
        assert re.fullmatch(rf'.* - "GET [!#-~]+ HTTP/1\.1" {rest}', line), line
        for text in edge.log.read_text().split("\n"):
            assert LINE.fullmatch(text), text

    def test_invalid_utf8_in_a_target_logs_no_traceback(self, edge: Server) -> None:
        for target in (b"/health?\xff\xfe", b"/\xff\xfe"):
            found = exchange(edge, get_request(target))
            assert [answer.status for answer in found] in ([400], [200])
        assert "Traceback" not in edge.log.read_text()

    def test_long_url_is_cut_in_the_log(self, edge: Server) -> None:
        exchange_one(edge, get_request(b"/pictures:longlonglong" + b"a" * 3000 + b"/info.json"))
        (line,) = wait_for_log_lines(edge, "longlonglong")
        assert len(line) < 1200

    def test_log_contains_no_token_signature_or_key(self, edge: Server) -> None:
        address = Signatures([KEY.encode()]).sign(
            Identifier("closed", "pic.jpg"), int(time.time()) + 60
        )
        code = address.rpartition(".")[2]
        for rest in ("/info.json", "/full/50,/0/default.jpg", "", "/full/50,/0/worst.jpg"):
            for start in ("", "/iiif/2", "/iiif/3"):
                httpx.get(f"{edge.url}{start}/{address}/closed:pic.jpg{rest}")
        httpx.get(f"{edge.url}/signed%2F{address[7:]}%2Fclosed:pic.jpg/info.json")
        for token in (TOKEN, f"{TOKEN}-wrong"):
            headers = {"Authorization": f"Bearer {token}"}
            httpx.get(f"{edge.url}/admin/status?marked", headers=headers)
            httpx.get(f"{edge.url}/admin/status?token={token}", headers=headers)
        assert any(
            "signed/***/closed:pic.jpg" in line for line in wait_for_log_lines(edge, "signed/")
        )
        wait_for_log_lines(edge, "AccessRefused")
        text = edge.log.read_text()
        for secret in (code, TOKEN, KEY):
            assert secret not in text

    def test_responses_contain_no_path_or_address_of_the_server(self, edge: Server) -> None:
        folder = edge.source.parent.parent
        (edge.source / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 not a picture")
        (edge.source / "locked.jpg").symlink_to(Path("/etc/shadow"))
        for path in (
            "/pictures:broken.jpg/info.json",
            "/pictures:locked.jpg/info.json",
            "/pictures:../../settings.toml/info.json",
            "/pictures:..%2F..%2Fsettings.toml/info.json",
            "/pictures:/etc/passwd/info.json",
            "/pictures:pic.jpg/full/max/0/default.svg",
            "/status",
            "/openapi.json",
        ):
            response = httpx.get(f"{edge.url}{path}")
            for word in (str(folder), "/etc/", "site-packages", "Traceback", ".py"):
                assert word not in response.text, path
