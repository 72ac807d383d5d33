"""Identifiers `type:name`, and their percent-encoding in URLs."""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from urllib.parse import quote, unquote_to_bytes

from iiif_server.errors import MalformedIdentifierError, UnknownTypeError, UntrustedUrlError, shown

TYPE_PATTERN = r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}"
"""The names of types, which are also names of folders, metric labels and parts of URLs."""

RESERVED_TYPES = frozenset({"http", "https", "ark"})
"""Schemes of identifiers that are URLs or ARKs; no type has such a name."""

MAX_CHARACTERS = 4096

_PAGE = re.compile(r"(.+);([1-9][0-9]{0,5})", re.DOTALL)
_ARK = re.compile(r"ark:/?", re.IGNORECASE)
_URL = re.compile(r"(https?):/(?!/)", re.IGNORECASE)
"""The begin of a URL of which a proxy has merged two slashes."""
_MALFORMED_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")


@dataclass(frozen=True, slots=True, order=True)
class Identifier:
    """The name of one original within one type."""

    type: str
    name: str

    def __str__(self) -> str:
        return f"{self.type}:{self.name}"

    @property
    def encoded(self) -> str:
        """The identifier as one path segment of a URL (Image API 3.0, 9)."""
        return quote(str(self), safe=":")


OfUrl = Callable[[str], Identifier | None]
"""The identifier of an original that is named by its URL; None where no type takes URLs."""


def parse_identifier(
    text: str, default_type: str | None = None, of_url: OfUrl | None = None
) -> Identifier:
    """Read the percent-encoded identifier of a URL; its type ends at the first colon.

    An ARK, with or without the slash behind `ark:`, is an original of the default type, with what
    follows as its name. A URL is what `of_url` finds for it; two slashes that a proxy has merged
    behind `https:` are restored. Slashes may stand encoded or not. Raises
    MalformedIdentifierError, or UnknownTypeError where there is no type and no `default_type`, and
    nothing else but what `of_url` raises, whatever the text.
    """
    decoded = percent_decode(text)
    if not decoded or len(decoded) > MAX_CHARACTERS:
        raise MalformedIdentifierError(
            f"An identifier has 1 to {MAX_CHARACTERS} characters; this one has {len(decoded)}."
        )
    if any(ord(character) < ord(" ") or character == "\x7f" for character in decoded):
        raise MalformedIdentifierError("The identifier holds a control character.")
    ark = _ARK.match(decoded)
    type_, colon, name = decoded.partition(":")
    if ark or not colon:
        name = decoded[ark.end() :] if ark else decoded
        if default_type is None:
            raise UnknownTypeError(
                "The identifier is an ARK, and this server has no default type, which ARKs are of."
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
    """The name of an original and the page in `name;N`; None for all other names."""
    match = _PAGE.fullmatch(name)
    return (match[1], int(match[2])) if match else (name, None)


def parse_identifiers(
    lines: Iterable[str], default_type: str | None = None, of_url: OfUrl | None = None
) -> list[Identifier]:
    """Read identifiers, one a line; empty lines are ignored.

    Raises what `parse_identifier` raises, with the line in the message.
    """
    found = []
    for text in filter(None, map(str.strip, lines)):
        try:
            found.append(parse_identifier(text, default_type, of_url))
        except (MalformedIdentifierError, UnknownTypeError, UntrustedUrlError) as error:
            raise type(error)(f"About {shown(text)}: {error}") from error
    return found


def percent_decode(text: str) -> str:
    """The percent-decoded text; raises MalformedIdentifierError for an invalid escape."""
    if _MALFORMED_ESCAPE.search(text):
        raise MalformedIdentifierError(
            "The URL holds a % that is not followed by two hexadecimal digits; "
            "a percent sign itself is written %25."
        )
    try:
        return unquote_to_bytes(text).decode("utf-8")
    except UnicodeError as error:
        raise MalformedIdentifierError(
            "The identifier's percent-encoded bytes are not valid UTF-8."
        ) from error
