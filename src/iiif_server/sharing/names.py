"""Names of the objects of the shared cache, below its prefix. Pure."""

from iiif_server.cache.entries import EntryKey

ENTRIES = "entries"
"""Below it: all that is made of originals."""
PURGES = "purges"
"""Below it: the markers of purges."""


def folder_of(group: str) -> str:
    """The folder of all objects of one original."""
    return f"entries/{group[:2]}/{group}"


def name_of(key: EntryKey) -> str:
    """The object of an entry."""
    return f"{folder_of(key.group)}/{key.digest}"


def record_of(group: str, image: str) -> str:
    """The record of an image: see `images.shared_images`."""
    return f"{folder_of(group)}/image-{image}"
