"""Parsers of lists and quoted strings in header fields (RFC 9110, 5.6), in linear time. Pure."""

import re

_QUOTE = re.compile(r'\\.|"', re.DOTALL)
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)


def split_outside_quotes(text: str, separator: str) -> list[str]:
    """Split a header field at separators outside quoted strings.

    A quoted string without a closing quote extends to the end of the text.
    """
    parts: list[str] = []
    pending: list[str] = []
    quoted = False
    for segment in text.split(separator):
        pending.append(segment)
        if '"' in segment:
            quoted ^= _QUOTE.findall(segment).count('"') % 2 == 1
        if not quoted:
            parts.append(separator.join(pending))
            pending = []
    return [*parts, separator.join(pending)] if pending else parts


def unquoted(value: str) -> str:
    """Content of a quoted string; other values unchanged."""
    if not value.startswith('"'):
        return value
    return _ESCAPED.sub(r"\1", value[1:].removesuffix('"'))
