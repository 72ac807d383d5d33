"""The source `trusted_web`: names are URLs in base 64, which a regular expression must match."""

import base64
import binascii
import re
from contextlib import AbstractAsyncContextManager
from typing import Annotated, Protocol
from urllib.parse import unquote

import httpx
import re2
from pydantic import field_validator

from iiif_server.errors import UntrustedUrlError
from iiif_server.options import Expects
from iiif_server.sources.access_options import HttpAccessOptions
from iiif_server.sources.base import SourceContext
from iiif_server.sources.opening import OpenedFile
from iiif_server.sources.web import FetchedSource


class UrlPattern(Protocol):
    """A compiled regular expression."""

    def fullmatch(self, string: str, /) -> object | None:
        """A match of the whole string, or None."""


class TrustedWebOptions(HttpAccessOptions):
    """Settings of a type whose names are URLs in URL-safe base 64."""

    regex: Annotated[str, Expects("a regular expression that URLs must match in full")]
    """What a URL, and every URL it redirects to, must match in full. It is matched in linear time
    (RE2): without lookaround (`(?=...)`, `(?!...)`), backreferences (`\\1`) and `\\Z`."""

    @field_validator("regex")
    @classmethod
    def _check_regex(cls, regex: str) -> str:
        compile_regex(regex)
        return regex


def compile_regex(regex: str) -> UrlPattern:
    """Compile a regular expression for matching in linear time (RE2).

    Python's own `re` may take years for a URL of forty letters. Raises ValueError.
    """
    try:
        re.compile(regex)  # so that each expression means what it means in Python
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
    """The message of RE2, which it gives in bytes."""
    message = error.args[0] if error.args else ""
    return message.decode("utf-8", "replace") if isinstance(message, bytes) else str(message)


class TrustedWebSource(FetchedSource[TrustedWebOptions]):
    """The URL that the name encodes, fetched once and kept under the encoded name."""

    options_model = TrustedWebOptions

    def __init__(self, context: SourceContext, options: TrustedWebOptions) -> None:
        super().__init__(context, options)
        self._regex = compile_regex(options.regex)

    def hold(self, name: str) -> AbstractAsyncContextManager[OpenedFile]:
        """The kept original of this name; UntrustedUrlError if its URL is not trusted."""
        # A fragment is never sent: URLs that differ in it only are one original.
        url = decode_url(name).partition("#")[0]
        if not is_trusted(url, self._regex):
            raise UntrustedUrlError("The URL in this identifier is not one that this type trusts.")
        # One file however the name was padded: as Python's encoder, and the seed, write it.
        encoded = base64.urlsafe_b64encode(url.encode()).decode("ascii")
        trusts = lambda redirect: is_trusted(redirect, self._regex)  # noqa: E731
        return self._kept.hold(encoded, self.upstream(url, trusts))


def decode_url(name: str) -> str:
    """The URL in a name of padded or unpadded URL-safe base 64; UntrustedUrlError for any other."""
    bare = name.rstrip("=")
    if "+" in bare or "/" in bare:
        raise _no_url()
    padded = bare + "=" * (-len(bare) % 4)
    try:
        return base64.b64decode(padded, altchars=b"-_", validate=True).decode("utf-8")
    except (binascii.Error, ValueError) as error:
        raise _no_url() from error


def _no_url() -> UntrustedUrlError:
    return UntrustedUrlError("The name in this identifier is not a URL in URL-safe base 64.")


def is_trusted(url: str, regex: UrlPattern) -> bool:
    """Whether a URL matches in full, both as it is written and as it would be requested.

    URLs that could mislead (user names, dot segments, encoded or not, white space, backslashes)
    are not trusted.
    """
    if not url.isprintable() or any(character in url for character in " \\"):
        return False
    try:
        asked = httpx.URL(url)
    except (httpx.InvalidURL, UnicodeError):
        return False
    written_path = unquote(url.partition("?")[0].partition("#")[0])
    climbs = any(part in {".", ".."} for part in written_path.split("/"))
    if asked.scheme not in {"http", "https"} or not asked.host or asked.userinfo or climbs:
        return False
    return bool(regex.fullmatch(url)) and bool(regex.fullmatch(str(asked)))
