"""Settings of types that use HTTP: credentials for the upstream, certificates, outbound proxy."""

import json
import re
from base64 import b64encode
from pathlib import Path
from typing import Annotated, Self

import httpx
from pydantic import BeforeValidator, Field, SecretStr, field_validator, model_validator

from iiif_server.options import ConflictError, Expects
from iiif_server.sources.access import Access, Connecting
from iiif_server.sources.base import TypeOptions

_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,100}")
_VALUE = re.compile(r"[\x21-\x7e]([\x20-\x7e]*[\x21-\x7e])?")
_OWN = frozenset(
    (
        *("accept-encoding", "connection", "content-length", "expect", "host", "if-match"),
        *("if-modified-since", "if-none-match", "if-range", "if-unmodified-since", "keep-alive"),
        *("proxy-authorization", "proxy-connection", "range", "te", "trailer"),
        *("transfer-encoding", "upgrade"),
    )
)
"""Header fields that only the HTTP client itself may set, in lower case."""


def _header_lines(value: object) -> object:
    """Parse header fields in the text of a secret file: JSON, or `Name: value` lines."""
    if not isinstance(value, str):
        return value
    if value.lstrip().startswith("{"):
        try:
            return json.loads(value)
        except ValueError:
            raise ValueError("must be a table; this is not valid JSON") from None
    lines = [line.partition(":") for line in value.splitlines() if line.strip()]
    if not all(colon for _, colon, _ in lines):
        raise ValueError(f"must be {_HEADERS.expected}")
    return {name.strip(): text.strip() for name, _, text in lines}


_HEADERS = Expects('header fields such as { Authorization = "Bearer ..." }, or "Name: value" lines')
Headers = Annotated[dict[str, SecretStr], BeforeValidator(_header_lines), _HEADERS]


def checked_headers(headers: dict[str, SecretStr]) -> dict[str, SecretStr]:
    """Check header fields for an upstream. Raises ValueError with the name of an invalid one."""
    names = [name.lower() for name in headers]
    for name, value in headers.items():
        if not _NAME.fullmatch(name):
            raise ValueError("the name of a header field has letters, digits and hyphens only")
        if name.lower() in _OWN:
            raise ValueError(f"the header field {name} is set by the server itself")
        if names.count(name.lower()) > 1:
            raise ValueError(f"the header field {name} is given twice")
        _check_value(value, f"the header field {name}")
    return headers


class HttpAccessOptions(TypeOptions):
    """HTTP access of a type. Secrets go only to the origin of its URL (scheme, host, port)."""

    headers: Headers = Field(default_factory=dict)
    """Header fields of each request; their values are secret. `headers_file` names a file of
    `Name: value` lines."""
    bearer_token: SecretStr | None = None
    """Token that is sent as `Authorization: Bearer ...` (RFC 6750)."""
    username: str | None = None
    """User name for HTTP Basic authentication."""
    password: SecretStr | None = None
    """Password for HTTP Basic authentication."""
    ca_file: Annotated[Path, Expects("the path of a file")] | None = None
    """PEM file of certificate authorities to trust instead of the public ones; unset: those of
    `SSL_CERT_FILE` or `SSL_CERT_DIR`, or else the public ones."""
    client_certificate: Annotated[Path, Expects("the path of a file")] | None = None
    """PEM file of the client certificate for the upstream, with its chain."""
    client_key: Annotated[Path, Expects("the path of a file")] | None = None
    """PEM file of the key of the client certificate, without a passphrase; unset: the key is in the
    file of the certificate."""
    proxy: SecretStr | None = None
    """URL of an HTTP proxy for all requests of the type; it may have a user name and a password.
    Unset: none; the server ignores `HTTPS_PROXY` and similar variables."""
    proxy_resolves: bool = False
    """Whether only the proxy looks up host names (DNS), for servers that cannot. Then this server
    does not check the IP addresses of hosts: the proxy has to refuse internal ones."""

    @field_validator("headers")
    @classmethod
    def _check_headers(cls, headers: dict[str, SecretStr]) -> dict[str, SecretStr]:
        return checked_headers(headers)

    @field_validator("bearer_token")
    @classmethod
    def _check_token(cls, token: SecretStr | None) -> SecretStr | None:
        if token is not None:
            _check_value(token, "the token")
        return token

    @field_validator("proxy")
    @classmethod
    def _check_proxy(cls, proxy: SecretStr | None) -> SecretStr | None:
        if proxy is None:
            return None
        try:
            url = httpx.URL(proxy.get_secret_value())
        except (httpx.InvalidURL, UnicodeError):
            url = httpx.URL("")
        if url.scheme not in {"http", "https"} or not url.host or url.path != "/" or url.query:
            raise ValueError('must be a URL such as "http://proxy.example.org:3128"')
        return proxy

    @model_validator(mode="after")
    def _check_access(self) -> Self:
        ways = {
            "headers": any(name.lower() == "authorization" for name in self.headers),
            "bearer_token": self.bearer_token is not None,
            "username": self.username is not None,
        }
        chosen = [name for name, is_set in ways.items() if is_set]
        if len(chosen) > 1:
            raise ConflictError([((chosen[1],), f"{' and '.join(chosen)} exclude each other")])
        if (self.username is None) != (self.password is None):
            raise ConflictError([(("username",), "username and password need each other")])
        if self.username is not None and ":" in self.username:
            raise ConflictError([(("username",), "a user name has no colon (RFC 7617)")])
        if self.client_key and not self.client_certificate:
            raise ConflictError([(("client_key",), "client_key needs client_certificate")])
        if self.proxy_resolves and not self.proxy:
            raise ConflictError([(("proxy_resolves",), "proxy_resolves needs proxy")])
        return self


def access_of(options: HttpAccessOptions) -> Access:
    """HTTP access that the settings of a type describe."""
    headers = [(name, value.get_secret_value()) for name, value in options.headers.items()]
    if options.bearer_token is not None:
        headers.append(("Authorization", f"Bearer {options.bearer_token.get_secret_value()}"))
    if options.username is not None and options.password is not None:
        pair = f"{options.username}:{options.password.get_secret_value()}"
        headers.append(("Authorization", f"Basic {b64encode(pair.encode()).decode()}"))
    proxy = options.proxy.get_secret_value() if options.proxy else None
    return Access(
        tuple(headers),
        Connecting(
            options.ca_file,
            options.client_certificate,
            options.client_key,
            proxy,
            options.proxy_resolves,
        ),
    )


def _check_value(value: SecretStr, what: str) -> None:
    if not _VALUE.fullmatch(value.get_secret_value()):
        raise ValueError(f"{what} has other characters than printable ASCII, or white space around")
