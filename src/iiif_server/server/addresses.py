"""Public URL of this server, and identifiers as URLs contain them."""

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
"""Path segments after the identifier of an image request, of which the last is quality.format."""
_MAX_PEERS = 4096
"""Maximum entries of the cache of trusted and other peers, which is cleared when full."""
_COMMON = "/iiif"
"""Common prefix of the paths of all versions."""
_ROOT = "iiif_server.root_path"


@dataclass(frozen=True, slots=True)
class Addressing:
    """Determines the public URL of this server."""

    base_url: str | None
    """Configured public URL, without a slash at its end; None: derived from each request."""
    trusted_proxies: tuple[Network, ...]
    """Networks of the proxies whose forwarded headers are believed."""
    observer: Observer = lambda _: None
    _trusted: dict[str, bool] = field(default_factory=dict, compare=False, repr=False)
    _reported: set[str] = field(default_factory=set, compare=False, repr=False)
    """Names of headers that were malformed; each is reported only once."""

    def base_of(self, scope: Scope, version: str = "") -> str:
        """Public URL in front of an identifier, without a slash at its end.

        `version` is the path of a version of the Image API, or empty. Raises UntrustedHostError if
        the Host header is not a host name.
        """
        base = self.base_url if self.base_url is not None else self._base_of_request(scope)
        return with_version(base, root_path_of(scope), version) if version else base

    def _base_of_request(self, scope: Scope) -> str:
        scheme, root, host, forwarded = scope["scheme"], root_path_of(scope), "", False
        for name, value in scope["headers"]:
            if name == b"host" and not host:
                host = value.decode("latin-1")
            elif name in FORWARDED_NAMES:
                forwarded = True
        if forwarded and self.is_from_proxy(scope):
            path = raw_path_of(scope)
            forwarded_values = read_forwarded(scope["headers"], path, root)
            for name in forwarded_values.malformed:
                self._report(name)
            scheme = forwarded_values.scheme or scheme
            host = with_port(forwarded_values.host or host, forwarded_values.port, scheme)
            root = root if forwarded_values.prefix is None else forwarded_values.prefix
        if not is_host(host):
            raise UntrustedHostError("The Host header of this request is not a host name.")
        return f"{scheme}://{host}{root}"

    def _report(self, name: str) -> None:
        if name not in self._reported:  # limited by the number of forwarded headers
            self._reported.add(name)
            self.observer(ForwardedHeaderIgnored(name))

    def is_from_proxy(self, scope: Scope) -> bool:
        """Whether a request comes from a trusted proxy."""
        client = scope.get("client")
        return client is not None and self.trusts(client[0])

    def trusts(self, peer: str) -> bool:
        """Whether a peer is a trusted proxy."""
        if not self.trusted_proxies:
            return False
        trusted = self._trusted.get(peer)  # on the hot path, mostly with the same peers
        if trusted is None:
            if len(self._trusted) >= _MAX_PEERS:
                self._trusted.clear()
            trusted = self._trusted[peer] = is_within(peer, self.trusted_proxies)
        return trusted


def with_version(base: str, root_path: str, version: str) -> str:
    """Public URL with the path of a version, which may be empty.

    If `root_path` ends with `/iiif`, the `/iiif` of the version's path is not repeated.
    """
    if version and root_path.endswith(_COMMON):
        base = base.removesuffix(_COMMON)
    return f"{base}{version}"


def mounted(scope: Scope, root_path: str) -> Scope:
    """Scope for the routes, from one whose paths begin with `root_path`.

    If `root_path` ends with `/iiif`, so do the paths of the versions, as `/iiif/3`: that `/iiif` is
    then part of the route, and `root_path_of` still returns the whole `root_path`. A path that is
    `root_path` without a slash after it is routed to the front page, which redirects.
    """
    if scope.get("path") == root_path:
        return {**scope, "path": f"{root_path}/", "root_path": root_path, _ROOT: root_path}
    above = root_path.removesuffix(_COMMON)
    within = root_path
    if above != root_path:
        path = raw_path_of(scope)
        if any(path.startswith(f"{above}{version.path}/") for version in (V2, V3)):
            within = above
    return {**scope, "root_path": within, _ROOT: root_path}


def root_path_of(scope: Scope) -> str:
    """Path prefix of all routes of this server."""
    root: str = scope.get(_ROOT) or scope.get("root_path", "")
    return root


def raw_path_of(scope: Scope) -> str:
    """Path of a request as the client sent it, percent-encoded and without the query."""
    raw = scope.get("raw_path") or quote(scope["path"]).encode()
    path: str = raw.partition(b"?")[0].decode("ascii", "replace")
    return path


def is_within(peer: str, networks: tuple[Network, ...]) -> bool:
    """Whether the IP address of a peer is in one of these networks."""
    try:
        address = ip_address(peer)
    except ValueError:
        return False
    # A socket that listens on IPv6 sees IPv4 peers as mapped addresses.
    address = getattr(address, "ipv4_mapped", None) or address
    return any(address in network for network in networks)


def route_path(scope: Scope) -> str:
    """Decoded path below `root_path`, which the router matches."""
    return below(scope["path"], scope.get("root_path", ""))


def below(path: str, root: str) -> str:
    """Path without a root path, in whole segments; unchanged if it has another root path."""
    if root and path.startswith(root) and path[len(root) : len(root) + 1] in {"", "/"}:
        return path[len(root) :]
    return path


def identifier_in(scope: Scope, prefix: str, segments_after: int, routed: str) -> str:
    """Identifier as in the URL, percent-encoded.

    It is the path without the version's `prefix` and without the last `segments_after` segments.
    `routed` is the decoded identifier that the router matched. Raises MalformedIdentifierError if
    the two differ, because slashes between the parameters are percent-encoded.
    """
    path = below(raw_path_of(scope), scope.get("root_path", "")).removeprefix(prefix)
    parts = path.removeprefix("/").rsplit("/", segments_after)
    if len(parts) != segments_after + 1 or percent_decode(parts[0]) != routed:
        raise MalformedIdentifierError(
            "The slashes between the parameters must not be percent-encoded."
        )
    return parts[0]
