"""Parsers of old configurations, and detection of their server. Pure."""

import ast
import re
from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from iiif_server.commands.migrate.conversion import Kind
from iiif_server.errors import ConfigurationError

_NHM = {"profiles", "default_profile", "pool_size", "processed_cache_size", "thumbnail_width"}
_SECTION = re.compile(r"(\[+)\s*([^\[\]]+?)\s*(\]+)")
_PROPERTY = re.compile(r"((?:\\.|[^\\=:\s])+)\s*[=:\s]?\s*(.*)")
_ESCAPES = {"t": "\t", "n": "\n", "r": "\r", "f": "\f"}
_ESCAPE = re.compile(r"\\(u[0-9A-Fa-f]{4}|.)")


def kind_of(text: str) -> Kind:
    """Detect the server of a configuration; raises ConfigurationError if it is unknown."""
    if re.search(r"(?m)^\s*\[(loris\.Loris|resolver|img\.ImageCache)\]", text):
        return Kind.LORIS
    if re.search(
        r"(?m)^\s*#?\s*((Filesystem|Http)(Source|Resolver)|source|endpoint\.iiif)\.", text
    ):
        return Kind.CANTALOUPE
    if re.search(r"(?m)^\s*(export\s+)?(FILESYSTEM_PREFIX|MAX_CVT|MAX_IMAGE_CACHE_SIZE)=", text):
        return Kind.IIPIMAGE
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError:
        content = None
    if isinstance(content, dict):
        names = {str(name) for name in content}
        if names & _NHM:
            return Kind.NHM
        if names & {"types", "source_path", "cache_path"}:
            return Kind.SEED
    raise ConfigurationError(
        f"The server of this configuration is not recognised: add --from {', '.join(Kind)}."
    )


def values_of(text: str, kind: Kind) -> Mapping[str, Any]:
    """Parse a configuration to names and values; raises ConfigurationError if it is malformed."""
    if kind is Kind.CANTALOUPE:
        return dict(_properties(text))
    if kind is Kind.LORIS:
        return dict(_sections(text))
    if kind is Kind.IIPIMAGE:
        return dict(_variables(text))
    try:
        content = yaml.safe_load(text) or {}
    except yaml.YAMLError:
        raise ConfigurationError("It cannot be parsed as YAML.") from None
    if not isinstance(content, dict):
        raise ConfigurationError("It must have names and values.")
    return {str(name): value for name, value in content.items()}


def _properties(text: str) -> Iterator[tuple[str, str]]:
    """Yield the names and values of Java properties."""
    for line in _logical_lines(text):
        if match := _PROPERTY.fullmatch(line):
            yield _unescaped(match[1]), _unescaped(match[2]).strip()


def _logical_lines(text: str) -> Iterator[str]:
    """Yield lines without comments, joined with the next line after a backslash."""
    begun = ""
    for line in text.splitlines():
        stripped = line.strip()
        if not begun and (not stripped or stripped[0] in "#!"):
            continue
        backslashes = len(stripped) - len(stripped.rstrip("\\"))
        if backslashes % 2:
            begun += stripped[:-1]
        else:
            yield begun + stripped
            begun = ""
    if begun:
        yield begun


def _unescaped(text: str) -> str:
    def letter(match: re.Match[str]) -> str:
        escaped = match[1]
        if escaped[0] == "u" and len(escaped) > 1:
            return chr(int(escaped[1:], 16))
        return _ESCAPES.get(escaped, escaped)

    return _ESCAPE.sub(letter, text)


def _sections(text: str) -> Iterator[tuple[str, Any]]:
    """Yield the values of a ConfigObj file, with names as `section.subsection.name`."""
    place: list[str] = []
    for number, line in enumerate(text.splitlines(), start=1):
        stripped = line.strip()
        if not stripped or stripped[0] in "#;":
            continue
        if match := _SECTION.match(stripped):
            place = [*place[: len(match[1]) - 1], match[2]]
            continue
        name, equals, value = stripped.partition("=")
        if not equals:
            raise ConfigurationError(f"It cannot be parsed: line {number} has no value.")
        yield ".".join([*place, name.strip()]), _value(value.strip())


def _variables(text: str) -> Iterator[tuple[str, str]]:
    """Yield the environment variables of an environment file or a shell script."""
    for match in re.finditer(r"(?m)^\s*(?:export\s+)?([A-Za-z_]\w*)=(.*)$", text):
        yield match[1], match[2].strip().strip("\"'")


def _value(text: str) -> Any:
    """Parse a value as a Python literal, or else as text; # or ; begins a comment."""
    for end in (len(text), *(match.start() for match in re.finditer(r"\s[#;]", text))):
        try:
            return ast.literal_eval(text[:end].strip())
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            continue
    return re.split(r"\s[#;]", text, maxsplit=1)[0].strip()
