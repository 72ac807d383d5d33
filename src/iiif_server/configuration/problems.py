"""Messages for the operator about problems with settings."""

import difflib
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

Path = tuple[str | int, ...]
"""Path of a setting: `("cache", "max_bytes")`."""

_SHOWN = 300
_CREDENTIALS = re.compile(r"(?<=://)[^/@\s]+@")
_QUERY = re.compile(r"(?<=\?)\S+")


@dataclass(frozen=True, slots=True)
class Problem:
    """Problem with the settings, which makes them unusable."""

    text: str
    path: Path = ()
    """Path of the setting; empty if the problem does not concern a single setting."""
    name: str = ""
    """Environment variable or file with the value."""

    def __str__(self) -> str:
        where = dotted(self.path)
        where = f"{where} ({self.name})" if where and self.name else where or self.name
        return f"{where}: {self.text}" if where else self.text


def dotted(path: Path) -> str:
    """Return the dotted name of a setting, as in TOML: `cache.max_bytes`."""
    return ".".join(str(part) for part in path)


def shown(value: Any) -> str:
    """Format a value for a message: short, on one line, without the credentials in a URL."""
    if isinstance(value, dict):
        return "a table"
    if isinstance(value, (list, tuple)):
        return "a list"
    if value is None:
        return "nothing"
    if not isinstance(value, (str, int, float)):
        return json.dumps(str(value))
    text = masked(value) if isinstance(value, str) else value
    written = json.dumps(text, ensure_ascii=False)
    written = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in written)
    return written if len(written) <= _SHOWN else f"{written[:_SHOWN]}…"


def masked(url: str) -> str:
    """Mask the possible secrets in a URL: user, password and query."""
    return _QUERY.sub("***", _CREDENTIALS.sub("***@", url)) if "://" in url else url


def nearest(name: str, known: Iterable[str]) -> str:
    """Suggest the most similar known name; empty if none is similar."""
    found = difflib.get_close_matches(name, sorted(known), 1, cutoff=0.5)
    return f"; did you mean {found[0]}?" if found else ""
