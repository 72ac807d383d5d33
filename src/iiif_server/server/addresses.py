"""The public address of this server, and the identifier in a URL as it is written."""

from dataclasses import dataclass, field
from ipaddress import ip_address
from urllib.parse import quote

from starlette.types import Scope

from iiif_server.errors import MalformedIdentifierError, UntrustedHostError
from iiif_server.iiif.identifier import percent_decode
from iiif_server.iiif.versions import V2, V3
from iiif_server.server.proxies import NAMES as FORWARDED_NAMES
from iiif_server.server.proxies import is_host, read_forwarded, with_port
from iiif_server.sources.addresses import Network
from iiif_server.telemetry.events import ForwardedHeaderIgnored, Observer

IMAGE_SEGMENTS = 4
"""What the address of an image has behind the identifier: region, size, rotation, and the rest."""
_PEERS = 4096
"""Peers whose trust is remembered; then all are forgotten."""
_COMMON = "/iiif"
"""What the paths of all versions begin with."""
_ROOT = "iiif_server.root_path"


@dataclass(frozen=True, slots=True)
class Addressing:
    """Finds the public address of this server."""

    base_url: str | None
    """The configured one, without a slash at its end; None: it follows from each request."""
    trusted_proxies: tuple[Network, ...]
    """The peers whose forwarded headers are believed."""
    observer: Observer = lambda _: None
    _trusted: dict[str, bool] = field(default_factory=dict, compare=False, repr=False)
    _reported: set[str] = field(default_factory=set, compare=False, repr=False)
    """The headers with which something was wrong once: each is reported once."""

    def base_of(self, scope: Scope, version: str = "") -> str:
        """The public URL in front of an identifier, without a slash at its end.

        `version` is the path of a version of the Image API, or empty. Raises UntrustedHostError if
        the Host header is not a host name.
        """
        base = self.base_url if self.base_url is not None else self._requested(scope)
        return with_version(base, root_path_of(scope), version) if version else base

    def _requested(self, scope: Scope) -> str:
        scheme, root, host, forwarded = scope["scheme"], root_path_of(scope), "", False
        for name, value in scope["headers"]:
            if name == b"host" and not host:
                host = value.decode("latin-1")
            elif name in FORWARDED_NAMES:
                forwarded = True
        if forwarded and self.is_from_proxy(scope):
            path = written_path(scope)
            said = read_forwarded(scope["headers"], path, root)
            for name in said.malformed:
                self._report(name)
            scheme = said.scheme or scheme
            host = with_port(said.host or host, said.port, scheme)
            root = root if said.prefix is None else said.prefix
        if not is_host(host):
            raise UntrustedHostError("The Host header of this request is not a host name.")
        return f"{scheme}://{host}{root}"

    def _report(self, name: str) -> None:
        if name not in self._reported:  # there are no more than the names of forwarded headers
            self._reported.add(name)
            self.observer(ForwardedHeaderIgnored(name))

    def is_from_proxy(self, scope: Scope) -> bool:
        """Whether a request comes from a trusted proxy."""
        client = scope.get("client")
        return client is not None and self.trusts(client[0])

    def trusts(self, peer: str) -> bool:
        """Whether what a peer says of a request is believed."""
        if not self.trusted_proxies:
            return False
        trusted = self._trusted.get(peer)  # on the hot path, and peers come again
        if trusted is None:
            if len(self._trusted) >= _PEERS:
                self._trusted.clear()
            trusted = self._trusted[peer] = is_within(peer, self.trusted_proxies)
        return trusted


def with_version(base: str, root_path: str, version: str) -> str:
    """A public URL with the path of a version, or without one.

    Below a `root_path` that ends with `/iiif`, that of the version is the same and is not repeated.
    """
    if version and root_path.endswith(_COMMON):
        base = base.removesuffix(_COMMON)
    return f"{base}{version}"


def mounted(scope: Scope, root_path: str) -> Scope:
    """A scope whose paths begin with `root_path`.

    Below a `root_path` that ends with `/iiif`, the paths of the versions, as `/iiif/3`, begin with
    its end, and are routed like that; `root_path_of` returns all of it. `root_path` without a slash
    behind it is routed to the front page, which redirects.
    """
    if scope.get("path") == root_path:
        return {**scope, "path": f"{root_path}/", "root_path": root_path, _ROOT: root_path}
    above = root_path.removesuffix(_COMMON)
    within = root_path
    if above != root_path:
        path = written_path(scope)
        if any(path.startswith(f"{above}{version.path}/") for version in (V2, V3)):
            within = above
    return {**scope, "root_path": within, _ROOT: root_path}


def root_path_of(scope: Scope) -> str:
    """The path in front of all of this server's own paths."""
    root: str = scope.get(_ROOT) or scope.get("root_path", "")
    return root


def written_path(scope: Scope) -> str:
    """The path of a request as it is written, percent-encoding and all."""
    raw = scope.get("raw_path") or quote(scope["path"]).encode()
    written: str = raw.partition(b"?")[0].decode("ascii", "replace")
    return written


def is_within(peer: str, networks: tuple[Network, ...]) -> bool:
    """Whether a peer's address is in one of these networks."""
    try:
        address = ip_address(peer)
    except ValueError:
        return False
    # A socket that listens on IPv6 sees IPv4 peers as mapped addresses.
    address = getattr(address, "ipv4_mapped", None) or address
    return any(address in network for network in networks)


def route_path(scope: Scope) -> str:
    """The decoded path below `root_path`, by which routes are found."""
    return below(scope["path"], scope.get("root_path", ""))


def below(path: str, root: str) -> str:
    """What follows a root path, at whole segments, in a path; all of it if that has another."""
    if root and path.startswith(root) and path[len(root) : len(root) + 1] in {"", "/"}:
        return path[len(root) :]
    return path


def identifier_in(scope: Scope, prefix: str, segments_after: int, routed: str) -> str:
    """The identifier as it stands in the URL, percent-encoding and all.

    It is what is left of the path without the version's `prefix` and without the last
    `segments_after` segments. Raises MalformedIdentifierError where encoded slashes make that
    another split than the one by which the route was found, which is what `routed` is.
    """
    path = below(written_path(scope), scope.get("root_path", "")).removeprefix(prefix)
    parts = path.removeprefix("/").rsplit("/", segments_after)
    if len(parts) != segments_after + 1 or percent_decode(parts[0]) != routed:
        raise MalformedIdentifierError(
            "The slashes between the parameters must not be percent-encoded."
        )
    return parts[0]
