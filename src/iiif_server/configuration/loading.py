"""Loading of settings: merges file, secret files, credentials and environment, and checks them."""

import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from copy import deepcopy
from dataclasses import dataclass, field, replace
from pathlib import Path as FilePath
from typing import Any

from pydantic_settings import BaseSettings

from iiif_server.configuration import explaining, models
from iiif_server.configuration.files import SettingsFile, read_file
from iiif_server.configuration.models import Model
from iiif_server.configuration.problems import Path, Problem, dotted, shown
from iiif_server.configuration.variables import (
    CONFIG,
    Assignment,
    Found,
    apply,
    is_open_to_others,
    read_credentials,
    read_variables,
    secrets_of_file,
)
from iiif_server.errors import ConfigurationError
from iiif_server.options import path_list

_NAME = re.compile(r"""\s*["']?([\w.-]+)["']?\s*[=:]""")


@dataclass(slots=True)
class Loaded:
    """Valid values of settings, and warnings for the operator."""

    content: dict[str, Any]
    file: FilePath | None = None
    """Settings file, if one was given."""
    warnings: list[str] = field(default_factory=list)
    """Warnings as sentences: overridden values, secrets that other users may read."""


def load(
    root: type[BaseSettings],
    config: FilePath | None,
    environment: Mapping[str, str],
    folders: Mapping[Path, FilePath],
    add: Callable[[dict[str, Any]], None] = lambda _: None,
) -> Loaded:
    """Load settings from a file, if one is named, and from the environment, which overrides it.

    Relative paths in the file are relative to the folder of the file, all others to the working
    directory. `folders` are default values, and `add` may change the content before it is checked.
    Raises ConfigurationError, which names all problems at once.
    """
    if config is None and environment.get(CONFIG):
        config = FilePath(environment[CONFIG])
    file = read_file(config, _shows_line(root)) if config else SettingsFile(FilePath(), {})
    working_directory = FilePath.cwd()
    loaded = Loaded(deepcopy(file.content), config)
    base = config.absolute().parent if config else working_directory
    _check_names(file)
    secrets = secrets_of_file(root, loaded.content, base)
    if config and _has_secret(root, file.content) and is_open_to_others(config):
        loaded.warnings.append(f"Other users may read {config}, which has secrets; use chmod 640")
    _make_absolute(root, loaded.content, base)
    sources = (
        secrets,
        read_credentials(root, environment, loaded.content),
        read_variables(root, environment, loaded.content),
    )
    origins = _merge(root, loaded, sources, working_directory)
    _make_absolute(root, loaded.content, working_directory)
    add(loaded.content)
    _add_folders(root, loaded.content, base, folders)
    problems = [problem for source in sources for problem in source.problems]
    known = {problem.path for problem in problems}
    found = explaining.problems(root, loaded.content)
    found.sort(key=lambda problem: file.line(problem.path) or 0)
    problems += [_with_origin(one, origins, file) for one in found if one.path not in known]
    _raise(problems, config)
    return loaded


def _raise(problems: list[Problem], config: FilePath | None) -> None:
    """Raise ConfigurationError if there are problems."""
    if problems:
        where = f" in {config}" if config else ""
        lines = [f"The settings{where} cannot be used:", *(f"  {one}" for one in problems)]
        raise ConfigurationError("\n".join(lines))


def _merge(
    root: Model, loaded: Loaded, sources: tuple[Found, ...], working_directory: FilePath
) -> dict[Path, str]:
    """Apply the assignments to the content; return the origin of each setting."""
    origins = {}
    for source in sources:
        loaded.warnings += source.warnings
        for assignment in source.assignments:
            value = _absolute(
                root, assignment.path, assignment.value, working_directory, loaded.content
            )
            one = replace(assignment, value=value)
            former = apply(loaded.content, one)
            if former is not None and not _are_equal(former, value):
                loaded.warnings.append(_override(root, loaded, one, former))
            origins[one.path] = one.origin
    return origins


