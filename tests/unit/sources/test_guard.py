"""Guarded network: connections to permitted IP addresses only, for any DNS answer."""

import asyncio
from collections.abc import Iterable, Sequence
from ipaddress import ip_network
from typing import Any

import httpcore
import httpx
import pytest

from iiif_server.errors import ConfigurationError
from iiif_server.sources.guard import (
    AddressRefusedError,
    GuardedNetwork,
    GuardedStream,
    GuardedTransport,
    Resolver,
    check_guard,
)

PUBLIC, PUBLIC_6, PRIVATE = "93.184.215.14", "2606:4700:4700::1111", "10.0.0.1"
FORBIDDEN = ["127.0.0.1", PRIVATE, "169.254.169.254", "100.64.0.1", "::1", "fd00::1", "fe80::1%2"]


class Dialled(httpcore.AsyncNetworkBackend):
    """A network that notes which addresses are connected to; some do not answer."""

    def __init__(self, *dead: str) -> None:
        self.addresses: list[str] = []
        self._dead = dead

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109, ARG002
        local_address: str | None = None,  # noqa: ARG002
        socket_options: Iterable[Any] | None = None,  # noqa: ARG002
    ) -> httpcore.AsyncNetworkStream:
        self.addresses.append(host)
        if host in self._dead:
            raise httpcore.ConnectError(f"{host}:{port} does not answer")
        return httpcore.AsyncMockStream([b"ab"])


