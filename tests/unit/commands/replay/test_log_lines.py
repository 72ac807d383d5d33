import bz2
import gzip
import io
import lzma
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from iiif_server.commands.replay.log_lines import LoggedRequest, Skipped, parse_line, read_log

AT = datetime(2026, 1, 2, 12, 0, 0, tzinfo=UTC).timestamp()
TILE = "/iiif/3/images:a%2Fb.jpg/0,0,512,512/512,512/0/default.jpg"
COMMON = f'192.0.2.1 - - [02/Jan/2026:13:00:00 +0100] "GET {TILE} HTTP/1.1" 200 51234'
JSON = (
    '{"time": "2026-01-02T12:00:00.000+00:00", "event": "Answered", "method": "HEAD",'
    f' "path": "{TILE}", "status": 200}}'
)


@pytest.mark.parametrize(
    "line",
    [
        f"{COMMON}\n",
        f'{COMMON} "https://example.org/" "Mozilla/5.0 \\"quoted\\" [x]"\r\n',
        f'::1 - Jo Doe [02/Jan/2026:12:00:00 +0000] "GET {TILE} HTTP/2.0" 304 - "-" "-"',
    ],
)
def test_common_and_combined_lines_are_requests(line: str) -> None:
    assert parse_line(line.encode()) == LoggedRequest("GET", TILE, AT)


def test_our_json_lines_are_requests() -> None:
    assert parse_line(JSON.encode()) == LoggedRequest("HEAD", TILE, AT)


def test_our_console_lines_are_requests_in_local_time() -> None:
    line = (
        "2026-01-02 12:00:00,500 INFO iiif_server.access 192.0.2.1:50000 - "
        f'"GET {TILE} HTTP/1.1" 200 51234 0.0841 engine=raster request=6d2def8e69eddddf'
    )
    at = datetime(2026, 1, 2, 12, 0, 0, 500_000).astimezone().timestamp()
    assert parse_line(line.encode()) == LoggedRequest("GET", TILE, at)


def common(request: str) -> bytes:
    return COMMON.replace(f"GET {TILE} HTTP/1.1", request).encode()


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"", Skipped.NO_REQUEST),
        (b"\x00\xff\xfe", Skipped.NO_REQUEST),
        (gzip.compress(COMMON.encode()), Skipped.COMPRESSED),
        (lzma.compress(COMMON.encode()), Skipped.COMPRESSED),
        (bz2.compress(COMMON.encode()), Skipped.COMPRESSED),
        (b"2026-01-02 12:00:00,000 INFO iiif_server Rendered engine='raster'", Skipped.NO_REQUEST),
        (b'{"event": "Rendered", "time": "2026-01-02T12:00:00+00:00"}', Skipped.NO_REQUEST),
        (b'{"method": "GET", "path": ["/"], "time": "2026-01-02"}', Skipped.NO_REQUEST),
        (b'{"method": "GET", "path": "/", "time": "9999-99-99"}', Skipped.NO_REQUEST),
        (b'{"method": ' + b"[" * 16_000, Skipped.NO_REQUEST),
        (b"{", Skipped.NO_REQUEST),
        (common("GET /a"), Skipped.NO_REQUEST),
        (common("\\x16\\x03\\x01"), Skipped.NO_REQUEST),
        (COMMON.replace("Jan", "Foo").encode(), Skipped.NO_REQUEST),
        (common("POST /admin/purge HTTP/1.1"), Skipped.METHOD),
        (common("DELETE /a HTTP/1.1"), Skipped.METHOD),
        (b'{"method": "PUT", "path": "/", "time": "2026-01-02"}', Skipped.METHOD),
        (common("GET http://192.0.2.1/a HTTP/1.1"), Skipped.NO_PATH),
        (common("GET //192.0.2.1/a HTTP/1.1"), Skipped.NO_PATH),
        (common("GET * HTTP/1.1"), Skipped.NO_PATH),
        (common("GET /a\\x22b HTTP/1.1"), Skipped.NO_PATH),
        (common("GET /a#b HTTP/1.1"), Skipped.NO_PATH),
        (common("GET /\xe9 HTTP/1.1"), Skipped.NO_PATH),
        (
            b'{"method": "GET", "path": "/ HTTP/1.1\\r\\nX: y", "time": "2026-01-02"}',
            Skipped.NO_PATH,
        ),
        (common("GET /***/images:a.jpg/info.json HTTP/1.1"), Skipped.SIGNED),
        (common(f"GET /{'a' * 999}... HTTP/1.1"), Skipped.TOO_LONG),
    ],
)
def test_other_lines_are_skipped_for_a_reason(line: bytes, reason: Skipped) -> None:
    assert parse_line(line) is reason


@settings(deadline=None)
@given(st.binary(max_size=300))
def test_no_line_raises(line: bytes) -> None:
    parse_line(line)
    parse_line(b"{" + line)


def test_lines_that_do_not_end_take_no_memory() -> None:
    class Endless(io.BytesIO):
        longest = 0

        def readline(self, size: int | None = -1) -> bytes:
            assert size is not None
            self.longest = max(self.longest, size)
            return super().readline(size)

    long = b"x" * 100_000
    file = Endless(b"\n".join((COMMON.encode(), long, COMMON.encode(), long)))
    logged = LoggedRequest("GET", TILE, AT)
    assert list(read_log(file)) == [logged, Skipped.TOO_LONG, logged, Skipped.TOO_LONG]
    assert 0 < file.longest < 20_000
