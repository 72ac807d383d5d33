"""Settings files in TOML or YAML: content, line numbers, and advice on syntax errors."""

import re
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path as FilePath
from typing import Any

import yaml

from iiif_server.configuration.problems import Path
from iiif_server.errors import ConfigurationError

_YAML = frozenset({".yml", ".yaml"})
_TWICE = "this name is set twice"
_ITSELF = "tables must not contain themselves"
_DEEPEST = 32
_TOML_HEADER = re.compile(r"\s*\[\s*([^\[\]]+?)\s*\]")
_TOML_KEY = re.compile(
    r"""\s*((?:[\w-]+|"[^"]*"|'[^']*')(?:\s*\.\s*(?:[\w-]+|"[^"]*"|'[^']*'))*)\s*="""
)
_PART = re.compile(r"""[\w-]+|"[^"]*"|'[^']*'""")
_TOML_PLACE = re.compile(r"(.*) \(at (?:line (\d+), column (\d+)|end of document)\)", re.DOTALL)

ShowsLine = Callable[[str], bool]
"""Predicate: whether a line of a settings file may be shown, because it has no secret."""


@dataclass(frozen=True, slots=True)
class SettingsFile:
    """Content of a settings file, with line numbers."""

    path: FilePath
    content: dict[str, Any]
    lines: dict[Path, int] = field(default_factory=dict)
    """Line number of each setting, if it is known."""

    def line(self, path: Path) -> int | None:
        """Return the line number of a setting, of a part of it, or of its table; None: unknown."""
        if path and path not in self.lines:
            inside = (line for name, line in self.lines.items() if name[: len(path)] == path)
            if line := next(inside, None):
                return line
        for length in range(len(path), 0, -1):
            if path[:length] in self.lines:
                return self.lines[path[:length]]
        return None


def read_file(path: FilePath, shows: ShowsLine = lambda _: False) -> SettingsFile:
    """Read and parse a settings file; `shows` decides which lines may be in messages.

    Raises ConfigurationError, with advice, if the file cannot be read or parsed.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        hint = " UTF-16" if error.object[:2] in {b"\xff\xfe", b"\xfe\xff"} else " not UTF-8"
        raise ConfigurationError(
            f"{path} cannot be parsed: its text is{hint}; save it as UTF-8"
        ) from None
    is_yaml = path.suffix.lower() in _YAML
    content, lines = (_yaml if is_yaml else _toml)(path, text, shows)
    if not isinstance(content, dict):
        raise ConfigurationError(f"{path} must hold names and values")
    return SettingsFile(path, content, lines)


def _toml(path: FilePath, text: str, shows: ShowsLine) -> tuple[Any, dict[Path, int]]:
    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        found = _TOML_PLACE.fullmatch(str(error))
        problem, number, column = found.groups() if found else (str(error), None, None)
        line = _line(text, int(number) if number else 0)
        place = f" (line {number}, column {column})" if number else " (at its end)"
        # `from None`: the text of `error` may contain a secret.
        raise ConfigurationError(
            f"{path} cannot be parsed{place}: {_toml_help(problem, line)}{_quoted(line, shows)}"
        ) from None
    return content, dict(_toml_lines(text))


def _toml_help(problem: str, line: str) -> str:
    value = line.partition("=")[2].strip()
    for matches, advice in (
        (re.search("[\N{LEFT DOUBLE QUOTATION MARK}\N{RIGHT DOUBLE QUOTATION MARK}]", line),
         'quotation marks must be straight: "'),
        ("=" not in line and re.match(r"\s*[\w.-]+\s*:", line),
         "TOML has name = value; for YAML, with name: value, call the file settings.yml"),
        (re.search("escape|hex value|Unescaped", problem) and "\\" in line,
         r"""in "..." a backslash is special; write 'C:\images' in single quotes, or C:/images"""),
        (re.match(r"(True|False)\b", value), "true and false are written in lower case"),
        (re.match(r"(None|null|nil)\b", value), "leave a setting out to have its default"),
        (re.fullmatch(r"\d[\d.]*\s*[A-Za-z%]{1,12}\s*(#.*)?", value),
         'a value with a unit needs quotation marks, as "10 GB"'),
        (problem == "Invalid value" and not value, "a value is missing"),
        (problem == "Invalid value" and re.match(r"[\w./~$-]", value),
         'text needs quotation marks: name = "text"'),
        ("Cannot" in problem and re.search("overwrite|declare|mutate|twice", problem),
         _TWICE),
        (re.search("Illegal character|Unterminated|Expected \"'\"|closing", problem),
         "text, a list or a table is not closed on this line"),
        ("Unclosed" in problem, "a list or a table is not closed: ] or } is missing"),
        ("Expected '='" in problem, "each line needs the form name = value"),
        ("Expected ']'" in problem, "a table needs the form [name]"),
        ("Expected newline" in problem, "something follows the value on the same line"),
    ):  # fmt: skip
        if matches:
            return str(advice)
    return "this is not valid TOML; each line needs the form name = value"


def _toml_lines(text: str) -> Iterator[tuple[Path, int]]:
    """Yield the line numbers of settings, for messages; approximate for unusual files."""
    table: Path = ()
    for number, line in enumerate(text.splitlines(), 1):
        if header := _TOML_HEADER.match(line):
            table = _parts(header[1])
            yield table, number
        elif key := _TOML_KEY.match(line):
            yield (*table, *_parts(key[1])), number


def _parts(name: str) -> Path:
    return tuple(part.strip("\"'") for part in _PART.findall(name))


def _yaml(path: FilePath, text: str, shows: ShowsLine) -> tuple[Any, dict[Path, int]]:
    loader = yaml.SafeLoader(text)
    try:
        node = loader.get_single_node()
        lines = dict(_yaml_lines(node, (), ())) if node else {}
        content = loader.construct_document(node) if node else {}
    except yaml.YAMLError as error:
        # `from None`: the text of `error` contains the line, which may have a secret.
        mark = getattr(error, "problem_mark", None)
        line = _line(text, mark.line + 1) if mark else ""
        place = f" (line {mark.line + 1}, column {mark.column + 1})" if mark else ""
        problem = re.sub(r"""['"].*['"]""", "...", getattr(error, "problem", None) or "")
        advice = _yaml_help(problem, line, mark.column if mark else 0)
        raise ConfigurationError(
            f"{path} cannot be parsed{place}: {advice}{_quoted(line, shows)}"
        ) from None
    finally:
        loader.dispose()
    return content or {}, lines