class Answers:
    """A name server that gives one answer after another, the last one for ever."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self._answers = list(answers)
        self.asked: list[str] = []

    async def __call__(self, host: str, _: int) -> Sequence[str]:
        self.asked.append(host)
        return self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]


async def connected(network: Dialled, answers: Answers, *allowed: str, times: int = 1) -> None:
    """Connect to a host with these answers, so many times."""
    guarded = GuardedNetwork([ip_network(text) for text in allowed], answers, network)
    for _ in range(times):
        await guarded.connect_tcp("example.org", 80, 1.0)


@pytest.mark.parametrize("address", FORBIDDEN)
async def test_a_name_of_an_address_that_is_not_public_is_not_connected_to(address: str) -> None:
    network = Dialled()
    with pytest.raises(AddressRefusedError):
        await connected(network, Answers([address]))
    assert network.addresses == []


@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize("address", [PUBLIC, PUBLIC_6])
async def test_of_public_and_private_addresses_only_the_public_one_is_connected_to(
    address: str, order: int
) -> None:
    network = Dialled()
    await connected(network, Answers([*FORBIDDEN, address, *FORBIDDEN][::order]))
    assert network.addresses == [address]


async def test_when_the_public_address_is_dead_the_private_one_is_not_tried_instead() -> None:
    network = Dialled(PUBLIC)
    with pytest.raises(httpcore.ConnectError):
        await connected(network, Answers([PUBLIC, PRIVATE, "127.0.0.1"]))
    assert network.addresses == [PUBLIC]


async def test_the_next_permitted_address_is_tried_when_one_is_dead() -> None:
    network = Dialled(PUBLIC_6)
    await connected(network, Answers([PUBLIC_6, PRIVATE, PUBLIC]))
    assert network.addresses == [PUBLIC_6, PUBLIC]


async def test_a_name_that_changes_is_checked_at_each_connection_and_looked_up_once_for_it() -> (
    None
):
    network, answers = Dialled(), Answers([PUBLIC], ["127.0.0.1"])
    with pytest.raises(AddressRefusedError):
        await connected(network, answers, times=2)
    assert network.addresses == [PUBLIC]
    assert answers.asked == ["example.org"] * 2


async def test_a_name_that_changes_during_the_connection_does_not_matter() -> None:
    network, answers = Dialled(), Answers([PUBLIC], [PRIVATE])
    await connected(network, answers)
    assert network.addresses == [PUBLIC]
    assert answers.asked == ["example.org"]


async def test_a_name_without_addresses_is_refused() -> None:
    with pytest.raises(AddressRefusedError):
        await connected(Dialled(), Answers([]))


async def test_what_the_operator_allows_is_connected_to() -> None:
    network = Dialled()
    await connected(network, Answers(["192.168.0.1", PRIVATE]), "10.0.0.0/8")
    assert network.addresses == [PRIVATE]


@pytest.mark.parametrize("port", [0, -1, 65_536, 99_999])
async def test_what_is_no_port_is_not_connected_to(port: int) -> None:
    network, answers = Dialled(), Answers([PUBLIC])
    with pytest.raises(httpcore.ConnectError):
        await GuardedNetwork((), answers, network).connect_tcp("example.org", port)
    assert network.addresses == answers.asked == []


async def test_a_name_server_that_does_not_answer_is_not_waited_for() -> None:
    async def never(_: str, __: int) -> Sequence[str]:
        await asyncio.Event().wait()
        return [PUBLIC]

    network = Dialled()
    with pytest.raises(httpcore.ConnectTimeout):
        await GuardedNetwork((), never, network).connect_tcp("example.org", 80, 0.01)
    assert network.addresses == []


async def test_sockets_of_this_machine_are_not_connected_to() -> None:
    with pytest.raises(AddressRefusedError):
        await GuardedNetwork((), Answers([PUBLIC])).connect_unix_socket("/run/docker.sock")


@pytest.mark.parametrize("host", ["127.1", "0x7f.1", "0177.0.0.1", "2130706433", "127.0.0.1", "0"])
async def test_addresses_are_looked_up_as_the_system_spells_them(host: str) -> None:
    names = Resolver(1)
    found = await names.resolve(host, 80)
    names.close()
    assert found == ["0.0.0.0" if host == "0" else "127.0.0.1"]  # noqa: S104


@pytest.mark.parametrize("host", ["", "a\0b", "a" * 64, "a..b", "\ud800", "x." * 200])
async def test_what_is_no_name_is_a_failure_to_connect(host: str) -> None:
    names = Resolver(1)
    with pytest.raises(httpcore.ConnectError):
        await names.resolve(host, 80)
    names.close()


class Endless(httpcore.AsyncNetworkStream):
    """A connection over which any number of bytes comes."""

    def __init__(self) -> None:
        self.portions: list[int] = []

    async def read(
        self,
        max_bytes: int,
        timeout: float | None = None,  # noqa: ASYNC109, ARG002
    ) -> bytes:
        self.portions.append(max_bytes)
        return bytes(max_bytes)

    async def start_tls(self, *_: Any, **__: Any) -> httpcore.AsyncNetworkStream:
        return self


@pytest.mark.parametrize("encrypted", [False, True])
async def test_of_a_head_that_does_not_end_no_more_is_read_than_a_head_is_long(
    *, encrypted: bool
) -> None:
    inner = Endless()
    stream: httpcore.AsyncNetworkStream = GuardedStream(inner)
    if encrypted:
        stream = await stream.start_tls(httpcore.default_ssl_context())
    for _ in range(16):
        await stream.read(1 << 16)
    with pytest.raises(httpcore.ReadError):
        await stream.read(1 << 16)
    assert sum(inner.portions) == 1 << 16
    assert max(inner.portions) <= 4096


async def test_of_a_body_as_much_is_read_as_is_asked_for() -> None:
    inner = Endless()
    stream = GuardedStream(inner)
    stream.expect_body()
    for _ in range(100):
        await stream.read(1 << 16)
    assert inner.portions == [1 << 16] * 100


async def test_a_start_passes_where_httpx_connects_through_the_guard() -> None:
    await check_guard()


class RenamedPool(GuardedTransport):
    """As if a later httpx called its pool otherwise, so that the guarded one is not used."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused by the peer, not by the guard", request=request)


class Answering(GuardedTransport):
    """As above, and something listens at the address."""

    async def handle_async_request(self, _: httpx.Request) -> httpx.Response:
        return httpx.Response(200)


@pytest.mark.parametrize("transport", [RenamedPool, Answering])
async def test_a_start_fails_where_httpx_connects_past_the_guard(
    transport: type[GuardedTransport],
) -> None:
    with pytest.raises(ConfigurationError, match=r"Fetching is not safe: httpx .*127\.0\.0\.1"):
        await check_guard(transport)
