"""Renders Helm charts with the subset of Go templates that ours use.

Unknown syntax raises, so nothing in a chart is ignored. Debian has no helm.
"""

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

_ACTION = re.compile(r"\{\{(-)?\s*(.*?)\s*(-)?\}\}", re.DOTALL)
_WORD = re.compile(r'\s*("(?:[^"\\]|\\.)*"|`[^`]*`|\(|\)|\||[^\s()|]+)')


@dataclass
class _Block:
    """Piece of a template: text, an action, or a condition with its branches."""

    text: str = ""
    action: str = ""
    inside: "list[_Block]" = field(default_factory=list)
    otherwise: "list[_Block]" = field(default_factory=list)


class Chart:
    """Chart in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.about: dict[str, Any] = yaml.safe_load((folder / "Chart.yaml").read_text())
        self.values: dict[str, Any] = yaml.safe_load((folder / "values.yaml").read_text())
        self._defined: dict[str, list[_Block]] = {}
        for path in sorted(folder.glob("templates/*.tpl")):
            self._run(_parse(path.read_text()), self._scope({}))

    def render(self, changes: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
        """Return the objects that the chart creates with these values over its own."""
        objects = []
        for path in sorted(self.folder.glob("templates/*.yaml")):
            text = self._run(_parse(path.read_text()), self._scope(changes or {}))
            objects += [item for item in yaml.safe_load_all(text) if item]
        return objects

    def _scope(self, changes: Mapping[str, Any]) -> dict[str, Any]:
        return {
            "Values": merge_values(self.values, changes),
            "Chart": {"AppVersion": self.about["appVersion"], "Name": self.about["name"]},
            "Release": {"Name": "images", "Service": "Helm", "Namespace": "default"},
        }

    def _run(self, blocks: list[_Block], root: Any, dot: Any = None) -> str:
        dot = root if dot is None else dot
        return "".join(self._shown(block, root, dot) for block in blocks)

    def _shown(self, block: _Block, root: Any, dot: Any) -> str:
        keyword, _, rest = block.action.partition(" ")
        if not block.action:
            return block.text
        if keyword == "define":
            self._defined[json.loads(rest)] = block.inside
            return ""
        if keyword == "if":
            value = self._value(rest, root, dot)
            return self._run(block.inside if value else block.otherwise, root, dot)
        if keyword == "with":
            value = self._value(rest, root, dot)
            if value:
                return self._run(block.inside, root, value)
            return self._run(block.otherwise, root, dot)
        value = self._value(block.action, root, dot)
        return str(value).lower() if isinstance(value, bool) else str(value)

    def _value(self, text: str, root: Any, dot: Any) -> Any:
        words = [match[1] for match in _WORD.finditer(text)]
        value, rest = self._pipeline(words, root, dot)
        if rest:
            raise ValueError(f"not understood: {text}")
        return value

    def _pipeline(self, words: list[str], root: Any, dot: Any) -> tuple[Any, list[str]]:
        value, words = self._call(words, root, dot)
        while words and words[0] == "|":
            value, words = self._call(words[1:], root, dot, (value,))
        return value, words

    def _call(
        self, words: list[str], root: Any, dot: Any, last: tuple[Any, ...] = ()
    ) -> tuple[Any, list[str]]:
        first, arguments = words[0], []
        is_function = first in self._functions(root)
        if is_function:
            words = words[1:]
        while words and words[0] not in {"|", ")"}:
            value, words = self._argument(words, root, dot)
            arguments.append(value)
        if is_function:
            return self._functions(root)[first](*arguments, *last), words
        if len(arguments) != 1 or last:
            raise ValueError(f"no function that is known here: {first}")
        return arguments[0], words

    def _argument(self, words: list[str], root: Any, dot: Any) -> tuple[Any, list[str]]:
        word, rest = words[0], words[1:]
        if word == "(":
            value, rest = self._pipeline(rest, root, dot)
            if not rest or rest[0] != ")":
                raise ValueError("a parenthesis is not closed")
            return value, rest[1:]
        if word.startswith('"'):
            return json.loads(word), rest
        if word.startswith("`"):
            return word[1:-1], rest
        if word.isdigit():
            return int(word), rest
        if word.startswith("."):
            value = dot
            for name in word.split(".")[1:]:
                value = value[name] if name else value  # raises for what there is not
            return value, rest
        raise ValueError(f"not known here: {word}")

    def _functions(self, root: Any) -> dict[str, Callable[..., Any]]:
        return {
            "include": lambda name, dot: self._run(self._defined[name], root, dot).strip("\n"),
            "toYaml": lambda value: yaml.safe_dump(value, sort_keys=True).rstrip("\n"),
            "nindent": lambda by, text: "\n" + re.sub("(?m)^(?=.)", " " * by, text),
            "quote": lambda value: json.dumps(str(value)),
            "default": lambda usual, value: value or usual,
            "trunc": lambda number, text: text[:number],
            "trimSuffix": lambda suffix, text: text.removesuffix(suffix),
            "sha256sum": lambda text: hashlib.sha256(text.encode()).hexdigest(),
            "printf": lambda form, *values: form % values,
            "eq": lambda one, other: one == other,
            "add": lambda *numbers: sum(numbers),
            "or": lambda *values: next((value for value in values if value), values[-1]),
            "not": lambda value: not value,
            "and": lambda *values: next((value for value in values if not value), values[-1]),
            "required": _required,
        }


def merge_values(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Merge values over values, as helm does."""
    found = dict(below)
    for name, value in above.items():
        known = found.get(name)
        both = isinstance(value, Mapping) and isinstance(known, Mapping)
        found[name] = merge_values(known, value) if both else value  # type: ignore[arg-type]
    return found


def _required(message: str, value: Any) -> Any:
    if not value:
        raise ValueError(message)
    return value


def _parse(text: str) -> list[_Block]:
    pieces = list(_split(text))
    blocks = _parse_blocks(pieces)
    if pieces:
        raise ValueError("an `end` too many")
    return blocks


def _split(text: str) -> Iterator[_Block]:
    """Return texts and actions in turn, without the space that a `-` trims."""
    place, trims = 0, False
    for match in _ACTION.finditer(text):
        between = text[place : match.start()]
        between = between.lstrip() if trims else between
        yield _Block(between.rstrip() if match[1] else between)
        if not match[2].startswith("/*"):
            yield _Block(action=match[2])
        place, trims = match.end(), bool(match[3])
    yield _Block(text[place:].lstrip() if trims else text[place:])


def _parse_blocks(pieces: list[_Block]) -> list[_Block]:
    """Return the blocks up to an `end` or an `else`, which stays."""
    blocks = []
    while pieces and pieces[0].action not in {"end", "else"}:
        block = pieces.pop(0)
        if block.action.split(" ")[0] in {"if", "with", "define"}:
            block.inside = _parse_blocks(pieces)
            if pieces and pieces[0].action == "else":
                pieces.pop(0)
                block.otherwise = _parse_blocks(pieces)
            if not pieces:
                raise ValueError(f"no end of {block.action}")
            pieces.pop(0)
        blocks.append(block)
    return blocks
