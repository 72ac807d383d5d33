"""Result of a migration: new settings, old ones without an equivalent, URLs that change."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from iiif_server.iiif.identifier import RESERVED_TYPES, TYPE_PATTERN


class Kind(StrEnum):
    """Supported servers."""

    SEED = "seed"
    """Server of the Natural History Museum of 2020, from which this project comes."""
    NHM = "nhm"
    """Later server of the Natural History Museum, 1.0 or later."""
    CANTALOUPE = "cantaloupe"
    LORIS = "loris"
    IIPIMAGE = "iipimage"


NAMES = {
    Kind.SEED: "the configuration of the Natural History Museum's server of 2020",
    Kind.NHM: "the configuration of the Natural History Museum's server, 1.0 or later",
    Kind.CANTALOUPE: "a configuration of Cantaloupe",
    Kind.LORIS: "a configuration of Loris",
    Kind.IIPIMAGE: "the environment of IIPImage",
}


@dataclass(frozen=True, slots=True)
class Setting:
    """New setting."""

    path: tuple[str, ...]
    """Path of the setting, as `("cache", "max_bytes")`."""
    value: Any
    comment: str
    """Old setting with the value, or a remark."""


@dataclass(frozen=True, slots=True)
class Difference:
    """Change of URLs, with an example before and after."""

    what: str
    before: str
    now: str


@dataclass(slots=True)
class Conversion:
    """Migration of one configuration; reports old settings that were never taken."""

    kind: Kind
    old: Mapping[str, Any]
    """Old settings by name."""
    settings: list[Setting] = field(default_factory=list)
    unsupported: list[tuple[str, str]] = field(default_factory=list)
    """Old settings without an equivalent, and advice."""
    differences: list[Difference] = field(default_factory=list)
    ignored: list[str] = field(default_factory=list)
    """Old settings without meaning here: switched off, unused, or internal to that server."""
    to_do: list[str] = field(default_factory=list)
    hosts: dict[str, None] = field(default_factory=dict)
    """Hosts of originals whose IP addresses are unknown."""
    _read_names: set[str] = field(default_factory=set)

    def read(self, name: str, default: Any = None) -> Any:
        """Return the value of an old setting, and mark it as taken; empty counts as missing."""
        self._read_names.add(name)
        value = self.old.get(name)
        return default if value is None or value == "" else value

    def read_prefix(self, prefix: str) -> list[str]:
        """Take all settings with a prefix; return the names of those with a value."""
        return [n for n in self.old if n.startswith(prefix) and self.read(n) is not None]

    def unread(self) -> Iterator[str]:
        """Return the names of old settings with a value that were not taken."""
        return (n for n, v in self.old.items() if n not in self._read_names and v not in (None, ""))

    def add(self, path: str | tuple[str, ...], value: Any, comment: str) -> None:
        """Add a setting; its path is `cache.max_bytes`, or a tuple if names contain dots."""
        parts = tuple(path.split(".")) if isinstance(path, str) else path
        self.settings.append(Setting(parts, value, "" if comment == ".".join(parts) else comment))

    def has(self, path: tuple[str, ...]) -> bool:
        """Whether a setting was added."""
        return any(setting.path == path for setting in self.settings)

    def copy(self, names: Mapping[str, str]) -> None:
        """Copy settings with text; `names` maps old names to new ones."""
        for name, path in names.items():
            if (value := self.read(name)) is not None:
                self.add(path, str(value), name)

    def copy_numbers(self, names: Mapping[str, str]) -> None:
        """Copy settings with whole numbers; `names` maps old names to new ones."""
        for name, path in names.items():
            if (value := self.read(name)) is not None:
                if (whole := number(value)) is None:
                    self.add_unsupported(name, f"its value is no whole number; set {path}")
                else:
                    self.add(path, whole, name)

    def copy_level(self, name: str, levels: Mapping[str, str]) -> None:
        """Convert the log level."""
        if level := levels.get(str(self.read(name, "")).lower()):
            self.add("log_level", level, name)

    def copy_base_url(self, name: str) -> None:
        """Copy the base URL of all identifiers."""
        value = str(self.read(name, ""))
        if urlsplit(value).scheme in {"http", "https"}:
            self.add("base_url", value.rstrip("/"), name)
        elif value:
            self.add_unsupported(
                name,
                "it must begin with https:// or http:// here; unset, URLs follow from each "
                "request. Behind a proxy that strips a path, have it send X-Forwarded-Prefix",
            )

    def copy_cache_path(self, name: str, server: str) -> None:
        """Set `cache_path` to a new folder below the old cache."""
        if path := self.read(name):
            self.add("cache_path", f"{str(path).rstrip('/')}/iiif-server", name)
            self.to_do.append(
                f"What {server} has cached in {path} is not used: it can be deleted, except for "
                "the folder iiif-server."
            )

    def add_differences(self, *rows: tuple[str, str, str]) -> None:
        """Report URLs that change; each row has the change, an example before, and one after."""
        self.differences += [Difference(*row) for row in rows]

    def add_unsupported(self, old: str, advice: str) -> None:
        """Report an old setting without an equivalent, with advice."""
        self.unsupported.append((old, advice))

    def add_rest_unsupported(
        self, server: str, advice: Mapping[str, str], names: Iterable[str] | None = None
    ) -> None:
        """Report the settings that were not taken; `advice` has advice by prefix of names."""
        reported: set[str] = set()
        for name in self.unread() if names is None else names:
            start = next((start for start in advice if name.startswith(start)), None)
            if start is None:
                self.add_unsupported(name, f"this is not a known setting of {server}")
            elif start not in reported:
                reported.add(start)
                # One line for all settings with this prefix.
                self.add_unsupported(name if start == name else f"{start}*", advice[start])


def number(value: Any) -> int | None:
    """Parse a whole number from a value of any type; None if it is not one."""
    try:
        return int(str(value).strip())
    except ValueError:
        return None


def is_true(value: Any) -> bool:
    """Whether a value means "on": true, 1, yes or on, in any case."""
    return str(value).strip().lower() in {"true", "1", "yes", "on"}


def add_web_type(conversion: Conversion, name: str, url: str, comment: str) -> None:
    """Add a type of the source `web`, whose URL contains `{name}`."""
    conversion.add(("types", name, "source"), "web", comment)
    conversion.add(("types", name, "url"), url, "{name} stands for the rest of the identifier")
    allow_private(conversion, url)


def allow_private(conversion: Conversion, url: str) -> None:
    """Allow fetches from the host of a URL if it is a private IP address or localhost."""
    host = urlsplit(url.replace("{name}", "name")).hostname or ""
    networks: list[str] = []
    try:
        address = ip_address(host)
    except ValueError:
        if host == "localhost":
            networks = ["127.0.0.0/8", "::1/128"]
        elif host:
            conversion.hosts[host] = None
    else:
        networks = [] if address.is_global else [f"{address}/{address.max_prefixlen}"]
    known = next((s for s in conversion.settings if s.path == ("fetch", "allow_networks")), None)
    if known is not None:
        known.value.extend(network for network in networks if network not in known.value)
    elif networks:
        conversion.add("fetch.allow_networks", networks, "private addresses that types fetch from")


def add_disk_type(
    conversion: Conversion, folder: str, comment: str, prefix: str = "", suffix: str = ""
) -> str:
    """Add a type of the source `disk` for a folder; return the name of the type."""
    last = folder.rstrip("/").rpartition("/")[2]
    usable = re.fullmatch(TYPE_PATTERN, last) and last not in RESERVED_TYPES
    name = last if usable and not conversion.has(("types", last, "source")) else "images"
    conversion.add(("types", name, "source"), "disk", comment)
    conversion.add(("types", name, "path"), folder, "the originals stay where they are")
    for key, text in (("prefix", prefix), ("suffix", suffix)):
        if text:
            conversion.add(("types", name, key), text, "")
    return name


def colon_difference(type_: str, prefix: str) -> tuple[str, str, str]:
    """Return the change of URLs for names that contain a colon."""
    return (
        "a name with a colon needs its type in front, unless it is an ARK or a URL",
        f"{prefix}/ms:1234.jpg/info.json",
        f"/iiif/2/{type_}:ms:1234.jpg/info.json",
    )
