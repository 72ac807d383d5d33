"""IP addresses from which the server may fetch."""

from collections.abc import Callable
from ipaddress import ip_address, ip_network

import pytest

from iiif_server.sources.addresses import Network, may_connect

PUBLIC_4 = ["8.8.8.8", "1.1.1.1", "93.184.215.14", "172.15.255.255", "172.32.0.1", "100.63.255.255"]
PUBLIC_6 = ["2606:4700:4700::1111", "2a00:1450:4001:82a::200e", "2001:4860:4860::8888"]
PRIVATE_4 = [
    "0.0.0.0",  # noqa: S104 - refused here
    "0.1.2.3",
    "10.0.0.1",
    "10.255.255.255",
    "100.64.0.1",
    "100.127.255.255",
    "127.0.0.1",
    "127.255.255.254",
    "169.254.0.1",
    "169.254.169.254",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.1",
    "192.0.0.8",
    "192.0.0.9",
    "192.0.0.170",
    "192.0.0.171",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.0.1",
    "198.18.0.1",
    "198.19.255.255",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "239.255.255.255",
    "233.252.0.1",
    "240.0.0.1",
    "255.255.255.254",
    "255.255.255.255",
]
PRIVATE_6 = [
    "::",
    "::1",
    "fe80::1",
    "febf::1",
    "fc00::1",
    "fd00:ec2::254",
    "fdff:ffff::1",
    "fec0::1",
    "ff02::1",
    "ff0e::1",
    "100::1",
    "100:0:0:1::1",
    "200::1",
    "8000::1",
    "f000::1",
    "ff05::2",
    "ff3e::1",
    "2001::1",
    "2001:1::4",
    "2001:db8::1",
    "3fff::1",
    "5f00::1",
    "2001:2::1",
    "2001:10::1",
    "2001:20::1",
    "2001:3::1",
    "2002:808:808::1",
    "2001:4:112::1",
    "2001:30::1",
    "192.0.0.9",
    "64:ff9b:1::1",
    "64:ff9b:1::808:808",
    "4000::1",
    "::2",
]
LEFT_OVER = [
    "",
    " ",
    "localhost",
    "example.org",
    "2130706433",
    "134744072",
    "0x08080808",
    "0x7f.1",
    "8.8.2056",
    "127.1",
    "010.8.8.8",
    "8.8.8.8.",
    "8.8.8",
    "8.8.8.8.8",
    "8.8.8.256",
    "8.8.8.-8",
    " 8.8.8.8",
    "8.8.8.8\n",
    "8.8.8.8:80",
    "8.8.8.8/32",
    "[::1]",
    "[2606:4700:4700::1111]",
    "2606:4700:4700:::1111",
    "2606:4700:4700::1111/128",
    "\u0668.\u0668.\u0668.\u0668",
    "\uff18.8.8.8",
    "%eth0",
]


def nat64(address: str) -> str:
    return f"64:ff9b::{address}"


def mapped(address: str) -> str:
    return f"::ffff:{address}"


def compatible(address: str) -> str:
    return f"::{address}"


def translated(address: str) -> str:
    return f"::ffff:0:{address}"


def six_to_four(address: str) -> str:
    return str(ip_address((0x2002 << 112) | (int(ip_address(address)) << 80) | 1))


def teredo_client(address: str) -> str:
    server = int(ip_address("8.8.8.8"))
    client = int(ip_address(address)) ^ 0xFFFF_FFFF
    return str(ip_address((0x2001_0000 << 96) | (server << 64) | client))


def teredo_server(address: str) -> str:
    server = int(ip_address(address))
    client = int(ip_address("8.8.8.8")) ^ 0xFFFF_FFFF
    return str(ip_address((0x2001_0000 << 96) | (server << 64) | client))


def isatap(address: str) -> str:
    return f"2606:4700::5efe:{address}"


def isatap_global(address: str) -> str:
    return f"2606:4700::200:5efe:{address}"


CARRIERS = [
    mapped,
    compatible,
    translated,
    nat64,
    six_to_four,
    teredo_client,
    teredo_server,
    isatap,
    isatap_global,
]


@pytest.mark.parametrize("address", PUBLIC_4 + PUBLIC_6)
def test_a_public_address_may_be_connected_to(address: str) -> None:
    assert may_connect(address, ())


