"""Settings from environment variables, secret files and systemd credentials."""

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path as FilePath
from typing import Any

from pydantic.fields import FieldInfo

from iiif_server.configuration import models
from iiif_server.configuration.models import TYPES, Model
from iiif_server.configuration.problems import Path, Problem, dotted, nearest
from iiif_server.options import listed, path_list

PREFIX = "IIIF_"
NESTED = "__"
CONFIG = f"{PREFIX}CONFIG"
FILE = "_file"
CREDENTIALS = "CREDENTIALS_DIRECTORY"
"""Environment variable with the folder of systemd's `LoadCredential=`."""
_MAX_BYTES = 65_536
_MOUNTED = ("/run/secrets/", "/var/run/secrets/")
"""Folders of secrets in containers. All users in the container may read them."""


@dataclass(frozen=True, slots=True)
class Assignment:
    """Value for one setting, with its origin."""

    path: Path
    value: Any
    origin: str
    """Environment variable or file with the value."""


@dataclass(slots=True)
class Found:
    """Assignments from one source, in the order in which they apply, with problems and warnings."""

    assignments: list[Assignment]
    problems: list[Problem]
    warnings: list[str]


def variable(path: Path) -> str:
    """Return the name of the environment variable of a setting."""
    return PREFIX + NESTED.join(str(part).upper() for part in path)


def read_variables(
    root: Model, environment: Mapping[str, str], content: Mapping[str, Any]
) -> Found:
    """Read settings from environment variables; `content` is the content of the settings file."""
    found = Found([], [], [])
    known = {CONFIG, *map(variable, models.names(root))}
    paths = {name: _path(name) for name in environment if name.upper().startswith(PREFIX)}
    paths = {name: path for name, path in paths.items() if name.upper() != CONFIG}
    types = _types(paths, environment, content)
    known |= {variable((TYPES, name, key)) for name in types for key in _keys()}
    raw = {TYPES: types}
    for name, path in sorted(paths.items(), key=lambda item: (len(item[1]), item[0])):
        if field := _field_of_file(root, path, raw):
            _read_secret(found, path, FilePath(environment[name]), name, field)
            continue
        field, depth = models.find(root, path, raw)
        if not _exists(path, field, depth):
            text = f"there is no such setting{nearest(name.upper(), known)}"
            found.problems.append(Problem(text, (), name))
            continue
        found.assignments.append(Assignment(path, _value(environment[name], field), name))
    return found


def read_credentials(
    root: Model, environment: Mapping[str, str], content: Mapping[str, Any]
) -> Found:
    """Read settings from systemd credentials, which have the names of settings: `admin.token`."""
    found = Found([], [], [])
    folder = environment.get(CREDENTIALS)
    if not folder:
        return found
    secret = {dotted(path) for path in models.names(root) if models.from_file(root, path, {})}
    files: list[FilePath] = []
    with suppress(OSError):
        files = sorted(FilePath(folder).iterdir())
    for file in files:
        path = _dotted_path(file.name)
        field = models.from_file(root, path, content)
        if field is not None:
            _read_secret(found, path, file, f"credential {file.name}", field, check=False)
        elif hint := nearest(file.name, secret):
            found.warnings.append(f"The credential {file.name} is no secret setting{hint}")
    return found


def secrets_of_file(root: Model, content: dict[str, Any], base: FilePath) -> Found:
    """Read the secret files that a settings file names, as `token_file`.

    Removes these names from `content`. `base` is the folder of relative paths.
    """
    found = Found([], [], [])
    for path, table in list(models.tables(content)):
        for key in [key for key in table if str(key).endswith(FILE)]:
            setting_path = (*path, key)
            field = _field_of_file(root, setting_path, content)
            if field is not None and isinstance(table[key], str):
                file = base / FilePath(table.pop(key)).expanduser()
                _read_secret(found, setting_path, file, dotted(setting_path), field)
                if key.removesuffix(FILE) in table:
                    found.problems.append(_duplicate(setting_path, dotted(setting_path)))
    return found


