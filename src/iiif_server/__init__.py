"""A IIIF image server, and its library. Importing this package loads neither of them."""

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from iiif_server.library import open_image

__all__ = ["__version__", "open_image"]
__version__ = version("iiif-server")


def __getattr__(name: str) -> object:
    """Load the library, with its imaging libraries, when `open_image` is first used."""
    if name != "open_image":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return import_module("iiif_server.library").open_image