def _are_equal(former: Any, value: Any) -> bool:
    """Whether two values are equal; a variable has numbers and lists as text."""
    if isinstance(former, dict):
        return True  # a table in JSON adds to the one in the file
    if isinstance(former, list) and isinstance(value, str):
        return value.replace(" ", "") == ",".join(map(str, former)).replace(" ", "")
    return str(former).lower() == str(value).lower()


def _override(root: Model, loaded: Loaded, one: Assignment, former: Any) -> str:
    found, _ = models.find(root, one.path, loaded.content)
    name = dotted(one.path)
    text = f"{one.origin} overrides {name} in {loaded.file or 'the environment'}"
    if found is None or models.is_secret(found):
        return f"{text} (secret values are not shown)"
    return f"{text}: {shown(one.value)} instead of {shown(former)}"


def _with_origin(problem: Problem, origins: Mapping[Path, str], file: SettingsFile) -> Problem:
    """Return a problem with the origin of its value: variable, secret file, or line number."""
    for length in range(len(problem.path), 0, -1):
        origin = origins.get(problem.path[:length])
        if origin is not None:
            return replace(problem, name=origin)
    if problem.path and problem.path not in file.lines:
        length = len(problem.path)
        below = (name for path, name in origins.items() if path[:length] == problem.path)
        if name := next(below, ""):
            return replace(problem, name=name)
    line = file.line(problem.path)
    return replace(problem, text=f"{problem.text} (line {line})") if line else problem


def _check_names(file: SettingsFile) -> None:
    for name in file.content:
        if not isinstance(name, str):
            raise ConfigurationError(
                f"{file.path} cannot be used: {name}: there is no such setting"
            )


def _shows_line(root: Model) -> Callable[[str], bool]:
    """Return a predicate: whether a line sets a known setting that is not a secret."""
    known = {str(path[-1]) for path in models.names(root)}
    known |= {name for model in models.type_models() for name in model.model_fields}
    secrets = models.secret_words(root)

    def shows(line: str) -> bool:
        name = _NAME.match(line)
        is_known = name is not None and name[1].rpartition(".")[2] in known
        return is_known and not secrets.search(line) and "@" not in line

    return shows


def _has_secret(root: Model, content: Mapping[str, Any]) -> bool:
    return any(
        value and models.is_secret_setting(root, (*path, str(name)), content)
        for path, table in models.tables(content)
        for name, value in table.items()
        if not isinstance(value, Mapping)
    )


def _make_absolute(root: Model, content: dict[str, Any], base: FilePath) -> None:
    """Make the paths in settings absolute, in place."""
    for path, table in models.tables(content):
        for name, value in table.items():
            table[name] = _absolute(root, (*path, str(name)), value, base, content)


def _absolute(
    root: Model, path: Path, value: Any, base: FilePath, content: Mapping[str, Any]
) -> Any:
    """Return the value of a setting; if the setting is a path, the value is absolute."""
    found, depth = models.find(root, path, content)
    if depth != len(path):
        return value
    if models.is_path(found):
        return _below(base, value)
    if models.is_paths(found):
        with suppress(ValueError):
            value = path_list(value)
        return [_below(base, one) for one in value] if isinstance(value, list) else value
    return value


def _below(base: FilePath, value: Any) -> Any:
    if not isinstance(value, str) or not value.strip():
        return value  # validation rejects it later
    try:
        return str(base / FilePath(value).expanduser())
    except RuntimeError:  # "~name" without such a user
        return value


def _add_folders(
    root: Model, content: dict[str, Any], base: FilePath, folders: Mapping[Path, FilePath]
) -> None:
    """Add default values of the folders at the top level."""
    for name in models.names(root):
        found, _ = models.find(root, name, content)
        if len(name) == 1 and found is not None and models.is_path(found):
            content.setdefault(str(name[0]), str(folders.get(name, base / found.default)))
