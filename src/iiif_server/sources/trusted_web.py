"""Originals on the web whose URL is their name, in base 64, if the operator trusts it."""

import base64
import binascii
import re
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from urllib.parse import unquote

import httpx
from pydantic import field_validator

from iiif_server.errors import UntrustedUrlError
from iiif_server.sources.base import Source, Surroundings, TypeOptions
from iiif_server.sources.keeping import KeptOriginals, Origin


class TrustedWebOptions(TypeOptions):
    """A type whose names are URLs in URL-safe base 64, which a regular expression must match."""

    regex: str
    """What a URL, and every URL it redirects to, must match in full."""

    @field_validator("regex")
    @classmethod
    def _check_regex(cls, regex: str) -> str:
        try:
            re.compile(regex)
        except re.error as error:
            raise ValueError(f"not a regular expression: {error}") from error
        return regex


class TrustedWebSource(Source[TrustedWebOptions]):
    """The URL that the name encodes, fetched once and kept under the encoded name."""

    options_model = TrustedWebOptions

    def __init__(self, surroundings: Surroundings, options: TrustedWebOptions) -> None:
        super().__init__(surroundings, options)
        self._kept = KeptOriginals(surroundings)
        self._regex = re.compile(options.regex)

    def hold(self, name: str) -> AbstractAsyncContextManager[Path]:
        """The kept original of this name; UntrustedUrlError if it is no URL to be trusted."""
        url = decode_url(name)
        if not is_trusted(url, self._regex):
            raise UntrustedUrlError("The URL in this identifier is not one that this type trusts.")
        # One file however the name was padded: as Python's encoder, and the seed, write it.
        encoded = base64.urlsafe_b64encode(url.encode()).decode("ascii")
        trusts = lambda redirect: is_trusted(redirect, self._regex)  # noqa: E731
        return self._kept.hold(encoded, Origin(url, trusts))

    @property
    def asks_elsewhere(self) -> bool:
        """Whether kept originals are compared with the upstream's."""
        return self.surroundings.fetcher.options.refresh_after is not None


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


def is_trusted(url: str, regex: re.Pattern[str]) -> bool:
    """Whether a URL matches in full, both as it is written and as it would be asked for.

    URLs that mean another place than they seem to (user names, dot segments, encoded or not, white
    space, backslashes) are not trusted.
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