@pytest.mark.parametrize("address", PRIVATE_4 + PRIVATE_6)
def test_no_other_address_may_be_connected_to(address: str) -> None:
    assert not may_connect(address, ())


@pytest.mark.parametrize("address", LEFT_OVER)
def test_what_is_no_address_may_not_be_connected_to(address: str) -> None:
    assert not may_connect(address, ())
    assert not may_connect(address, (ip_network("0.0.0.0/0"), ip_network("::/0")))


@pytest.mark.parametrize("address", ["fe80::1%eth0", "::1%1", "fd00::1%", "ff02::1%lo"])
def test_a_zone_does_not_make_an_address_public(address: str) -> None:
    assert not may_connect(address, ())


@pytest.mark.parametrize("carrier", CARRIERS)
@pytest.mark.parametrize("address", PRIVATE_4)
def test_a_private_address_is_not_reached_by_way_of_ipv6(
    address: str, carrier: Callable[[str], str]
) -> None:
    assert not may_connect(carrier(address), ())


@pytest.mark.parametrize("carrier", [mapped, nat64])
@pytest.mark.parametrize("address", PUBLIC_4)
def test_a_public_address_is_reached_by_way_of_ipv6(
    address: str, carrier: Callable[[str], str]
) -> None:
    assert may_connect(carrier(address), ())


@pytest.mark.parametrize(
    "address",
    [
        "::8.8.8.8",  # compatible: never more than a proposal
        "::ffff:0:8.8.8.8",
        "64:ff9b:1::8.8.8.8",
        "64:ff9b:1:ffff::8.8.8.8",
        "fe80::5efe:8.8.8.8",
        "fd00::200:5efe:8.8.8.8",
        "ff02::5efe:8.8.8.8",
        "::5efe:8.8.8.8",
        "2001:0:808:808::f7f7:f7f7",  # Teredo
    ],
)
def test_a_public_address_does_not_open_a_carrier_that_is_not_public(address: str) -> None:
    assert not may_connect(address, ())


@pytest.mark.parametrize(
    "address",
    [
        "::ffff:7f00:1",
        "0:0:0:0:0:ffff:7f00:0001",
        "::FFFF:127.0.0.1",
        "64:ff9b::7f00:1",
        "64:FF9B::A9FE:A9FE",
        "2002:7f00:1::",
        "2002:a9fe:a9fe::1",
        "2002:c0a8:101::8888",
    ],
)
def test_spelling_does_not_make_a_carried_address_public(address: str) -> None:
    assert not may_connect(address, ())


@pytest.mark.parametrize(
    ("address", "allowed", "expected"),
    [
        ("10.1.2.3", ["10.0.0.0/8"], True),
        ("11.1.2.3", ["10.0.0.0/8"], True),
        ("192.168.0.1", ["10.0.0.0/8"], False),
        ("127.0.0.1", ["127.0.0.1/32"], True),
        ("127.0.0.2", ["127.0.0.1/32"], False),
        ("::1", ["::1/128"], True),
        ("::1", ["127.0.0.0/8"], False),
        ("127.0.0.1", ["::/0"], False),
        ("fd00::1", ["10.0.0.0/8", "fd00::/8"], True),
        ("fe80::1%eth0", ["fe80::/10"], True),
        # what is allowed is allowed however it is carried
        ("::ffff:10.1.2.3", ["10.0.0.0/8"], True),
        ("64:ff9b::10.1.2.3", ["10.0.0.0/8"], True),
        ("::ffff:192.168.0.1", ["10.0.0.0/8"], False),
    ],
)
def test_the_operator_may_allow_a_network(
    address: str, allowed: list[str], *, expected: bool
) -> None:
    networks: list[Network] = [ip_network(text) for text in allowed]
    assert may_connect(address, networks) is expected


@pytest.mark.parametrize(
    "address",
    [
        # Teredo by an allowed server to the loopback address
        "2001:0:0a01:203:0:0:80ff:fffe",
        # 6to4 by an allowed router, with an ISATAP identifier of the loopback address
        "2002:0a01:203::5efe:7f00:1",
    ],
)
def test_an_allowed_address_does_not_vouch_for_another_in_the_same_carrier(address: str) -> None:
    assert not may_connect(address, (ip_network("10.0.0.0/8"),))
