"""Network backend of the HTTP client: it connects to permitted IP addresses only (SSRF)."""

import asyncio
import contextlib
import functools
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from ipaddress import ip_address, ip_network
from typing import Any

import httpcore
import httpx

from iiif_server.errors import ConfigurationError
from iiif_server.sources.access import public_trust
from iiif_server.sources.addresses import Network, may_connect

_MAX_PORT = 65_535
_MAX_HEAD = 1 << 16
"""Maximum bytes of response headers; web servers themselves accept at most 8 to 16 KiB."""
_HEAD_CHUNK = 1 << 12

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
"""Look-up of the IP addresses of a host and port. Raises httpcore.ConnectError if it fails."""


class AddressRefusedError(httpcore.ConnectError):
    """No IP address of the host is permitted."""


class Resolver:
    """DNS look-ups, in their own threads.

    A name server that does not answer blocks a thread until the timeout of the system's resolver.
    In shared threads, a few such names would block all reading of files.
    """

    def __init__(self, threads: int) -> None:
        self._threads = ThreadPoolExecutor(threads, "names")

    async def resolve(self, host: str, port: int) -> list[str]:
        """IP addresses of a host, in the order of the system. Raises httpcore.ConnectError."""
        ask = functools.partial(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM)
        try:
            found = await asyncio.get_running_loop().run_in_executor(self._threads, ask)
        except (OSError, ValueError) as error:  # ValueError: not a valid host name
            raise httpcore.ConnectError(str(error)) from error
        return list(dict.fromkeys(str(item[4][0]) for item in found))

    def close(self) -> None:
        """Cancel queued look-ups, and start no more."""
        self._threads.shutdown(wait=False, cancel_futures=True)


class GuardedStream(httpcore.AsyncNetworkStream):
    """Connection for one response, with a limit on the bytes before the end of its headers.

    Headers are read in small portions, as parsing a portion blocks the event loop: it may contain
    hundreds of interim responses ("100 Continue").
    """

    def __init__(self, stream: httpcore.AsyncNetworkStream) -> None:
        self._stream = stream
        self._head_bytes_left: int | None = _MAX_HEAD

    def expect_body(self) -> None:
        """End the limit, as the headers are complete."""
        self._head_bytes_left = None

    async def read(
        self,
        max_bytes: int,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's interface
    ) -> bytes:
        """Read the next bytes; none at the end. Raises httpcore.ReadError above the limit."""
        if self._head_bytes_left is None:
            return await self._stream.read(max_bytes, timeout)
        if self._head_bytes_left <= 0:
            raise httpcore.ReadError("the head of the answer does not end")
        data = await self._stream.read(min(max_bytes, _HEAD_CHUNK), timeout)
        self._head_bytes_left -= len(data)
        return data

    async def write(
        self,
        buffer: bytes,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's interface
    ) -> None:
        """Send all bytes."""
        await self._stream.write(buffer, timeout)

    async def aclose(self) -> None:
        """Close the connection."""
        await self._stream.aclose()

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's interface
    ) -> httpcore.AsyncNetworkStream:
        """Start TLS on the connection."""
        return GuardedStream(await self._stream.start_tls(ssl_context, server_hostname, timeout))

    def get_extra_info(self, info: str) -> Any:
        """Information about the connection, for httpcore."""
        return self._stream.get_extra_info(info)


