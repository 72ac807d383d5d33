"""A IIIF image server. Importing this package does nothing but define its version."""

from importlib.metadata import version

__version__ = version("iiif-server")
