"""Forwarded headers: the public URL of a request, as a proxy reports it. Pure.

`X-Forwarded-Proto`, `-Host`, `-Port`, `-Prefix`, `-BasePath` and `-Path`, and `Forwarded` (RFC
7239) if a proxy sends none of the first three. Of several values the last one counts: the proxy
that is connected to this server added it.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import unquote

from iiif_server.server.header_fields import split_outside_quotes, unquoted

NAMES = frozenset(
    {
        b"forwarded",
        b"x-forwarded-proto",
        b"x-forwarded-host",
        b"x-forwarded-port",
        b"x-forwarded-prefix",
        b"x-forwarded-basepath",
        b"x-forwarded-path",
    }
)
"""Names of forwarded headers, in lower case."""
MAX_VALUE = 1024
"""Maximum bytes of a forwarded header; a longer value is malformed."""

_HOST = re.compile(r"(?:[A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(?::(\d{1,5}))?", re.ASCII)
_PORT = re.compile(r"[0-9]{1,5}", re.ASCII)
_MAX_PORT = 65535
_PREFIX = re.compile(r"(?:/(?:[A-Za-z0-9._~!$&()*+;=:@-]|%[0-9A-Fa-f]{2})+)*/?", re.ASCII)
_DEFAULT_PORTS = {"http": "80", "https": "443"}


@dataclass(frozen=True, slots=True)
class Forwarded:
    """Parts of the public URL of a request; None if the proxy does not report the part."""

    scheme: str | None
    host: str | None
    port: str | None
    prefix: str | None
    """Public path prefix of the server, without a slash at its end."""
    malformed: tuple[str, ...]
    """Names of headers with malformed values, which were ignored."""


@lru_cache(maxsize=64)  # on the hot path; few entries, since a client may send very long hosts
def is_host(text: str) -> bool:
    """Whether a text is a host name or IP address, with or without a port."""
    match = _HOST.fullmatch(text)
    return match is not None and (match[1] is None or _is_port(match[1]))


def with_port(host: str, port: str | None, scheme: str) -> str:
    """Host with a port, unless it has one already or the port is the default of the scheme."""
    if port is None or port == _DEFAULT_PORTS.get(scheme) or re.search(r":[0-9]+$", host):
        return host
    return f"{host}:{port}"


def read_forwarded(headers: Iterable[tuple[bytes, bytes]], path: str, root_path: str) -> Forwarded:
    """Parse the forwarded headers of a request; `path` is its path as received."""
    last: dict[str, str] = {}
    malformed: set[str] = set()
    for name, value in headers:
        if name in NAMES and len(value) > MAX_VALUE:
            malformed.add(name.decode())
        elif name in NAMES:
            text = split_outside_quotes(value.decode("latin-1"), ",")[-1].strip()
            last[name.decode()] = text
    found: dict[str, str] = {}
    for part, source, text in _address(last):
        if _VALID[part](text):
            found[part] = text
        else:
            malformed.add(source)
    prefix = None
    for source in ("x-forwarded-prefix", "x-forwarded-basepath", "x-forwarded-path"):
        if prefix is None and last.get(source):
            full = source.endswith("-path")
            prefix = _prefix(last[source], path if full else None, root_path)
            if prefix is None:
                malformed.add(source)
    scheme = found["proto"].lower() if "proto" in found else None
    return Forwarded(scheme, found.get("host"), found.get("port"), prefix, tuple(sorted(malformed)))


def _address(last: Mapping[str, str]) -> Iterator[tuple[str, str, str]]:
    """Scheme, host and port: name of the part, name of its header, and unchecked value."""
    names = {part: f"x-forwarded-{part}" for part in _VALID}
    if any(name in last for name in names.values()):
        yield from ((part, name, last[name]) for part, name in names.items() if last.get(name))
        return
    for pair in split_outside_quotes(last.get("forwarded", ""), ";"):
        part, _, value = (text.strip() for text in pair.partition("="))
        if part.lower() in {"proto", "host"}:
            yield part.lower(), "forwarded", unquoted(value)


def _prefix(text: str, path: str | None, root_path: str) -> str | None:
    """Public path prefix of the server; None if the value is not a path.

    Some proxies send the prefix as `X-Forwarded-Path`. Others send the whole path of the client's
    request, which ends with the path that this server received.
    """
    if path is not None:
        text = text.partition("?")[0]
        if text.endswith(path):
            text = text.removesuffix(path) + root_path
    text = text if text.startswith("/") else f"/{text}"
    segments = unquote(text).split("/")
    if not _PREFIX.fullmatch(text) or "." in segments or ".." in segments:
        return None
    return text.rstrip("/")


def _is_port(text: str) -> bool:
    return _PORT.fullmatch(text) is not None and 1 <= int(text) <= _MAX_PORT


def _is_scheme(text: str) -> bool:
    return text.lower() in _DEFAULT_PORTS


_VALID: dict[str, Callable[[str], bool]] = {"proto": _is_scheme, "host": is_host, "port": _is_port}
