"""Templates of paths, URLs and keys: where the original of a name is."""

import difflib
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Annotated
from urllib.parse import quote as percent_encode
from urllib.parse import unquote

from pydantic import AfterValidator

from iiif_server.errors import OriginalNotFoundError
from iiif_server.options import Expects

FIELDS = ("name", "stem", "dir", "page")
"""Fields: `{name}` is the name, `{dir}` its folders, `{stem}` its last part without extension."""

Quote = Callable[[str, bool], str]
"""Encoder of the value of a field; the flag is whether the field is in the query of a URL."""

_BRACES = re.compile(r"\{([^{}]*)\}((?<=\{dir\})/)?")
_FIELD = re.compile(r"([^{}\[\]]*)(?:\[(-?[0-9]{1,4})?:(-?[0-9]{1,4})?\])?")
_SAFE_NAME = re.compile(r"[^\s./\\%;?&=\x00-\x1f\x7f][^/\\%;?&=\x00-\x1f\x7f]*")
"""Fast check for listings: most names match, and are safe on all servers."""
_MAX_LAYERS = 8
"""Maximum number of layers of percent-encoding in a name."""


def as_is(value: str, _: bool) -> str:  # noqa: FBT001 - as all of `Quote`
    """Return the value of a field unchanged, for paths and keys."""
    return value


def as_url(value: str, in_query: bool) -> str:  # noqa: FBT001
    """Percent-encode the value of a field; in the path of a URL, slashes stay."""
    return percent_encode(value, safe="" if in_query else "/")


@dataclass(frozen=True, slots=True)
class _Field:
    name: str
    part: slice
    slash: bool
    """Whether it is `{dir}/`, which is empty for a name without folders."""
    in_query: bool


class Template:
    """Template of a path, URL or key: `{name}`, `{stem}`, `{dir}`, `{page}`, `{name[0:2]}`."""

    def __init__(self, text: str) -> None:
        """Parse a template. Raises ValueError, with the existing fields if one is unknown."""
        self.text = text
        self._parts = tuple(_parse(text))
        if _has_dot_segments(
            "".join(part if isinstance(part, str) else "x" for part in self._parts)
        ):
            raise ValueError("a template must not have . or .. between its slashes")

    def __repr__(self) -> str:
        return f"<Template {self.text}>"

    @property
    def has_page(self) -> bool:
        """Whether the template has `{page}`."""
        return any(isinstance(part, _Field) and part.name == "page" for part in self._parts)

    @property
    def affixes(self) -> tuple[str, str] | None:
        """Prefix and suffix of the name, if `{name}` is the only field; else None."""
        match self._parts:
            case (str(prefix), _Field(name="name", part=slice(start=None, stop=None)), str(suffix)):
                return prefix, suffix
        return None

    def expand(self, name: str, page: int = 1, *, quote: Quote = as_is) -> str:
        """Path, URL or key of a name.

        Raises OriginalNotFoundError if the result has dot segments (between slashes or backslashes)
        or control characters, or if the name adds empty segments to the path; also if these appear
        only after decoding the result several times.
        """
        folders, _, last = name.rpartition("/")
        stem, _, extension = last.rpartition(".")
        values = {
            "name": name,
            "dir": folders,
            "stem": stem if stem and extension else last,
            "page": str(page),
        }
        result = []
        for part in self._parts:
            if isinstance(part, str):
                result.append(part)
                continue
            value = quote(values[part.name][part.part], part.in_query)
            if value and part.slash:
                value += "/"
            elif not (part.in_query or part.slash) and any(map(_has_empty, _decoded_layers(value))):
                raise OriginalNotFoundError
            result.append(value)
        expanded = "".join(result)
        if is_unsafe_path(expanded):
            raise OriginalNotFoundError
        return expanded


def is_unsafe_path(path: str) -> bool:
    """Whether a path has dot segments or control characters, also after decoding it repeatedly.

    True also for more than eight layers of percent-encoding.
    """
    try:
        return any(map(_has_dot_segments, _decoded_layers(path)))
    except OriginalNotFoundError:
        return True


def is_valid_name(name: str) -> bool:
    """Whether `expand` accepts the name of a file or folder."""
    if _SAFE_NAME.fullmatch(name):
        return True
    try:
        Template("{name}").expand(name)
    except OriginalNotFoundError:
        return False
    return True


def _template(text: str) -> str:
    Template(text)
    return text


TemplateText = Annotated[
    str, AfterValidator(_template), Expects('a template such as "{name[0:2]}/{name}.tif"')
]
"""Template as a setting."""


def _parse(text: str) -> Iterator[str | _Field]:
    position = 0
    for match in _BRACES.finditer(text):
        yield _literal(text[position : match.start()])
        yield _field(match, in_query="?" in text[: match.start()])
        position = match.end()
    yield _literal(text[position:])


def _literal(text: str) -> str:
    if "{" in text or "}" in text:
        raise ValueError("a brace of the template has no counterpart: a field is written {name}")
    return text


def _field(braces: re.Match[str], *, in_query: bool) -> _Field:
    match = _FIELD.fullmatch(braces[1])
    if match is None or (match[1] == "page" and braces[1] != "page"):
        raise ValueError(
            f"{{{braces[1]}}} is not a field: a part of one is written {{name[0:2]}}, and "
            "{page} has no parts"
        )
    if match[1] not in FIELDS:
        existing = ", ".join(f"{{{field}}}" for field in FIELDS)
        similar = difflib.get_close_matches(match[1], FIELDS, 1, cutoff=0.5)
        hint = f"; did you mean {{{similar[0]}}}?" if similar else ""
        raise ValueError(f"there is no field {{{match[1]}}}: there are {existing}{hint}")
    start, stop = (int(number) if number else None for number in match.groups()[1:])
    return _Field(match[1], slice(start, stop), bool(braces[2]), in_query)


def _decoded_layers(text: str) -> Iterator[str]:
    """Yield a text, and the text percent-decoded repeatedly until nothing changes.

    Raises OriginalNotFoundError for too many layers.
    """
    for _ in range(_MAX_LAYERS):
        yield text
        decoded = unquote(text)
        if decoded == text:
            return
        text = decoded
    raise OriginalNotFoundError


def _has_empty(path: str) -> bool:
    return not all(re.split(r"[/\\]", path))


def _has_dot_segments(text: str) -> bool:
    """Whether a server could take a part of a text for a dot segment, or truncate the text.

    Path parameters and white space may follow the dots.
    """
    segments = (part.partition(";")[0].strip() for part in re.split(r"[/\\?&=]", text))
    controls = any(character < " " or character == "\x7f" for character in text)
    return controls or not {".", ".."}.isdisjoint(segments)
