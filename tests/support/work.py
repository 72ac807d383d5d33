"""Counted work: lines of Python, or steps of a regular expression, that an input takes.

Tests of linear time compare counts and not seconds, so they are the same on every machine.
"""

import re
import sys
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any


def count_lines_run(function: Callable[[], object]) -> int:
    """Return the number of lines of Python that a call runs, in all functions that it calls."""
    count = 0

    def trace(_: FrameType, event: str, __: object) -> Any:
        nonlocal count
        count += event == "line"
        return trace

    former = sys.gettrace()
    sys.settrace(trace)
    try:
        function()
    finally:
        sys.settrace(former)
    return count


def count_match_steps(pattern: "re.Pattern[str]", text: str) -> int:
    """Return the number of characters that a backtracking engine compares to match a text.

    Python's own engine skips some of them; it never compares more.
    """
    return _match(pattern, text)[0]


def count_search_steps(pattern: "re.Pattern[str]", text: str) -> int:
    """Return the steps of finding all matches of a pattern in a text, as `re.sub` does."""
    total = at = 0
    while at < len(text):
        count, end = _match(pattern, text[at:])
        total += count
        at += end or 1
    return total


def _match(pattern: "re.Pattern[str]", text: str) -> tuple[int, int | None]:
    parsed = re._parser.parse(pattern.pattern, pattern.flags)  # type: ignore[attr-defined]
    return _Engine(text).run(list(parsed))


_CHARACTERS = frozenset({"IN", "LITERAL", "NOT_LITERAL", "ANY"})


class _Engine:
    """Backtracking matcher of parsed patterns, from the beginning of a text, which counts."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._steps = 0

    def run(self, nodes: list[Any]) -> tuple[int, int | None]:
        """Return the steps taken, and the end of the match, or None."""
        end = next(self._match(nodes, 0), None)
        return self._steps, end

    def _match(self, nodes: list[Any], at: int) -> Iterator[int]:
        """Yield the ends of all matches of these nodes at a place, in the engine's order."""
        if not nodes:
            yield at
            return
        (kind, argument), *rest = nodes
        for end in self._one(str(kind), argument, at):
            yield from self._match(rest, end)

    def _one(self, kind: str, argument: Any, at: int) -> Iterator[int]:
        if kind == "MAX_REPEAT":
            low, high, nodes = argument
            yield from self._repeat(low, high, list(nodes), at)
        elif kind == "SUBPATTERN":
            yield from self._match(list(argument[3]), at)
        elif kind == "BRANCH":
            for nodes in argument[1]:
                yield from self._match(list(nodes), at)
        elif self._holds(kind, argument, at):
            yield at
        elif kind in _CHARACTERS and self._accepts(kind, argument, at):
            yield at + 1

    def _holds(self, kind: str, argument: Any, at: int) -> bool:
        """Return whether a zero-width assertion holds at a place."""
        if kind in {"ASSERT", "ASSERT_NOT"}:
            found = next(self._match(list(argument[1]), at), None) is not None
            return found == (kind == "ASSERT")
        beginning = "BEGINNING" in str(argument)
        return kind == "AT" and at == (0 if beginning else len(self._text))

    def _repeat(self, low: int, high: Any, nodes: list[Any], at: int) -> Iterator[int]:
        """Greedy: the longest run first. A run of single characters takes no recursion."""
        if len(nodes) == 1 and str(nodes[0][0]) in _CHARACTERS:
            kind, argument = nodes[0]
            end = at
            while end - at < int(high) and self._accepts(str(kind), argument, end):
                end += 1
            yield from range(end, at + low - 1, -1)
            return
        if int(high) > 0:
            for end in self._match(nodes, at):
                if end > at:
                    yield from self._repeat(max(0, low - 1), int(high) - 1, nodes, end)
        if low == 0:
            yield at

    def _accepts(self, kind: str, argument: Any, at: int) -> bool:
        self._steps += 1
        if at >= len(self._text):
            return False
        one = ord(self._text[at])
        if kind == "ANY":
            return one != ord("\n")
        if kind == "IN":
            return any(_is_in(item, one) for item in argument) != (str(argument[0][0]) == "NEGATE")
        return bool((one == argument) == (kind == "LITERAL"))


def _is_in(item: tuple[Any, Any], one: int) -> bool:
    kind, argument = str(item[0]), item[1]
    if kind == "LITERAL":
        return bool(one == argument)
    if kind == "RANGE":
        return bool(argument[0] <= one <= argument[1])
    if kind == "CATEGORY":
        return chr(one).isdigit() if "DIGIT" in str(argument) else chr(one).isalnum()
    return False