class GuardedNetwork(httpcore.AsyncNetworkBackend):
    """Network backend of httpcore that connects only to permitted IP addresses.

    It looks up the host once per connection and connects to a checked address, so that DNS cannot
    change in between (DNS rebinding).
    """

    def __init__(
        self,
        allowed: Sequence[Network],
        resolve: Resolve,
        network: httpcore.AsyncNetworkBackend | None = None,
    ) -> None:
        self._allowed = allowed
        self._resolve = resolve
        self._network = network or httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's interface
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Connect to the first permitted address of the host that answers.

        Raises AddressRefusedError without a permitted address, or other errors of httpcore.
        """
        if not 0 < port <= _MAX_PORT:  # neither httpx nor getaddrinfo checks it
            raise httpcore.ConnectError(f"{port} is not a valid port")
        try:
            async with asyncio.timeout(timeout):
                found = await self._resolve(host, port)
        except TimeoutError as error:
            raise httpcore.ConnectTimeout(f"the name {host} was not resolved in time") from error
        addresses = [address for address in found if may_connect(address, self._allowed)]
        if not addresses:
            raise AddressRefusedError(f"no permitted address for {host}")
        last: Exception = httpcore.ConnectError("no address answered")
        for address in addresses:
            try:
                stream = await self._network.connect_tcp(
                    address, port, timeout, local_address, socket_options
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                last = error
            else:
                return GuardedStream(stream)
        raise last

    async def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,  # noqa: ASYNC109, ARG002 - httpcore's interface
        socket_options: Iterable[Any] | None = None,  # noqa: ARG002
    ) -> httpcore.AsyncNetworkStream:
        """Raise AddressRefusedError: originals do not come from Unix sockets."""
        raise AddressRefusedError(path)

    async def sleep(self, seconds: float) -> None:
        """Wait between retries of httpcore."""
        await self._network.sleep(seconds)


class ProxyNetwork(GuardedNetwork):
    """Network backend that connects to an outbound proxy, at any IP address.

    It checks the hosts that are requested through the proxy. As the proxy looks up names itself,
    all addresses of a name here must be permitted. With `resolves`, it checks only hosts that are
    written as IP addresses.
    """

    def __init__(self, allowed: Sequence[Network], resolve: Resolve, *, resolves: bool) -> None:
        super().__init__(_ANY, resolve)
        self._permitted = allowed
        self._resolves = resolves

    async def check(self, host: str) -> None:
        """Raise AddressRefusedError if a host must not be requested through the proxy."""
        literal = _literal(host)
        if literal is None and self._resolves:
            if host.rstrip(".").rpartition(".")[2].lower() == "localhost":
                raise AddressRefusedError(f"{host} is this machine")
            return
        try:
            found = [literal] if literal else await self._resolve(host, 0)
        except httpcore.ConnectError as error:
            raise httpcore.ConnectError(
                f"{error}: the name {host} is looked up here although a proxy is set; "
                "proxy_resolves = true leaves that to the proxy"
            ) from error
        if not found or not all(may_connect(address, self._permitted) for address in found):
            raise AddressRefusedError(f"{host} has an address that is not permitted")


_ANY: tuple[Network, ...] = (ip_network("0.0.0.0/0"), ip_network("::/0"))


def _literal(host: str) -> str | None:
    """IP address in a host, also in the notations of C: 127.1, 0x7f000001; None for a name."""
    bare = host.strip("[]").rstrip(".")
    with contextlib.suppress(ValueError):
        return str(ip_address(bare.partition("%")[0]))
    with contextlib.suppress(OSError, ValueError):
        return socket.inet_ntoa(socket.inet_aton(bare))
    return None


class GuardedTransport(httpx.AsyncBaseTransport):
    """Transport of httpx that sends requests with httpcore over a guarded network.

    The transport of httpx accepts no network backend, httpcore does. Proxies in the environment are
    ignored.
    """

    def __init__(
        self,
        network: GuardedNetwork,
        connections: int,
        tls: ssl.SSLContext | None = None,
        proxy: httpcore.Proxy | None = None,
    ) -> None:
        """`tls`: None for the public certificate authorities."""
        self._network = network
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=tls or public_trust(),
            proxy=proxy,
            max_connections=connections,
            # No connection is reused: bytes after the end of one response would be read as the
            # start of the next one, and a connection that the upstream closes just when it is
            # reused would look like a failure.
            max_keepalive_connections=0,
            network_backend=network,
        )

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request. Returns a response with a streamed body; raises errors of httpx."""
        content = request.stream
        if not isinstance(content, httpx.AsyncByteStream):
            raise TypeError("the content of a request must be an asynchronous stream")
        core = httpcore.Request(
            request.method,
            httpcore.URL(
                scheme=request.url.raw_scheme,
                host=request.url.raw_host,
                port=request.url.port,
                target=request.url.raw_path,
            ),
            headers=request.headers.raw,
            content=content,
            extensions=request.extensions,
        )
        with _as_httpx():
            if isinstance(self._network, ProxyNetwork):
                await self._network.check(request.url.raw_host.decode("ascii"))
            response = await self._pool.handle_async_request(core)
        return httpx.Response(
            response.status,
            headers=response.headers,
            stream=_Body(response),
            extensions=response.extensions,
        )

    async def aclose(self) -> None:
        """Close all connections."""
        await self._pool.aclose()


class _Body(httpx.AsyncByteStream):
    """Body of a response of httpcore."""

    def __init__(self, response: httpcore.Response) -> None:
        self._response = response

    async def __aiter__(self) -> AsyncIterator[bytes]:
        with _as_httpx():
            async for part in self._response.aiter_stream():
                yield part

    async def aclose(self) -> None:
        with _as_httpx():
            await self._response.aclose()


_ERRORS = (
    *(httpcore.ConnectTimeout, httpcore.ReadTimeout, httpcore.WriteTimeout, httpcore.PoolTimeout),
    *(httpcore.TimeoutException, httpcore.ConnectError, httpcore.ReadError, httpcore.WriteError),
    *(httpcore.NetworkError, httpcore.LocalProtocolError, httpcore.RemoteProtocolError),
    *(httpcore.ProtocolError, httpcore.UnsupportedProtocol, httpcore.ProxyError),
)
"""Exceptions of httpcore; httpx has the same names."""


@contextlib.contextmanager
def _as_httpx() -> Iterator[None]:
    """Convert exceptions of httpcore to those of httpx."""
    try:
        yield
    except _ERRORS as error:
        kind = next(base for base in type(error).__mro__ if base in _ERRORS)
        raise getattr(httpx, kind.__name__)(str(error)) from error


async def check_guard(
    transport: Callable[[GuardedNetwork, int], httpx.AsyncBaseTransport] = GuardedTransport,
) -> None:
    """Self-test at start: check that the guard refuses a request to a loopback address.

    Raises ConfigurationError if it does not, as another version of httpx or httpcore could ignore
    the network backend, and with it all checks of addresses.
    """

    async def literal(host: str, _: int) -> Sequence[str]:
        return [host]

    url = "http://127.0.0.1:9/"  # the port "discard"
    guarded = transport(GuardedNetwork((), literal), 1)
    async with httpx.AsyncClient(transport=guarded, trust_env=False, timeout=1.0) as client:
        try:
            await client.get(url)
        except httpx.HTTPError as error:
            if isinstance(error.__cause__, AddressRefusedError):
                return
    raise ConfigurationError(
        f"Fetching is not safe: httpx {httpx.__version__} with httpcore {httpcore.__version__} "
        f"connects to {url} although loopback addresses are refused. "
        "Install the versions that iiif-server declares: pip install --force-reinstall iiif-server."
    )
