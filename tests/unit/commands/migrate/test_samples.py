"""Every key of the other servers' sample files is converted, or named in the report."""

import tomllib
from collections.abc import Callable, Mapping
from fnmatch import fnmatch
from typing import Any

import pytest

from iiif_server.commands.migrate.cantaloupe import from_cantaloupe
from iiif_server.commands.migrate.conversion import Conversion
from iiif_server.commands.migrate.iipimage import from_iipimage
from iiif_server.commands.migrate.loris import from_loris
from iiif_server.commands.migrate.writing import report, settings_text
from support.migration import CANTALOUPE, IIPIMAGE, LORIS

CASES: dict[str, tuple[Callable[[Mapping[str, Any]], Conversion], Mapping[str, str]]] = {
    "cantaloupe": (from_cantaloupe, CANTALOUPE),
    "loris": (from_loris, LORIS),
    "iipimage": (from_iipimage, IIPIMAGE),
}
SOURCES = {"FilesystemSource", "HttpSource", "S3Source", "AzureStorageSource", "JdbcSource"}
USED = {
    "FilesystemSource": {"FilesystemSource.BasicLookupStrategy.path_prefix": "/srv/scans/"},
    "HttpSource": {"HttpSource.BasicLookupStrategy.url_prefix": "https://example.org/"},
    "S3Source": {"S3Source.BasicLookupStrategy.bucket.name": "bucket"},
    "AzureStorageSource": {"AzureStorageSource.container_name": "container"},
}


def context(key: str) -> dict[str, str]:
    """What has to be said besides, so that a key counts."""
    source = key.partition(".")[0]
    if source in SOURCES:
        return {"source.static": source, **USED.get(source, {})}
    if key.startswith(("cache.client", "source.", "delegate")):
        return {"source.static": "FilesystemSource", **USED["FilesystemSource"]}
    if key.startswith("resolver."):
        http = {"source_prefix", "source_suffix", "user", "pw", "cert", "key", "ssl_check"}
        if key.rpartition(".")[2] in http:
            return {"resolver.impl": "SimpleHTTPResolver", "resolver.source_prefix": "https://a.b/",
                    "resolver.user": "me"}  # fmt: skip
        return {"resolver.impl": "SimpleFSResolver", "resolver.src_img_root": "/srv/scans"}
    if key == "CACHE_CONTROL":
        return {"FILESYSTEM_PREFIX": "/srv/scans/"}
    return {}


@pytest.mark.parametrize("server", CASES)
def test_every_key_is_converted_or_named(server: str) -> None:
    convert, sample = CASES[server]
    equivalents = converted = 0
    for key, value in sample.items():
        before, setting = value.partition(" -> ")[::2]
        move = convert({**context(key), key: before})
        text = report(move)
        found = f"{tomllib.loads(settings_text(move, 'old'))}"
        if setting:
            equivalents += 1
            assert key not in dict(move.unsupported), key
            converted += setting in found or setting in text
        else:
            named = [*dict(move.unsupported), *move.ignored]
            # Settings of processors and caches are named together.
            names = (key, f"processor.{key}", f"cache.server.{key}")
            matches = any(fnmatch(name, pattern) for name in names for pattern in named)
            assert matches or any(key in words for words in move.to_do), (key, named)
    assert equivalents > 10 or server != "cantaloupe"
    assert converted >= 0.9 * equivalents
