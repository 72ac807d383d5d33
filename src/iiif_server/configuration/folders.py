"""Types for the folders on the command line: `iiif-server serve FOLDER...`."""

import os
import re
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any
from unicodedata import normalize

from iiif_server.configuration.variables import CONFIG
from iiif_server.errors import ConfigurationError
from iiif_server.iiif.identifier import RESERVED_TYPES
from iiif_server.images.keys import digest
from iiif_server.sources.opening import user_name

_LONGEST = 40
"""Limit of the characters of a slug; names of types may be longer."""


def checked_folders(written: Sequence[str]) -> tuple[Path, ...]:
    """Return the absolute paths of folders, without duplicates.

    Raises ConfigurationError for a path that is not a folder or cannot be read.
    """
    paths = dict.fromkeys(map(_checked, written))
    return tuple(paths)


def _checked(written: str) -> Path:
    path = Path(os.path.abspath(os.path.expanduser(written)))  # noqa: PTH100, PTH111 - not resolved
    if not written or path == Path(path.anchor):
        raise ConfigurationError(
            f"{written or 'An empty name'} is no folder of images: name the folder that they are "
            "in, as in: iiif-server serve ~/scans"
        )
    try:
        with os.scandir(path) as entries:
            next(entries, None)
    except NotADirectoryError:
        raise ConfigurationError(
            f"{path} is a file: name the folder that it is in, as in: iiif-server serve "
            f'"{path.parent}"'
        ) from None
    except FileNotFoundError:
        raise ConfigurationError(f"There is no folder {path}.") from None
    except PermissionError:
        raise ConfigurationError(
            f"The user {user_name()} cannot read the folder {path}: change its permissions."
        ) from None
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"The folder {written!r} cannot be read: {error}.") from None
    return path


def types_of(
    folders: Sequence[Path], used_names: Collection[str] = ()
) -> dict[str, dict[str, Any]]:
    """Return the settings of a type for each folder, in the order of the folders.

    The name of a type is the slug of its folder, so that it is the same at every start. If several
    folders have the same slug, the first has it, and the others get numbers. `used_names` are
    names of other types.
    """
    used = {name.lower() for name in (*used_names, *RESERVED_TYPES)}
    names: dict[Path, str] = {}
    for folder in folders:
        if (name := slug(folder.name)) not in used:
            names[folder] = name
            used.add(name)
    for folder in folders:
        if folder not in names:
            numbered = (f"{slug(folder.name)}-{number}" for number in count(2))
            names[folder] = next(name for name in numbered if name not in used)
            used.add(names[folder])
    titles = Counter(_title(folder.name) for folder in folders)
    return {
        names[folder]: {
            "source": "disk",
            "path": [os.fspath(folder)],
            "title": f"{title} ({_title(folder.parent.name)})" if titles[title] > 1 else title,
        }
        for folder in folders
        for title in [_title(folder.name)]
    }


def slug(name: str) -> str:
    """Convert a folder name to the name of a type: lower-case ASCII, with hyphens."""
    ascii_ = normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    words = re.sub(r"[^a-z0-9_.]+", "-", ascii_).strip("-._")
    return words[:_LONGEST].rstrip("-._") or "folder"


def _title(name: str) -> str:
    return os.fsencode(name).decode("utf-8", "replace")[:150]


def cache_of(folders: Sequence[Path]) -> Path:
    """Return the cache path for a set of folders, in the user's cache folder (XDG).

    Each set of folders has its own cache, because different folders may have files of the same
    name. Raises ConfigurationError if the user has no home folder.
    """
    base = os.environ.get("XDG_CACHE_HOME", "")
    if not os.path.isabs(base):  # noqa: PTH117 - of text
        base = os.path.expanduser("~/.cache")  # noqa: PTH111
    if not os.path.isabs(base):  # noqa: PTH117
        raise ConfigurationError(
            "This user has no home: set IIIF_CACHE_PATH, a folder to write to."
        )
    above = Path(base)
    of_these = digest(*map(os.fspath, folders))[:8]
    return above / "iiif-server" / f"{slug(folders[0].name)}-{of_these}"


def adding(folders: Sequence[Path], config: Path | None) -> Callable[[dict[str, Any]], None]:
    """Return the function that adds the types of folders to the content of settings."""
    alone = config is None and not os.environ.get(CONFIG)
    return partial(add_folders, folders=folders, alone=alone)


def add_folders(content: dict[str, Any], folders: Sequence[Path], *, alone: bool) -> None:
    """Add the types of folders to the content of settings; the first is the default type.

    If `alone`, there is no settings file, and the cache is in the user's cache folder.
    """
    types = content.setdefault("types", {})
    if not folders or not isinstance(types, dict):
        return
    added = types_of(folders, types)
    types.update(added)
    content.setdefault("default_type", next(iter(added)))
    if alone and not os.environ.get("CACHE_DIRECTORY"):
        content.setdefault("cache_path", os.fspath(cache_of(folders)))
