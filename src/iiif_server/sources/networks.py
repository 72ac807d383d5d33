"""Networks as a setting: a list in a file; in the environment JSON, or words between commas."""

from ipaddress import ip_network
from typing import Annotated

from pydantic import BeforeValidator

from iiif_server.options import Expects, Listed
from iiif_server.sources.addresses import Network

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
