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
    """Connection settings; types with equal ones share an HTTP client."""

    ca_file: Path | None = None
    client_certificate: Path | None = None
    client_key: Path | None = None
    proxy: str | None = field(default=None, repr=False)
    proxy_resolves: bool = False


@dataclass(frozen=True)
class Access:
    """HTTP access to an upstream: credentials and connection settings."""

    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    """Secret header fields, for the origin of the first URL only."""
    connecting: Connecting = Connecting()


NO_ACCESS = Access()
"""No credentials, the public certificate authorities, no proxy."""


def without_secrets(url: str) -> str:
    """URL for logs: without user name, password, values of the query, and fragment."""
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
    """TLS context with the certificate authorities of the environment.

    It is cached, as reading them takes 40 ms. Raises ConfigurationError.
    """
    return _public_trust()


def _public_trust() -> ssl.SSLContext:
    try:
        return httpx.create_ssl_context(trust_env=True)
    except OSError as error:
        configured = os.environ.get("SSL_CERT_FILE") or os.environ.get("SSL_CERT_DIR")
        raise ConfigurationError(f"SSL_CERT_FILE: {configured} cannot be used: {error}") from error


def tls_of(connecting: Connecting, *, with_certificate: bool) -> ssl.SSLContext:
    """TLS context of connections. Raises ConfigurationError if a file cannot be used."""
    certificate = connecting.client_certificate if with_certificate else None
    if connecting.ca_file is None and certificate is None:
        return public_trust()
    if connecting.ca_file is None:
        context = _public_trust()
    else:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # without certificate authorities yet
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
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        raise ConfigurationError(f"{setting}: {path} cannot be used: {error}") from error


def _no_passphrase() -> str:
    """Password callback that refuses: without one, OpenSSL asks for it on the terminal."""
    raise ValueError("its key has a passphrase; only keys without one are supported")
