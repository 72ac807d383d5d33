"""What moving in comes to: settings, what has none, and which addresses differ. Pure."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from iiif_server.iiif.identifier import TYPE_PATTERN


class Kind(StrEnum):
    """The servers whose configuration can be read."""

    SEED = "seed"
    """The Natural History Museum's of 2020, which this project comes from."""
    NHM = "nhm"
    """The Natural History Museum's later one, 1.0 and on."""
    CANTALOUPE = "cantaloupe"
    LORIS = "loris"


NAMES = {
    Kind.SEED: "the configuration of the Natural History Museum's server of 2020",
    Kind.NHM: "the configuration of the Natural History Museum's server, 1.0 or later",
    Kind.CANTALOUPE: "a configuration of Cantaloupe",
    Kind.LORIS: "a configuration of Loris",
}


@dataclass(frozen=True, slots=True)
class Setting:
    """One value in the new settings."""

    path: tuple[str, ...]
    """Tables and name, as in `("cache", "max_bytes")`."""
    value: Any
    comment: str
    """Where it comes from."""


@dataclass(frozen=True, slots=True)
class Difference:
    """Addresses that mean something else here, or nothing."""

    what: str
    before: str
    now: str


@dataclass(slots=True)
class Move:
    """What moving in comes to."""

    kind: Kind
    settings: list[Setting] = field(default_factory=list)
    without: list[tuple[str, str]] = field(default_factory=list)
    """Old settings that have no equivalent, and what to do instead."""
    differences: list[Difference] = field(default_factory=list)
    to_do: list[str] = field(default_factory=list)
    hosts: dict[str, None] = field(default_factory=dict)
    """Hosts that originals are fetched from, in order, of which it is not known what address."""

    def put(self, path: str, value: Any, comment: str) -> None:
        """Have a setting, as in `cache.max_bytes`."""
        self.put_at(tuple(path.split(".")), value, comment)

    def put_at(self, path: tuple[str, ...], value: Any, comment: str) -> None:
        """Have a setting in tables whose names may hold dots; its own name is no comment."""
        said = "" if comment == ".".join(path) else comment
        self.settings.append(Setting(path, value, said))

    def differ(self, what: str, before: str, now: str) -> None:
        """Name addresses that differ."""
        self.differences.append(Difference(what, before, now))

    def lack(self, old: str, instead: str) -> None:
        """Name an old setting that has no equivalent."""
        self.without.append((old, instead))


class Old:
    """The old settings, of which each has to be asked for: what nobody asked for is told."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = dict(values)
        self._asked: set[str] = set()

    def take(self, name: str, default: Any = None) -> Any:
        """The value of an old setting; one that is left empty is not there."""
        self._asked.add(name)
        value = self._values.get(name)
        return default if value is None or value == "" else value

    def below(self, prefix: str) -> Iterator[str]:
        """The names that begin like this and have a value; they count as asked for."""
        for name, value in self._values.items():
            if name.startswith(prefix):
                self._asked.add(name)
                if value is not None and value != "":
                    yield name

    def rest(self) -> list[str]:
        """The names that nobody has asked for."""
        return [name for name in self._values if name not in self._asked]


def number(value: Any) -> int | None:
    """A whole number, however it is written; None for what is none."""
    try:
        return int(str(value).strip())
    except ValueError:
        return None


def is_true(value: Any) -> bool:
    """Whether a switch is on, however it is written."""
    return str(value).strip().lower() in {"true", "1", "yes", "on"}


def copy_numbers(move: Move, old: Old, names: Mapping[str, str]) -> None:
    """Take numbers over that mean the same, by their old and their new name."""
    for name, path in names.items():
        if (value := old.take(name)) is not None:
            if (whole := number(value)) is None:
                move.lack(name, f"its value is no whole number; set {path}")
            else:
                move.put(path, whole, name)


def put_base_url(move: Move, name: str, value: str) -> None:
    """Take over the address that stands in front of all identifiers."""
    if urlsplit(value).scheme in {"http", "https"}:
        move.put("base_url", value.rstrip("/"), name)
    else:
        move.lack(
            name,
            "it must begin with https:// or http:// here; unset, addresses follow from each "
            "request. Behind a proxy that strips a path, have it send X-Forwarded-Prefix",
        )


def put_web_type(move: Move, name: str, url: str, comment: str) -> None:
    """A type whose originals are fetched from a URL with `{name}` in it."""
    move.put_at(("types", name, "source"), "web", comment)
    move.put_at(("types", name, "url"), url, "{name} stands for the rest of the identifier")
    allow_private(move, [url])


def allow_private(move: Move, urls: list[str]) -> None:
    """Let originals be fetched from hosts that are written as private addresses."""
    networks: list[str] = []
    for url in urls:
        host = urlsplit(url.replace("{name}", "name")).hostname or ""
        if host == "localhost":
            networks += ["127.0.0.0/8", "::1/128"]
        with_bits = _network(host)
        if with_bits is not None:
            networks.append(with_bits)
        elif host and host != "localhost" and not _is_address(host):
            move.hosts[host] = None
    known = next((s for s in move.settings if s.path == ("fetch", "allow_networks")), None)
    if known is not None:
        known.value.extend(network for network in networks if network not in known.value)
    elif networks:
        move.put("fetch.allow_networks", networks, "private addresses that types fetch from")


def _network(host: str) -> str | None:
    try:
        address = ip_address(host)
    except ValueError:
        return None
    return None if address.is_global else f"{address}/{address.max_prefixlen}"


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def put_disk_type(move: Move, folder: str, comment: str) -> str:
    """A type for all files in a folder, which stays where it is; the name of the type."""
    parent, _, last = folder.rstrip("/").rpartition("/")
    if parent and re.fullmatch(TYPE_PATTERN, last):
        move.put("source_path", parent, comment)
        move.put_at(("types", last, "source"), "disk", f"{folder}: source_path and this name")
        move.to_do.append(
            f"The processes that read images are let into all of {parent}. If that holds other "
            "things as well, let source_path be a folder of its own, with a link to the originals."
        )
        return last
    move.put("source_path", "./data/source", "the default")
    move.put_at(("types", "images", "source"), "disk", comment)
    move.to_do.append(
        f"Let ./data/source/images lead to the originals: "
        f"mkdir -p data/source && ln -s '{folder.rstrip('/') or '/'}' data/source/images"
    )
    return "images"
