"""The scripts of others that the pages use: brought by `make assets`, and part of each wheel."""

from pathlib import Path

from iiif_server.errors import NotBundledError

BUNDLE = Path(__file__).parent / "bundle"
"""One folder for each npm package."""


def bundled(name: str, bundle: Path = BUNDLE) -> Path:
    """The folder of a bundled package, or a file in it: `openseadragon/openseadragon.min.js`.

    Raises NotBundledError, which says what brings it.
    """
    path = bundle / name
    if not path.exists():
        raise NotBundledError(name.partition("/")[0])
    return path
