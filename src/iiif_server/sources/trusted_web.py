"""Source `trusted_web`: names are URLs that a regular expression or a prefix permits."""

import base64
import binascii
import re
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from functools import cached_property
from typing import Annotated, Protocol, Self
from urllib.parse import urlsplit

import httpx
import re2
from pydantic import field_validator, model_validator

from iiif_server.errors import UntrustedUrlError
from iiif_server.options import ConflictError, Expects, Listed
from iiif_server.sources.opening import OpenedFile
from iiif_server.sources.templates import is_unsafe_path
from iiif_server.sources.web import FetchedOptions, FetchedSource


class UrlPattern(Protocol):
    """Compiled regular expression."""

    def fullmatch(self, string: str, /) -> object | None:
        """Match of the whole string, or None."""


class TrustedWebOptions(FetchedOptions):
    """Settings of a type whose names are URLs, in URL-safe base 64 or percent-encoded."""

    regex: Annotated[str, Expects("a regular expression that URLs must match in full")] | None = (
        None
    )
    """Regular expression that a URL, and each URL it redirects to, must match in full. RE2 matches
    it in linear time: without lookaround (`(?=...)`, `(?!...)`), backreferences (`\\1`) and
    `\\Z`."""
    prefixes: Annotated[
        tuple[str, ...], Listed, Expects("a list of URLs that end with a slash")
    ] = ()
    """URL prefixes, as `https://images.example.org/`: URLs that begin with one are trusted, too."""

    @field_validator("regex")
    @classmethod
    def _check_regex(cls, regex: str | None) -> str | None:
        if regex is not None:
            compile_regex(regex)
        return regex

    @field_validator("prefixes")
    @classmethod
    def _check_prefixes(cls, prefixes: tuple[str, ...]) -> tuple[str, ...]:
        for prefix in prefixes:
            parts = urlsplit(prefix)
            if not parts.path or parts.query or parts.fragment or requested(prefix) is None:
                raise ValueError(
                    "a prefix is a URL without user name and query, whose host ends with a slash: "
                    "https://images.example.org/"
                )
        return prefixes

    @model_validator(mode="after")
    def _check_trust(self) -> Self:
        if self.regex is None and not self.prefixes:
            raise ConflictError([(("prefixes",), "the type needs prefixes or regex")])
        return self

    @cached_property
    def trust(self) -> "Trust":
        """Trust of the type: the URLs that it permits."""
        return Trust(self.regex, self.prefixes)

    @property
    def takes_urls(self) -> bool:
        """True: an identifier may be the URL of an original."""
        return True

    def name_of_url(self, url: str) -> str | None:
        """Name of the original at a URL; None unless the type trusts the URL."""
        url = url.partition("#")[0]
        return encode_url(url) if self.trust.includes(url) else None


def compile_regex(regex: str) -> UrlPattern:
    """Compile a regular expression with RE2, which matches in linear time. Raises ValueError.

    Python's `re` may take exponential time, so years for a URL of forty letters.
    """
    try:
        re.compile(regex)  # accept only expressions that are valid in Python, too
    except (re.error, OverflowError) as error:
        raise ValueError(f"not a regular expression: {error}") from error
    options = re2.Options()
    options.log_errors = False
    try:
        pattern: UrlPattern = re2.compile(regex, options)
    except re2.error as error:
        raise ValueError(
            "not a regular expression that can be matched in linear time (RE2 syntax): "
            f"{_text_of(error)}. Lookaround such as (?=...) and (?!...), backreferences such as "
            "\\1, and \\Z are not supported; the whole URL has to match in any case."
        ) from error
    return pattern


def _text_of(error: Exception) -> str:
    """Message of an error of RE2, which is in bytes."""
    message = error.args[0] if error.args else ""
    return message.decode("utf-8", "replace") if isinstance(message, bytes) else str(message)


class TrustedWebSource(FetchedSource[TrustedWebOptions]):
    """Source that fetches the URL in a name once and stores it under the encoded name."""

    options_model = TrustedWebOptions

    def hold(self, name: str) -> AbstractAsyncContextManager[OpenedFile]:
        """Yield the original of this name. Raises UntrustedUrlError if its URL is not trusted."""
        return self._hold_url(decode_url(name), {})

    async def is_here(self, name: str) -> bool:
        """Whether the original is stored, or its URL is not trusted any more."""
        url = decode_url(name).partition("#")[0]
        return not self.options.trust.includes(url) or await super().is_here(encode_url(url))

    def hold_at(
        self, location: str, headers: Mapping[str, str]
    ) -> AbstractAsyncContextManager[OpenedFile]:
        """Yield the original at a URL. Raises UntrustedUrlError if the URL is not trusted."""
        return self._hold_url(location, headers)

    def _hold_url(
        self, location: str, headers: Mapping[str, str]
    ) -> AbstractAsyncContextManager[OpenedFile]:
        # Clients do not send fragments: URLs that differ only in these are one original.
        url = location.partition("#")[0]
        if not self.options.trust.includes(url):
            raise UntrustedUrlError("The URL in this identifier is not one that this type trusts.")
        # An original fetched with its own credentials is stored under a name that no identifier
        # can have, so that no client gets it by its URL.
        stored_name = f"with-headers/{encode_url(url)}" if headers else encode_url(url)
        upstream = self.upstream(url, self.options.trust.includes, headers)
        return self.hold_stored(stored_name, upstream, url.partition("?")[0])


class Trust:
    """Trust of a type: URLs that match its regular expression or begin with one of its prefixes.

    The expression must match a URL both as written and as it would be requested.
    """

    def __init__(self, regex: str | None, prefixes: Sequence[str] = ()) -> None:
        self._regex = None if regex is None else compile_regex(regex)
        self._prefixes = tuple(dict.fromkeys(str(requested(prefix)) for prefix in prefixes))

    def includes(self, url: str) -> bool:
        """Whether a URL is trusted."""
        normalised = requested(url)
        if normalised is None:
            return False
        if str(normalised).startswith(self._prefixes):
            return True
        regex = self._regex
        return bool(regex and regex.fullmatch(url) and regex.fullmatch(str(normalised)))


def encode_url(url: str) -> str:
    """Encode a URL as a name: URL-safe base 64 with padding."""
    return base64.urlsafe_b64encode(url.encode()).decode("ascii")


def decode_url(name: str) -> str:
    """Decode the URL in a name: URL-safe base 64, with or without padding.

    Raises UntrustedUrlError for other names.
    """
    bare = name.rstrip("=")
    if "+" in bare or "/" in bare:
        raise _not_a_url()
    padded = bare + "=" * (-len(bare) % 4)
    try:
        return base64.b64decode(padded, altchars=b"-_", validate=True).decode("utf-8")
    except (binascii.Error, ValueError) as error:
        raise _not_a_url() from error


def _not_a_url() -> UntrustedUrlError:
    return UntrustedUrlError("The name in this identifier is not a URL in URL-safe base 64.")


def requested(url: str) -> httpx.URL | None:
    """Normalise a URL as it would be requested; None for an invalid or ambiguous one.

    Ambiguous are URLs with user names, white space or backslashes, or with an unsafe path
    (`is_unsafe_path`).
    """
    if not url.isprintable() or any(character in url for character in " \\"):
        return None
    try:
        normalised = httpx.URL(url)
    except (httpx.InvalidURL, UnicodeError):
        return None
    if normalised.scheme not in {"http", "https"} or not normalised.host or normalised.userinfo:
        return None
    path = url.partition("?")[0].partition("#")[0]
    return None if is_unsafe_path(path) else normalised
