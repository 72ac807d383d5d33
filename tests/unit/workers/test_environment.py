"""Environment variables of worker processes."""

import pytest

from iiif_server.workers.environment import inherited


@pytest.mark.parametrize(
    "name",
    [
        "PATH", "HOME", "LANG", "LC_ALL", "TZ", "LD_LIBRARY_PATH", "LD_PRELOAD", "PYTHONPATH",
        "PYTHONDONTWRITEBYTECODE", "MALLOC_ARENA_MAX", "GLIBC_TUNABLES", "VIPS_CONCURRENCY",
    ],
)  # fmt: skip
def test_what_changes_how_libraries_run_is_kept(name: str) -> None:
    assert inherited({name: "value"}) == {name: "value"}


@pytest.mark.parametrize(
    "name",
    [
        "IIIF_ADMIN__TOKEN", "IIIF_CONFIG", "AWS_SECRET_ACCESS_KEY", "DATABASE_URL", "HTTPS_PROXY",
        "PYTHON_KEYRING_PASSWORD", "XPATH", "PATHS", "SSH_AUTH_SOCK", "TOKEN", "path",
    ],
)  # fmt: skip
def test_all_else_is_left_out(name: str) -> None:
    assert inherited({name: "secret", "LANG": "C"}) == {"LANG": "C"}