def _yaml_help(problem: str, line: str, column: int) -> str:
    value = line[column:]
    for matches, advice in (
        ("\t" in line[: column + 1], "tabs are not allowed in YAML; indent with spaces"),
        (problem in {_TWICE, _ITSELF}, problem),
        ("mapping values" in problem, 'text with a colon needs quotation marks: name: "a: b"'),
        (value[:1] in {"*", "&", "!", "%", "@", "`", "{", "}", "[", "]", "|", ">"},
         f'text that begins with {value[:1]} needs quotation marks: name: "..."'),
        ("block end" in problem or "expected <" in problem,
         "the lines of one table must be indented alike, and lists and quotation marks closed"),
        ("escape" in problem,
         r"""in "..." a backslash is special; write 'C:\images' in single quotes"""),
        ("could not find expected" in problem, "each line needs the form name: value"),
    ):  # fmt: skip
        if matches:
            return str(advice)
    return "this is not valid YAML; are quotation marks, brackets and indentation right?"


def _yaml_lines(
    node: yaml.Node, parents: Path, outer: tuple[yaml.Node, ...]
) -> Iterator[tuple[Path, int]]:
    """Yield the line numbers of settings.

    `outer` are the tables around `node`, to which an alias may refer. Raises MarkedYAMLError for a
    name that is set twice in one table, and for a table that contains itself.
    """
    if node in outer or len(outer) > _DEEPEST:
        raise yaml.MarkedYAMLError(problem=_ITSELF, problem_mark=node.start_mark)
    if not isinstance(node, yaml.MappingNode):
        return
    names = set()
    for key, value in node.value:
        if isinstance(key, yaml.ScalarNode):
            if key.value in names and key.tag != "tag:yaml.org,2002:merge":
                raise yaml.MarkedYAMLError(problem=_TWICE, problem_mark=key.start_mark)
            names.add(key.value)
            path = (*parents, str(key.value))
            yield path, key.start_mark.line + 1
            yield from _yaml_lines(value, path, (*outer, node))


def _line(text: str, number: int) -> str:
    lines = text.split("\n")
    return lines[number - 1].rstrip("\r") if 0 < number <= len(lines) else ""


def _quoted(line: str, shows: ShowsLine) -> str:
    line = line.expandtabs().strip()
    return f"\n    {line[:120]}" if line and line.isprintable() and shows(line) else ""
