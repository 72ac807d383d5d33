"""Deprecated names of the plug-in API, which work for one release with a DeprecationWarning.

`docs/upgrading.md` lists them.
"""

import warnings
from collections.abc import Callable


def warn_renamed(old: str, new: str) -> None:
    """Issue a DeprecationWarning for a renamed name, at the caller of the caller."""
    text = f"{old} is now called {new}; the old name will be removed (docs/upgrading.md)"
    warnings.warn(text, DeprecationWarning, stacklevel=3)


def renamed(module: str, **names: type) -> Callable[[str], type]:
    """Create a `__getattr__` for a module, which finds classes by their deprecated names."""

    def find(name: str) -> type:
        found = names.get(name)
        if found is None:
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        warn_renamed(f"{module}.{name}", f"{found.__module__}.{found.__name__}")
        return found

    return find
