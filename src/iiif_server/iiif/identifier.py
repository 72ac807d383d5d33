"""Identifiers `type:name`, and their percent-encoding in URLs."""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from urllib.parse import quote, unquote_to_bytes

from iiif_server.errors import MalformedIdentifierError, UnknownTypeError, UntrustedUrlError, shown

TYPE_PATTERN = r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}"
"""Regular expression of type names, which are also folder names, metric labels and URL parts."""

RESERVED_TYPES = frozenset({"http", "https", "ark"})
"""Schemes of identifiers that are URLs or ARKs; types cannot have these names."""

MAX_CHARACTERS = 4096

_PAGE = re.compile(r"(.+);([1-9][0-9]{0,5})", re.DOTALL)
_ARK = re.compile(r"ark:/?", re.IGNORECASE)
_URL = re.compile(r"(https?):/(?!/)", re.IGNORECASE)
"""Beginning of a URL in which a proxy has merged two slashes."""
_MALFORMED_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")


@dataclass(frozen=True, slots=True, order=True)
class Identifier:
    """Type and name of one original, as `type:name`."""

    type: str
    name: str

    def __str__(self) -> str:
        return f"{self.type}:{self.name}"

    @property
    def encoded(self) -> str:
        """Identifier as one path segment of a URL (Image API 3.0, 9)."""
        return quote(str(self), safe=":")


OfUrl = Callable[[str], Identifier | None]
"""Function from the URL of an original to its identifier; None if no type takes URLs."""


def parse_identifier(
    text: str, default_type: str | None = None, of_url: OfUrl | None = None
) -> Identifier:
    """Parse a percent-encoded identifier; the type ends at the first colon.

    Slashes may be percent-encoded or not. An ARK, with or without a slash after `ark:`, belongs to
    the default type; the name is the text after `ark:`. For a URL, `of_url` returns the identifier;
    the two slashes after `https:`, which some proxies merge, are restored.

    Raises MalformedIdentifierError, UnknownTypeError if there is neither a type nor a
    `default_type`, the errors of `of_url`, and nothing else.
    """
    decoded = percent_decode(text)
    if not decoded or len(decoded) > MAX_CHARACTERS:
        raise MalformedIdentifierError(
            f"An identifier has 1 to {MAX_CHARACTERS} characters; this one has {len(decoded)}."
        )
    if any(ord(character) < ord(" ") or character == "\x7f" for character in decoded):
        raise MalformedIdentifierError("The identifier contains a control character.")
    ark = _ARK.match(decoded)
    type_, colon, name = decoded.partition(":")
    if ark or not colon:
        name = decoded[ark.end() :] if ark else decoded
        if default_type is None:
            raise UnknownTypeError(
                "The identifier is an ARK. ARKs need a default type, and this server has none."
                if ark
                else "The identifier has no type: it must have the form type:name, as in "
                "specimens:1."
            )
        type_ = default_type
    if not name:
        raise MalformedIdentifierError("The identifier has no name after its type.")
    if colon and of_url is not None and type_.lower() in {"http", "https"}:
        found = of_url(_URL.sub(r"\1://", decoded, count=1))
        if found is not None:
            return found
    return Identifier(type_, name)


def split_page(name: str) -> tuple[str, int | None]:
    """Split `name;N` into the name of the original and the page, which is None without `;N`."""
    match = _PAGE.fullmatch(name)
    return (match[1], int(match[2])) if match else (name, None)


def parse_identifiers(
    lines: Iterable[str], default_type: str | None = None, of_url: OfUrl | None = None
) -> list[Identifier]:
    """Parse identifiers, one per line; empty lines are ignored.

    Raises the errors of `parse_identifier`, with the line in the message.
    """
    found = []
    for text in filter(None, map(str.strip, lines)):
        try:
            found.append(parse_identifier(text, default_type, of_url))
        except (MalformedIdentifierError, UnknownTypeError, UntrustedUrlError) as error:
            raise type(error)(f"About {shown(text)}: {error}") from error
    return found


def percent_decode(text: str) -> str:
    """Percent-decoded text; MalformedIdentifierError for an invalid escape or invalid UTF-8."""
    if _MALFORMED_ESCAPE.search(text):
        raise MalformedIdentifierError(
            "The URL contains a % that is not followed by two hexadecimal digits; "
            "a percent sign itself is written %25."
        )
    try:
        return unquote_to_bytes(text).decode("utf-8")
    except UnicodeError as error:
        raise MalformedIdentifierError(
            "The identifier's percent-encoded bytes are not valid UTF-8."
        ) from error
