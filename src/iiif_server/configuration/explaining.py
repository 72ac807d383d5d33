"""Validation errors of settings as sentences: setting, value, accepted values."""

from collections.abc import Mapping
from copy import deepcopy
from itertools import pairwise
from typing import Any

from pydantic import ValidationError
from pydantic_settings import BaseSettings

from iiif_server.configuration import models
from iiif_server.configuration.models import TYPES, Model
from iiif_server.configuration.problems import Path, Problem, nearest, shown
from iiif_server.configuration.sources import build
from iiif_server.options import ConflictError, NotAcceptedError

_MAX_ROUNDS = 4
"""Limit of validations, each without the settings that were invalid before."""


def problems(root: type[BaseSettings], content: Mapping[str, Any]) -> list[Problem]:
    """Find all problems with the values of settings.

    Checks that compare settings run only if each setting is valid. So this function removes invalid
    settings and checks the rest again. It ignores problems that the removal itself causes.
    """
    found: dict[Problem, None] = {}
    rest, removed = deepcopy(dict(content)), set[Path]()
    for _ in range(_MAX_ROUNDS):
        try:
            build(root, rest)
        except ValidationError as error:
            details = error.errors(include_url=False)
            # pydantic also reports a list as too short if none of its items is valid.
            lists = {
                loc[:-1]
                for loc in (item["loc"] for item in details)
                if loc and isinstance(loc[-1], int)
            }
            new = [
                problem
                for item in details
                if item["loc"] not in lists
                for problem in _problems(root, dict(item), content)
            ]
            for problem in new:
                if not _may_follow_from(removed, problem):
                    found[problem] = None
            for path in {problem.path for problem in new}:
                _remove(rest, path)
                removed.add(path)
        else:
            break
    return list(found)


def _problems(root: Model, item: Mapping[str, Any], content: Mapping[str, Any]) -> list[Problem]:
    error = item.get("ctx", {}).get("error")
    if isinstance(error, ConflictError):
        found = [((*item["loc"], *path), text) for path, text in error.conflicts]
        return [Problem(text, path) for path, text in found]
    return [_problem(root, item, content)]


def _problem(root: Model, item: Mapping[str, Any], content: Mapping[str, Any]) -> Problem:
    location = item["loc"]
    field, depth = models.find(root, location, content)
    if item["type"] == "extra_forbidden":
        return Problem(f"there is no such setting{_hint(root, location)}", location)
    if location[-1:] == ("[key]",):
        location = location[:-1]
    inside = tuple(part for part in location[depth:][:1] if isinstance(part, int))
    path = (*location[:depth], *inside) if field is not None else location
    error = item.get("ctx", {}).get("error")
    if isinstance(error, ValueError) and not isinstance(error, NotAcceptedError):
        text = str(error)
    elif field is not None:
        text = f"must be {models.expected(field, inside)}"
    else:
        text = "must be a table of settings"
    if item["type"] == "missing":
        return Problem(text.replace("must be ", "must be set: ", 1), path)
    value = item["input"]
    if field is None or models.is_secret(field) or isinstance(value, (dict, list, tuple)):
        return Problem(text, path)
    return Problem(f"{text}; found {shown(value)}", path)


def _hint(root: Model, location: Path) -> str:
    """Suggest the same name in other tables, or the nearest name in the same table."""
    *parents, name = location
    elsewhere = sorted(
        ".".join(str(part) for part in path) for path in models.names(root) if path[-1] == name
    )
    if elsewhere and parents[:1] != [TYPES]:
        return f"; did you mean {' or '.join(elsewhere)}?"
    return nearest(str(name), models.known_names(root, tuple(parents)))


def _may_follow_from(removed: set[Path], problem: Problem) -> bool:
    """Whether a problem may be a consequence of removed settings."""
    names = {str(part) for other in removed for part in other[-1:]}
    names |= {str(other[-2]) for other in removed if len(other) > 1 and isinstance(other[-1], int)}
    return problem.path in removed or any(name in problem.text for name in names)


def _remove(content: dict[str, Any], path: Path) -> None:
    """Remove a setting; replace a type by a minimal one, which is signed if the type was."""
    types = content.get(TYPES)
    if path[:1] == (TYPES,) and len(path) > 1 and isinstance(types, dict):
        options = types.pop(path[1], None)
        signed = isinstance(options, dict) and options.get("access") == "signed"
        rest = {"source": "disk", **({"access": "signed"} if signed else {})}
        if options != rest:
            types[path[1]] = rest
        elif len(path) > 2:  # noqa: PLR2004 - otherwise its name is wrong
            types[path[1]] = {"source": "disk"}
        return
    table: Any = content
    for part, below in pairwise(path):
        if not isinstance(table.get(part), dict) or isinstance(below, int):
            table.pop(part, None)
            return
        table = table[part]
    if path:
        table.pop(path[-1], None)
