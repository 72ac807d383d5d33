"""Third-party scripts of the pages: fetched by `make assets`, and contained in each wheel."""

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