def apply(content: dict[str, Any], assignment: Assignment) -> Any:
    """Assign a value to its setting in `content`; return the former value, or None."""
    table: Any = content
    for part in assignment.path[:-1]:
        table = table.setdefault(part, {})
        if not isinstance(
            table, dict
        ):  # the settings file has a value instead of a table, which validation reports
            return None
    last, value = assignment.path[-1], assignment.value
    former = table.get(last)
    if isinstance(former, dict) and isinstance(value, dict):
        value = {**former, **value}
    table[last] = value
    return former


def is_open_to_others(path: FilePath) -> bool:
    """Whether users other than owner and group may use a file; False for mounted secrets."""
    with suppress(OSError):
        return bool(path.stat().st_mode & 0o007) and not str(path).startswith(_MOUNTED)
    return False


def _read_secret(
    found: Found, path: Path, file: FilePath, origin: str, field: FieldInfo, *, check: bool = True
) -> None:
    """Read a secret file and add its value to `found`; the suffix `_file` of `path` is removed."""
    path = (*path[:-1], str(path[-1]).removesuffix(FILE))
    try:
        with file.open("rb") as stream:
            text = stream.read(_MAX_BYTES).decode()
    except OSError as error:
        text = f"{file} cannot be read: {error.strerror}"
        found.problems.append(Problem(text, path, origin))
        return
    except UnicodeDecodeError:
        found.problems.append(Problem(f"{file} is not text in UTF-8", path, origin))
        return
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if not lines:
        found.problems.append(Problem(f"{file} is empty", path, origin))
        return
    if check and is_open_to_others(file):
        found.warnings.append(f"{origin}: other users may read {file}; use chmod 640")
    value: Any = lines if models.is_list(field) else text.strip("\r\n")
    if any(assignment.path == path for assignment in found.assignments):
        found.problems.append(_duplicate(path, origin))
    found.assignments.append(Assignment(path, value, origin))


def _duplicate(path: Path, origin: str) -> Problem:
    return Problem("the setting is given directly as well; remove one of the two", path, origin)


def _path(name: str) -> Path:
    return tuple(name[len(PREFIX) :].lower().split(NESTED))


def _dotted_path(name: str) -> Path:
    """Parse the dotted name of a setting to its path; names of types may have dots."""
    parts = name.split(".")
    if parts[0] == TYPES and len(parts) > 2:  # noqa: PLR2004
        return (TYPES, ".".join(parts[1:-1]), parts[-1])
    return tuple(parts)


def _field_of_file(root: Model, path: Path, raw: Mapping[str, Any]) -> FieldInfo | None:
    """Return the setting that a name with the suffix `_file` reads from a secret file."""
    last = str(path[-1])
    if not last.endswith(FILE) or models.find(root, path, raw)[0] is not None:
        return None
    return models.from_file(root, (*path[:-1], last.removesuffix(FILE)), raw)


def _types(
    paths: Mapping[str, Path], environment: Mapping[str, str], content: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the source of each type, which decides on the settings of the type."""
    types = content.get(TYPES)
    found = {
        str(name): {"source": options.get("source")}
        for name, options in (types.items() if isinstance(types, Mapping) else ())
        if isinstance(options, Mapping)
    }
    for name, path in paths.items():
        if path[0] == TYPES and len(path) > 1:
            options = found.setdefault(str(path[1]), {"source": None})
            if path[2:] == ("source",):
                options["source"] = environment[name]
    return found


def _keys() -> set[str]:
    return {name for model in models.type_models() for name in model.model_fields}


def _exists(path: Path, field: FieldInfo | None, depth: int) -> bool:
    """Whether a path leads to a setting, a table of settings, or a table with arbitrary names."""
    if field is None:
        return path[0] == TYPES and len(path) <= 2  # noqa: PLR2004
    return len(path) == depth or models.holds_any(field)


def _value(text: str, field: FieldInfo | None) -> Any:
    """Parse the value of a variable: a list or a table if the setting is one, else text."""
    if field is not None and models.is_list(field) and text.strip():
        with suppress(ValueError):
            return path_list(text) if models.is_paths(field) else listed(text)
    if text.lstrip().startswith("{") and not models.is_text(field):
        with suppress(ValueError):
            return json.loads(text)
    return text
