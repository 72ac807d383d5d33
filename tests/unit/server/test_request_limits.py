"""Requests that exceed a limit, for any URL."""

import pytest

from iiif_server.errors import (
    ContentRefusedError,
    HeadersTooLargeError,
    IiifServerError,
    TargetTooLongError,
    UntrustedHostError,
)
from iiif_server.iiif.identifier import MAX_CHARACTERS
from iiif_server.server.request_limits import (
    MAX_HEADER_BYTES,
    MAX_HEADER_FIELDS,
    MAX_TARGET,
    limit_problem,
)

HOST = (b"host", b"example.org")
Headers = list[tuple[bytes, bytes]]


@pytest.mark.parametrize(
    ("target_bytes", "headers"),
    [
        (1, []),
        (1, [HOST]),
        (MAX_TARGET, [HOST]),
        (1, [HOST, (b"content-length", b"0")]),
        (1, [HOST, (b"content-length", b"00")]),
        (1, [(b"x", b"")] * MAX_HEADER_FIELDS),
        (1, [(b"x", b"y" * (MAX_HEADER_BYTES - 1))]),
    ],
)
def test_what_may_go_on(target_bytes: int, headers: Headers) -> None:
    assert limit_problem(target_bytes, headers) is None


@pytest.mark.parametrize(
    ("target_bytes", "headers", "kind"),
    [
        (MAX_TARGET + 1, [HOST], TargetTooLongError),
        (1, [(b"x", b"")] * (MAX_HEADER_FIELDS + 1), HeadersTooLargeError),
        (1, [(b"x", b"y" * MAX_HEADER_BYTES)], HeadersTooLargeError),
        (1, [(b"x" * 99, b"y" * 301)] * 90, HeadersTooLargeError),
        (1, [HOST, HOST], UntrustedHostError),
        (1, [HOST, (b"host", b"evil.example")], UntrustedHostError),
        (1, [HOST, (b"content-length", b"1")], ContentRefusedError),
        (1, [HOST, (b"content-length", b"10")], ContentRefusedError),
        (1, [HOST, (b"content-length", b"0"), (b"content-length", b"5")], ContentRefusedError),
        (1, [HOST, (b"transfer-encoding", b"chunked")], ContentRefusedError),
        (1, [HOST, (b"transfer-encoding", b"identity")], ContentRefusedError),
    ],
)
def test_what_is_refused(target_bytes: int, headers: Headers, kind: type[IiifServerError]) -> None:
    assert type(limit_problem(target_bytes, headers)) is kind


def test_a_host_is_needed_where_the_version_of_http_has_one() -> None:
    assert type(limit_problem(1, [], host_required=True)) is UntrustedHostError
    assert limit_problem(1, [HOST], host_required=True) is None
    assert limit_problem(1, [], host_required=False) is None


def test_the_longest_identifier_fits_however_it_is_encoded() -> None:
    assert len("%F0%9F%96%BC") * MAX_CHARACTERS < MAX_TARGET
