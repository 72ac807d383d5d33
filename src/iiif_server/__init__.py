"""IIIF image server and library. Importing the package loads neither of them."""

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from iiif_server.library import open_image

__all__ = ["__version__", "open_image"]
__version__ = version("iiif-server")


def __getattr__(name: str) -> object:
    """Import the library, with its imaging libraries, at the first use of `open_image`."""
    if name != "open_image":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return import_module("iiif_server.library").open_image
