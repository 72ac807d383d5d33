"""IP addresses that the server may fetch from (SSRF), and networks as a setting."""

from collections.abc import Iterable, Sequence
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)
from typing import Annotated

from pydantic import BeforeValidator

from iiif_server.options import Expects, Listed

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

_NETWORK = Expects('a network in CIDR notation such as "10.0.0.0/8" or "2001:db8::/32"')


def _network(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        return ip_network(value)
    except ValueError:
        pass
    try:
        wider = ip_network(value, strict=False)
    except ValueError:
        raise ValueError(f"must be {_NETWORK.expected}") from None
    raise ValueError(f'must be {_NETWORK.expected}; did you mean "{wider}"?')


Networks = Annotated[tuple[Annotated[Network, BeforeValidator(_network), _NETWORK], ...], Listed]
"""Networks as a setting: a list in a file; in the environment JSON, or a comma-separated list."""


_NAT64 = IPv6Network("64:ff9b::/96")
_IPV4_COMPATIBLE = IPv6Network("::/96")
_ISATAP = 0x5EFE
_NEVER_PUBLIC: tuple[Network, ...] = tuple(
    ip_network(text)
    for text in (
        "0.0.0.0/8",
        "100.64.0.0/10",  # carrier-grade NAT
        "192.0.0.0/24",  # protocol assignments
        "192.88.99.0/24",  # 6to4 relays
        "2001::/23",  # protocol assignments; newer versions of Python report some as global
        "2002::/16",  # 6to4; older versions of Python report it as global
        "64:ff9b:1::/48",  # NAT64 inside a network
        "fec0::/10",  # site-local, before unique-local
        "3fff::/20",  # documentation
        "5f00::/16",  # segment routing
    )
)


def may_connect(address: str, allowed: Sequence[Network]) -> bool:
    """Whether an IP address is public, or in a network that the operator permits.

    An IPv6 address with an embedded IPv4 address (mapped, NAT64, ISATAP) is public only if that one
    is. 6to4, Teredo and IPv4-compatible addresses are public only if the operator allows them. The
    result does not depend on the version of Python. False for text that is not an IP address.
    """
    try:
        ip = ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if any(ip in network for network in allowed):
        return True
    embedded = list(_embedded(ip))
    opened = [inner for inner in embedded if any(inner in network for network in allowed)]
    if not all(inner in opened or _is_public(inner) for inner in embedded):
        return False
    # A mapped or NAT64 address itself is not global: its embedded address decides, or a network
    # that the operator allows.
    carrier = isinstance(ip, IPv6Address) and (ip.ipv4_mapped or ip in _NAT64)
    return bool(carrier or opened) or _is_public(ip)


def _is_public(ip: Address) -> bool:
    return (
        ip.is_global
        and not ip.is_multicast
        and not ip.is_reserved
        and not any(ip in network for network in _NEVER_PUBLIC)
    )


def _embedded(ip: Address) -> Iterable[IPv4Address]:
    """IPv4 addresses embedded in an IPv6 address."""
    if isinstance(ip, IPv4Address):
        return
    low = IPv4Address(int(ip) & 0xFFFF_FFFF)
    if ip.ipv4_mapped:
        yield ip.ipv4_mapped
    elif ip in _NAT64 or (ip in _IPV4_COMPATIBLE and int(ip) > 0xFFFF):  # noqa: PLR2004 - ::1, ::
        yield low
    if ip.sixtofour:
        yield ip.sixtofour
    if ip.teredo:
        yield from ip.teredo
    if (int(ip) >> 32) & 0xFFFF == _ISATAP:
        yield low
