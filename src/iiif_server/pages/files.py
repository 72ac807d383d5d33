"""Static files of the pages: scripts, styles and bundled packages, held in memory."""

import gzip
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b
from pathlib import Path

from iiif_server.errors import NotBundledError

BUNDLE = Path(__file__).parent / "bundle"
"""Folder of third-party scripts, with one folder per npm package; `make assets` fetches them, and
each wheel contains them."""
STATIC = Path(__file__).parent / "static"

_MEDIA_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
}
_OTHER = "text/plain; charset=utf-8"
"""Media type of files with other extensions or none, as licences."""


@dataclass(frozen=True)  # without slots: `compressed` is cached
class PageFile:
    """Static file of the web pages."""

    content: bytes
    media_type: str

    @cached_property
    def compressed(self) -> bytes:
        """Content, compressed with gzip."""
        return gzip.compress(self.content, 9, mtime=0)


class PageFiles:
    """All static files, in memory (some megabytes)."""

    def __init__(self, bundle: Path = BUNDLE, static: Path = STATIC) -> None:
        self._files = {**_read(static), **_read(bundle)}

    def __repr__(self) -> str:
        return f"<PageFiles {len(self._files)}>"

    def get(self, name: str) -> PageFile | None:
        """File with this name, as `viewer.js` or `openseadragon/openseadragon.min.js`."""
        return self._files.get(name)

    def has(self, package: str) -> bool:
        """Whether a bundled package is installed."""
        return any(name.startswith(f"{package}/") for name in self._files)

    def require(self, package: str) -> None:
        """Raise NotBundledError if a bundled package is missing."""
        if not self.has(package):
            raise NotBundledError(package)

    @cached_property
    def digest(self) -> str:
        """Digest of all files, for URLs whose content never changes."""
        digest = blake2b(digest_size=8)
        for name, file in sorted(self._files.items()):
            digest.update(f"{name}\0{len(file.content)}\0".encode())
            digest.update(file.content)
        return digest.hexdigest()


def bundled(name: str, bundle: Path = BUNDLE) -> Path:
    """Folder of a bundled package, or a file in it: `openseadragon/openseadragon.min.js`.

    Raises NotBundledError if it is missing.
    """
    path = bundle / name
    if not path.exists():
        raise NotBundledError(name.partition("/")[0])
    return path


def _read(folder: Path) -> dict[str, PageFile]:
    return {
        path.relative_to(folder).as_posix(): PageFile(
            path.read_bytes(), _MEDIA_TYPES.get(path.suffix, _OTHER)
        )
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
