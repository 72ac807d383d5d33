"""Where the client thinks this server is, and which identifier it wrote, letter by letter."""

import re
from dataclasses import dataclass, field
from ipaddress import ip_address
from urllib.parse import quote

from starlette.requests import Request

from iiif_server.errors import MalformedIdentifierError, UntrustedHostError
from iiif_server.image_api.identifier import percent_decode
from iiif_server.sources.addresses import Network

IMAGE_SEGMENTS = 4
"""What the address of an image has behind the identifier: region, size, rotation, and the rest."""
_HOST = re.compile(r"(?:[A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(?::\d{1,5})?", re.ASCII)
_PEERS = 4096
_PREFIX = re.compile(r"(?:/[A-Za-z0-9._~-]+)*/?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Addressing:
    """How the public address of this server is found."""

    base_url: str | None
    """The configured one, without a slash at its end; None: it follows from each request."""
    trusted_proxies: tuple[Network, ...]
    """The peers whose `X-Forwarded-*` count."""
    _trusted: dict[str, bool] = field(default_factory=dict, compare=False, repr=False)

    def base(self, request: Request) -> str:
        """The URL before the path of a request, without a slash at its end.

        Raises UntrustedHostError for a Host that is none.
        """
        if self.base_url is not None:
            return self.base_url
        forwarded = self._forwarded(request)
        scheme = forwarded.get("proto", request.scope["scheme"])
        host = forwarded.get("host") or request.headers.get("host", "")
        if not _HOST.fullmatch(host):
            raise UntrustedHostError("The Host header of this request is not a host name.")
        prefix = forwarded.get("prefix", str(request.scope.get("root_path", "")))
        return f"{scheme}://{host}{prefix.rstrip('/')}"

    def _forwarded(self, request: Request) -> dict[str, str]:
        """What a trusted proxy says of the original request; the last proxy's word counts."""
        headers = request.headers.raw
        if not any(name.startswith(b"x-forwarded-") for name, _ in headers):
            return {}
        if not self.is_from_proxy(request):
            return {}
        found = {}
        for name, valid in _FORWARDED.items():
            values = request.headers.getlist(f"x-forwarded-{name}")
            value = values[-1].rpartition(",")[2].strip() if values else ""
            if value and valid.fullmatch(value):
                found[name] = value
        return found

    def is_from_proxy(self, request: Request) -> bool:
        """Whether a request comes from a trusted proxy."""
        return self.trusts(request.client.host if request.client else "")

    def trusts(self, peer: str) -> bool:
        """Whether what a peer says of a request is believed."""
        trusted = self._trusted.get(peer)  # on the hot path, and peers come again
        if trusted is None:
            if len(self._trusted) >= _PEERS:
                self._trusted.clear()
            trusted = self._trusted[peer] = is_within(peer, self.trusted_proxies)
        return trusted


def is_within(peer: str, networks: tuple[Network, ...]) -> bool:
    """Whether a peer's address is in one of these networks."""
    try:
        address = ip_address(peer)
    except ValueError:
        return False
    # A socket that listens on IPv6 sees IPv4 peers as mapped addresses.
    address = getattr(address, "ipv4_mapped", None) or address
    return any(address in network for network in networks)


_FORWARDED = {"proto": re.compile("https?"), "host": _HOST, "prefix": _PREFIX}


def written_identifier(request: Request, prefix: str, segments_after: int, routed: str) -> str:
    """The identifier as it stands in the URL, percent-encoding and all.

    It is what is left of the path without the version's `prefix` and without the last
    `segments_after` segments. Raises MalformedIdentifierError where encoded slashes make that
    another split than the one by which the route was found, which is what `routed` is.
    """
    raw = request.scope.get("raw_path") or quote(request.scope["path"]).encode()
    path = raw.partition(b"?")[0].decode("ascii", "replace")
    path = path.removeprefix(request.scope.get("root_path", "")).removeprefix(prefix)
    parts = path.removeprefix("/").rsplit("/", segments_after)
    if len(parts) != segments_after + 1 or percent_decode(parts[0]) != routed:
        raise MalformedIdentifierError(
            "The slashes between the parameters must not be percent-encoded."
        )
    return parts[0]
