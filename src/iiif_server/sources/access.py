"""HTTP access to an upstream: secret header fields, TLS settings, outbound proxy."""

import os
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import httpx

from iiif_server.errors import ConfigurationError


@dataclass(frozen=True)
class Connecting:
    """What connections of several types share, if it is equal."""

    ca_file: Path | None = None
    client_certificate: Path | None = None
    client_key: Path | None = None
    proxy: str | None = field(default=None, repr=False)
    proxy_resolves: bool = False


@dataclass(frozen=True)
class Access:
    """How an upstream is reached, and what identifies this server there."""

    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    """Secret header fields, for the origin of the first URL only."""
    connecting: Connecting = Connecting()


NO_ACCESS = Access()
"""No credentials, the public certificate authorities, no proxy."""


def without_secrets(url: str) -> str:
    """A URL for logs: without user name and password, values of the query, and fragment."""
    try:
        parts = urlsplit(url)
        host = parts.netloc.rpartition("@")[2]
    except ValueError:
        return "an invalid URL"
    query = "&".join(
        f"{name}=..." if has_value else "..."
        for name, has_value, _ in (item.partition("=") for item in parts.query.split("&"))
        if name or has_value
    )
    return urlunsplit((parts.scheme, host, parts.path, query, ""))


@cache
def public_trust() -> ssl.SSLContext:
    """TLS with the certificate authorities of the environment, read once: that takes 40 ms."""
    return _public_trust()


def _public_trust() -> ssl.SSLContext:
    try:
        return httpx.create_ssl_context(trust_env=True)
    except OSError as error:
        named = os.environ.get("SSL_CERT_FILE") or os.environ.get("SSL_CERT_DIR")
        raise ConfigurationError(f"SSL_CERT_FILE: {named} cannot be used: {error}") from error


def tls_of(connecting: Connecting, *, with_certificate: bool) -> ssl.SSLContext:
    """The TLS settings of connections; ConfigurationError if a file cannot be used."""
    certificate = connecting.client_certificate if with_certificate else None
    if connecting.ca_file is None and certificate is None:
        return public_trust()
    if connecting.ca_file is None:
        context = _public_trust()
    else:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # trusts nobody yet
        _load("ca_file", connecting.ca_file, context.load_verify_locations)
    if certificate is not None:
        key = connecting.client_key or certificate
        _load(
            "client_certificate",
            certificate,
            lambda path: context.load_cert_chain(path, key, password=_no_passphrase),
        )
    return context


def _load(setting: str, path: Path, load: Callable[[Path], object]) -> None:
    try:
        load(path)
    except (OSError, ValueError) as error:  # of which ssl.SSLError is one
        raise ConfigurationError(f"{setting}: {path} cannot be used: {error}") from error


def _no_passphrase() -> str:
    """Without it, OpenSSL would ask for the passphrase on the terminal."""
    raise ValueError("its key has a passphrase; only keys without one are supported")
