"""Trusted proxies: whose forwarded headers are believed, and the cache of peers."""

from ipaddress import IPv4Network, IPv6Network
from typing import Any

import pytest

from iiif_server.errors import UntrustedHostError
from iiif_server.server.addresses import Addressing, mounted, root_path_of
from iiif_server.server.proxies import MAX_VALUE, is_host, read_forwarded, with_port

ADDRESSING = Addressing(None, (IPv4Network("10.0.0.0/8"), IPv6Network("fd00::/8")))


def test_peers_without_number_take_no_memory_without_bound() -> None:
    addressing = Addressing(None, (IPv4Network("10.0.0.0/8"),))
    for number in range(20_000):
        addressing.trusts(f"10.1.{number // 256}.{number % 256}")
        assert len(addressing._trusted) <= 4096
    assert addressing.trusts("10.1.0.0")
    assert not addressing.trusts("11.1.0.0")


def test_where_nobody_is_trusted_no_peer_is_remembered() -> None:
    addressing = Addressing(None, ())
    assert not addressing.trusts("127.0.0.1")
    assert len(addressing._trusted) == 0


@pytest.mark.parametrize(
    ("peer", "trusted"),
    [
        ("10.255.255.255", True),
        ("11.0.0.0", False),
        ("::ffff:10.0.0.1", True),
        ("fd00::1", True),
        ("fe00::1", False),
        ("", False),
        ("unix:/run/a.sock", False),
    ],
)
def test_peers_are_trusted_by_their_network(*, peer: str, trusted: bool) -> None:
    for _ in range(2):  # the second time from memory
        assert ADDRESSING.trusts(peer) is trusted


@pytest.mark.parametrize(
    ("host", "valid"),
    [
        ("a:1", True),
        ("a:65535", True),
        ("a:65536", False),
        ("a:0", False),
        ("a:99999", False),
        ("a:", False),
        ("[::1]:65535", True),
        ("[::1]:65536", False),
        ("a" * 253, True),
        ("a" * 254, False),
    ],
)
def test_ports_and_names_have_exact_limits(*, host: str, valid: bool) -> None:
    assert is_host(host) is valid
    scope: dict[str, Any] = {
        "scheme": "http",
        "headers": [(b"host", host.encode())],
        "client": None,
    }
    if valid:
        assert ADDRESSING.base_of(scope) == f"http://{host}"
    else:
        with pytest.raises(UntrustedHostError):
            ADDRESSING.base_of(scope)


def test_a_port_is_left_out_where_it_is_the_usual_one() -> None:
    assert with_port("a", "443", "https") == "a"
    assert with_port("a", "80", "https") == "a:80"
    assert with_port("a", "443", "http") == "a:443"
    assert with_port("a:1", "2", "http") == "a:1"
    assert with_port("a", None, "http") == "a"


@pytest.mark.parametrize("length", [MAX_VALUE, MAX_VALUE + 1])
def test_values_are_read_up_to_their_bound(length: int) -> None:
    value = b"/" + b"a" * (length - 1)
    said = read_forwarded([(b"x-forwarded-prefix", value)], "/x", "")
    assert (said.prefix is None) == (length > MAX_VALUE)
    assert said.malformed == (("x-forwarded-prefix",) if length > MAX_VALUE else ())


@pytest.mark.parametrize(
    ("sent", "path", "root", "prefix"),
    [
        ("/a", "/x", "", "/a"),
        ("/a/x", "/x", "", "/a"),
        ("/a/x?y=/x", "/x", "", "/a"),
        ("/x", "/x", "", ""),
        ("/root/x", "/root/x", "/root", "/root"),
        ("/a/root/x", "/root/x", "/root", "/a/root"),
        ("/a/", "/", "", "/a"),
        ("/a//x", "/x", "", "/a"),
        ("//evil/x", "/x", "", None),
        ("/../x", "/x", "", None),
    ],
)
def test_a_forwarded_path_may_be_the_whole_path(
    sent: str, path: str, root: str, prefix: str | None
) -> None:
    assert read_forwarded([(b"x-forwarded-path", sent.encode())], path, root).prefix == prefix


@pytest.mark.parametrize(
    ("root", "path", "within"),
    [
        ("/iiif", "/iiif/2/a", ""),
        ("/iiif", "/iiif/3/a", ""),
        ("/iiif", "/iiif/4/a", "/iiif"),
        ("/iiif", "/iiif/2", "/iiif"),
        ("/iiif", "/iiif/2%2Fa", "/iiif"),
        ("/iiif", "/iiif/iiif/2/a", "/iiif"),
        ("/iiif", "/iiif/admin/status", "/iiif"),
        ("/a/iiif", "/a/iiif/2/b", "/a"),
        ("/aiiif", "/aiiif/2/b", "/aiiif"),
        ("/images", "/images/iiif/2/b", "/images"),
    ],
)
def test_the_path_of_a_version_shares_the_end_of_the_root_path(
    root: str, path: str, within: str
) -> None:
    scope = mounted({"path": path, "raw_path": path.encode()}, root)
    assert scope["root_path"] == within
    assert root_path_of(scope) == root
